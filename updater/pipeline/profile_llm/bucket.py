"""A bucket's texts of a day: whom to ask about, what is taken of the replies, and when it is written."""

from collections import Counter
from collections.abc import Mapping, Sequence

from updater.domain.columns import PROFILE_LLM_VIEW
from updater.domain.fingerprint import fingerprint
from updater.domain.window import Window
from updater.errors import WindowOrderError
from updater.language_models.speaker import Speaker
from updater.pipeline.profile_llm.asking import Asker
from updater.pipeline.profile_llm.questions import Asking, Former, may_stay, questions
from updater.pipeline.profile_llm.replies import ACCEPTED, Asked, read_replies, storable, write_if_other, write_replies
from updater.profile.language_model.check import Candidate, Rejection, check, limits_of
from updater.profile.language_model.prompt import system_prompt, updater_name, user_prompt
from updater.profile.language_model.reply import read_reply
from updater.runtime.deployment import WritableContext
from updater.runtime.session import Session
from updater.runtime.state_lock import no_erasure_meanwhile
from updater.state.bucket_files import all_files, bucket_files
from updater.state.profiles import WrittenText, read_written, written_rows

REQUESTS_PER_CONCURRENCY = 8
"""Requests of a thread between two writes of what was replied: what a killed run asks again."""


class BucketUpdate:
    """The update of one bucket's texts for one window.

    Args:
        context: the deployment.
        session: DuckDB and the texts' vectors.
        window: a committed window.
        bucket: the bucket.
        speaker: makes the requests.
        asker: sends them.
    """

    def __init__(
        self,
        context: WritableContext,
        session: Session,
        window: Window,
        bucket: int,
        speaker: Speaker,
        asker: Asker,
    ) -> None:
        self._context, self._session, self._window, self._bucket = context, session, window, bucket
        self._speaker, self._asker = speaker, asker
        settings = context.settings
        choice = settings.profile
        names = [modality.name for modality in settings.modalities]
        forbidden = [m.name for m in settings.modalities if not choice.counted_column(m)]
        self._system, self._limits = system_prompt(choice.budget_tokens), limits_of(choice, names, forbidden)
        self._updater = updater_name(speaker.model)
        self._replies = read_replies(context.layout.profile_replies(window.ds, bucket))
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()

    def run(self, users: Sequence[str]) -> None:
        """Ask about `users` who have no text of this window yet, and write the texts that are taken.

        Raises:
            WindowOrderError: the window's file has been merged into another one.
        """
        former, made = self._read()
        waiting = [user for user in users if user not in made]
        self.counts["already_done"] += len(users) - len(waiting)
        lapsed = [
            (user, text.digest)
            for user, (_, text) in former.items()
            if text.text and user not in made and not may_stay(self._context, text)
        ]
        if not (waiting or lapsed):
            return
        self._check_not_merged()
        size = REQUESTS_PER_CONCURRENCY * self._context.settings.profile.language_model.concurrency
        for start in range(0, len(waiting), size):
            made |= self._texts(waiting[start : start + size], former)
        made |= {user: self._withdrawn(user, digest) for user, digest in lapsed if user not in made}
        self._write(made)

    def _read(self) -> tuple[dict[str, Former], dict[str, WrittenText]]:
        """Each user's newest text before the window, and those of the window itself."""
        view, as_of = self._context.layout.offline(PROFILE_LLM_VIEW), int(self._window.as_of.timestamp())
        former: dict[str, Former] = {}
        made: dict[str, WrittenText] = {}
        for written, text in read_written(bucket_files(view, self._bucket, last=self._window.ds)):
            if written == as_of:
                made[text.user_id] = text
            elif text.user_id not in former or former[text.user_id][0] < written:
                former[text.user_id] = written, text
        return former, made

    def _texts(self, users: Sequence[str], former: Mapping[str, Former]) -> dict[str, WrittenText]:
        """The texts that are taken, by user; what was replied is kept first."""
        found: dict[str, WrittenText] = {}
        asked = questions(self._context, self._session, self._window, self._bucket, users, former)
        found |= {
            one.user_id: self._withdrawn(one.user_id, one.parent)
            for one in asked
            if not one.question.facets and one.user_id in former and former[one.user_id][1].text
        }
        asked = [one for one in asked if one.question.facets]
        judged = [self._judge(*pair) for pair in zip(asked, self._ask(asked), strict=True)]
        for text in judged:
            if text is not None:
                found[text.user_id] = text
        with no_erasure_meanwhile(self._context) as erased:
            kept = {key: one for key, one in self._replies.items() if one.user_id not in erased}
            if kept:
                write_replies(self._context.layout.profile_replies(self._window.ds, self._bucket), kept)
        return found

    def _ask(self, asked: Sequence[Asking]) -> list[tuple[str, str | None]]:
        """Digest of each request, and the reply to it: a kept one, or a new one; None where there is none."""
        requests = [self._speaker.request(self._system, user_prompt(one.question)) for one in asked]
        keys = [(one.user_id, fingerprint(request)) for one, request in zip(asked, requests, strict=True)]
        new = [position for position, key in enumerate(keys) if key not in self._replies]
        self.counts["kept"] += len(keys) - len(new)
        replied = dict(zip(new, self._asker.ask([requests[position] for position in new]), strict=True))
        return [
            (digest, replied[position] if position in replied else self._replies[user, digest].reply)
            for position, (user, digest) in enumerate(keys)
        ]

    def _judge(self, one: Asking, replied: tuple[str, str | None]) -> WrittenText | None:
        """What of a reply is taken; it is noted either way."""
        digest, reply = replied
        if reply is None:
            return None
        reply = storable(reply)
        verdict = check(read_reply(reply), one.question.facets, self._limits)
        outcome = verdict.value if isinstance(verdict, Rejection) else ACCEPTED
        prompt = user_prompt(one.question)
        self._replies[one.user_id, digest] = Asked(
            one.user_id, digest, self._updater, one.parent, prompt, reply, outcome
        )
        if not isinstance(verdict, Candidate):
            self.rejected[outcome] += 1
            return None
        self.counts["accepted"] += 1
        return WrittenText(
            user_id=one.user_id,
            text=verdict.text,
            updater=self._updater,
            modalities=verdict.modalities,
            facets=[f"{facet.modality}:{facet.value}" for facet in verdict.facets],
            parent=one.parent,
            prompt=digest[:32],
        )

    def _withdrawn(self, user: str, parent: str) -> WrittenText:
        self.counts["withdrawn"] += 1
        return WrittenText(user, "", self._updater, [], [], parent, "")

    def _write(self, made: Mapping[str, WrittenText]) -> None:
        """Write the day's file of the bucket, without users who were erased meanwhile."""
        path = self._context.layout.bucket_file(PROFILE_LLM_VIEW, self._window.ds, self._bucket, 0)
        opened = self._context.ledger.window(self._window.ds)
        created = opened.opened_at if opened else self._context.now
        with no_erasure_meanwhile(self._context) as erased:
            texts = [text for user, text in made.items() if user not in erased]
            if texts:
                write_if_other(path, written_rows(texts, self._window.as_of, created), "profile_rows")

    def _check_not_merged(self) -> None:
        for file in all_files(self._context.layout.offline(PROFILE_LLM_VIEW), self._bucket):
            if file.kind != "ds" and file.first <= self._window.ds <= file.last:
                raise WindowOrderError(
                    f"The texts of {self._window} are merged into {file.path}, so none can be added; update a later "
                    "day instead.",
                    ds=self._window.ds,
                )
