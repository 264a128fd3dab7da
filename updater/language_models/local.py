"""A language model that runs in this process and answers in text: the likeliest token each time, so always the same."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from updater.domain.fingerprint import fingerprint
from updater.language_models.causal import LanguageModel, open_language_model
from updater.language_models.speaker import Reply
from updater.model.sources import file_digest, hugging_face_config, is_gguf, locate, weight_files


class LocalSpeaker:
    """Answers with a Hugging Face model.

    Args:
        name: packaged name, directory or Hugging Face id.
        max_new_tokens: longest reply.
        device: where it computes, as PyTorch writes it.

    Raises:
        ConfigError: there is no such model, or it has no tokenizer.json.
    """

    def __init__(self, name: str, max_new_tokens: int, device: str = "cpu") -> None:
        self._max_new_tokens = max_new_tokens
        self._reader: LanguageModel = open_language_model(name, device)
        self._name = f"{Path(name).name}-{_weights_digest(name)[:8]}"
        self._one_at_a_time = Lock()

    @property
    def model(self) -> str:
        """Its short name and the beginning of its weights' digest."""
        return self._name

    def request(self, system: str, user: str) -> dict[str, Any]:
        """What is asked, with all that decides about the reply."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return {"model": self._name, "messages": messages, "max_new_tokens": self._max_new_tokens}

    def ask(self, request: Mapping[str, Any]) -> Reply:
        """The reply. Raises ConfigError if the model's context holds no such request and reply."""
        content = "\n\n".join(message["content"] for message in request["messages"])
        with self._one_at_a_time:
            text, num_tokens = self._reader.complete(content, self._max_new_tokens)
        return Reply(text, num_tokens)

    def close(self) -> None:
        """Nothing is open."""


def _weights_digest(name: str) -> str:
    source = locate(name)
    files = [source] if is_gguf(source) else [*weight_files(source), source / "tokenizer.json"]
    return fingerprint(hugging_face_config(source), [file_digest(path) for path in files])
