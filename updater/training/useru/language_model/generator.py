"""The generator that has a language model write, in the paper's steps, with three requests for a profile.

1. From the topics of the pool that the profile has events for, the model chooses the ten most relevant,
2. and writes one question about the user for each (the same request).
3. It answers the questions from the profile.
4. It re-checks its drafts against the profile and revises them.

What comes out goes through the check against the log like every draft: that a model has read its answer again is no
evidence. The model sees the profile without the user's id.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

from updater.domain.fingerprint import fingerprint
from updater.errors import UpdaterError
from updater.language_models.chat import Chat
from updater.profile.clean import shows_id
from updater.training.useru.answers import Draft
from updater.training.useru.facts.events import Profile
from updater.training.useru.facts.topics import TOPICS_PER_PROFILE, Topic, most_relevant
from updater.training.useru.language_model import items
from updater.training.useru.language_model.rendering import RENDERING_VERSION, profile_text
from updater.training.useru.language_model.replies import Replies

logger = logging.getLogger(__name__)

LLM_VERSION = 1
"""Raised whenever the same prompts and replies give other drafts."""
MAX_ATTEMPTS = 3
"""Requests for items that a reply did not hold in a usable form, before they are left out."""
PROFILES_PER_LOG = 50
PROMPTS = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((Path(__file__).parent / "prompts").glob("*.txt"))
}


@dataclass
class Progress:
    """What a generator has done so far in this run."""

    num_profiles: int = 0
    num_asked: int = 0
    """Requests that the endpoint replied to."""
    num_kept: int = 0
    """Requests that an earlier run, or an equal profile, had the reply for."""
    num_tokens: int = 0
    num_left_out: int = 0
    """Topics without a usable reply."""


class LlmGenerator:
    """Questions and answers by a language model.

    Args:
        chat: the model.
        replies: where replies are kept.
        max_tokens: how many tokens this run may use. The reply that crosses it is still used and kept.
    """

    def __init__(self, chat: Chat, replies: Replies, max_tokens: int) -> None:
        self._chat, self._replies, self._max_tokens = chat, replies, max_tokens
        self.progress = Progress()

    @property
    def version(self) -> str:
        """The model's name, and a digest of it with prompts and sampling."""
        settings = self._chat.request("", "")
        digest = fingerprint(LLM_VERSION, RENDERING_VERSION, MAX_ATTEMPTS, TOPICS_PER_PROFILE, PROMPTS, settings)
        return f"llm-{self._chat.model}-{digest[:12]}"

    def close(self) -> None:
        """Close the connections to the endpoint."""
        self._chat.close()

    def drafts(self, profile: Profile, pool: Sequence[Topic]) -> list[Draft]:
        """Drafts of at most ten topics, with free text only.

        Raises:
            UpdaterError: the tokens of this run are used up, or the endpoint gives no replies.
        """
        topics = _candidates(profile, pool)
        drafts = self._drafts(profile.user_id, profile_text(profile), topics) if topics else []
        self.progress.num_profiles += 1
        if self.progress.num_profiles % PROFILES_PER_LOG == 0:
            logger.info("generator: %s", asdict(self.progress))
        return drafts

    def _drafts(self, user_id: str, profile: str, topics: Mapping[int, Topic]) -> list[Draft]:
        listed = {number: {"topic": topic.question} for number, topic in topics.items()}
        chosen = self._collect(user_id, "questions", profile, listed, choose=min(TOPICS_PER_PROFILE, len(topics)))
        questions = {number: " ".join(text.split()) for number, text in chosen.items()}
        answers = self._collect(
            user_id, "answers", profile, {number: {"question": question} for number, question in questions.items()}
        )
        drafts = {number: {"question": questions[number], "draft": text} for number, text in answers.items() if text}
        revised = self._collect(user_id, "reflection", profile, drafts)
        return [
            Draft(topics[number].name, question, free_text=revised[number])
            for number, question in questions.items()
            if revised.get(number)
        ]

    def _collect(
        self, user_id: str, step: str, profile: str, listed: Mapping[int, Mapping[str, str]], choose: int = 0
    ) -> dict[int, str]:
        """The model's texts for the listed items, asked for again while replies lack them.

        With `choose` the model picks so many items, and one usable text is a reply: it may find fewer relevant.
        Without, every item is wanted, and an empty text says that there is nothing to say.
        """
        wanted, enough = (choose, 1) if choose else (len(listed), len(listed))
        found: dict[int, str] = {}
        attempt = 0
        while len(found) < enough and attempt < MAX_ATTEMPTS:
            attempt += 1
            left = [{"number": number, **item} for number, item in listed.items() if number not in found]
            reply = items.read(self._reply(user_id, step, profile, left, wanted, attempt))
            open_numbers = listed.keys() - found.keys()
            usable = [
                (number, text) for number, text in reply.items() if number in open_numbers and (text or not choose)
            ]
            found.update(usable[:wanted])
        if len(found) < enough:
            missing = wanted - len(found)
            self.progress.num_left_out += missing
            logger.warning("%s topics of a profile are left out: %s replies had no %s", missing, attempt, step)
        return found

    def _reply(
        self, user_id: str, step: str, profile: str, left: Sequence[Mapping[str, Any]], count: int, attempt: int
    ) -> str:
        places = {"profile": profile, "items": items.written(left), "count": str(count)}
        prompt = Template(PROMPTS[step]).substitute(places)
        if attempt > 1:
            prompt += "\n" + Template(PROMPTS["again"]).substitute(attempt=str(attempt))
        request = self._chat.request(PROMPTS["system"], prompt)
        kept = self._replies.get(user_id, request)
        if kept is not None:
            self.progress.num_kept += 1
            return kept
        self._check_budget()
        reply = self._chat.ask(request)
        self.progress.num_asked += 1
        self.progress.num_tokens += reply.total_tokens
        self._replies.put(user_id, request, reply.text, reply.total_tokens)
        return reply.text

    def _check_budget(self) -> None:
        done = self.progress
        if done.num_tokens >= self._max_tokens:
            raise UpdaterError(
                f"generator.max_tokens_total ({self._max_tokens:,}) is used up: this run finished "
                f"{done.num_profiles:,} profiles and used {done.num_tokens:,} tokens in {done.num_asked:,} requests; "
                "replies are kept, so run it again to go on with as many tokens more, or raise the limit."
            )


def _candidates(profile: Profile, pool: Sequence[Topic]) -> dict[int, Topic]:
    """The topics that the profile has events for, numbered from 1 in the order of the pool."""
    fitting = {topic.name for topic in most_relevant(pool, profile, len(pool))}
    shown = [
        topic
        for topic in pool
        if topic.name in fitting and not (topic.scope.category and shows_id(topic.scope.category, profile.user_id))
    ]
    return dict(enumerate(shown, start=1))
