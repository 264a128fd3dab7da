"""Candidates for training texts by the language model of `[profile.language_model]`, asked what it is asked daily."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from updater.pipeline.profile_llm.speakers import open_speaker
from updater.profile.language_model.prompt import Question, system_prompt, user_prompt
from updater.settings import Settings
from updater.training.profile.texts.dataset import Ask
from updater.training.useru.language_model.replies import Replies


@contextmanager
def candidates(settings: Settings, may_ask: bool = True) -> Iterator[Ask | None]:
    """Asks the language model of the config; None where it is not enabled, or may not be asked.

    Replies are kept, by their requests and users.

    Raises:
        ConfigError: the key's environment variable is not set, a package is missing, or there is no such local model.
    """
    choice = settings.profile.language_model
    if not (choice.enabled and may_ask):
        yield None
        return
    replies = Replies.of(settings)
    with closing(open_speaker(settings)) as speaker:

        def ask(user_id: str, question: Question) -> str:
            request = speaker.request(system_prompt(question.budget_tokens), user_prompt(question))
            kept = replies.get(user_id, request)
            if kept is None:
                reply = speaker.ask(request)
                replies.put(user_id, request, reply.text, reply.total_tokens)
                kept = reply.text
            return kept

        yield ask
