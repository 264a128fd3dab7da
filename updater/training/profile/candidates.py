"""Candidates by a language model for training texts: the endpoint of `[generator]`, asked what the served path asks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from updater.errors import ConfigError, UpdaterError
from updater.profile.language_model.prompt import Question, system_prompt, user_prompt
from updater.settings import Settings
from updater.state.layout import StateLayout
from updater.training.profile.dataset import Ask


@contextmanager
def candidates(settings: Settings) -> Iterator[Ask | None]:
    """Asks the generator's language model; None where the generator is the log. Replies are kept, by their requests.

    Raises:
        ConfigError: the key's environment variable is not set.
    """
    choice = settings.generator
    if choice.kind == "log":
        yield None
        return
    from updater.training.useru.chat import Chat
    from updater.training.useru.replies import Replies

    key = os.environ.get(choice.api_key_env, "").strip() if choice.api_key_env else ""
    if choice.api_key_env and not key:
        raise ConfigError(f"generator.api_key_env names ${choice.api_key_env}, which is not set; set it to the key.")
    replies, chat = Replies(StateLayout(settings.paths.state).generator_replies()), Chat(choice, key)
    used = 0

    def ask(question: Question) -> str:
        nonlocal used
        request = chat.request(system_prompt(question.budget_tokens), user_prompt(question))
        kept = replies.get(request)
        if kept is not None:
            return kept
        if used >= choice.max_tokens_total:
            raise UpdaterError(
                f"generator.max_tokens_total ({choice.max_tokens_total:,}) is used up; replies are kept, so run it again "
                "to go on with as many tokens more, or raise the limit."
            )
        reply = chat.ask(request)
        used += reply.total_tokens
        replies.put(request, reply.text, reply.total_tokens)
        return reply.text

    try:
        yield ask
    finally:
        chat.close()
