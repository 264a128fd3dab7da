"""The language model that is trained: opened for TRL, drawn from, and written as a directory that others open."""

# B prompts, T tokens

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from updater.domain.temporary_files import temporary_name
from updater.errors import ConfigError
from updater.language_models.causal import CHAT_MARKS, open_language_model
from updater.profile.language_model.prompt import Question, system_prompt, user_prompt

CARD, TOKENIZER = "README.md", "tokenizer.json"
WHOLE = ("config.json", "model.safetensors", TOKENIZER, CARD)
"""Files of a model directory."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A causal language model that may be trained."""

    network: Any
    """The Hugging Face model."""
    tokenizer: Any
    """Its `PreTrainedTokenizerFast`."""
    chat: Callable[[str], str]
    """What is said to it, in its chat form, up to where the reply begins."""

    def prompt(self, question: Question) -> str:
        """What the model is asked: the same as by `LocalSpeaker`, who asks it where texts are served."""
        return self.chat(f"{system_prompt(question.budget_tokens)}\n\n{user_prompt(question)}")

    def with_network(self, network: Any) -> "Policy":
        """The same around another state of the model."""
        return replace(self, network=network)

    @property
    def context(self) -> int | None:
        """Most tokens that it takes; None where its config does not say."""
        found = getattr(self.network.config, "max_position_embeddings", None)
        return found if isinstance(found, int) else None

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Token ids of a prompt, with what the tokenizer puts before every text."""
        ids: list[int] = self.tokenizer(prompt)["input_ids"]
        return ids

    def reply_tokens(self, reply: str) -> list[int]:
        """Token ids of a reply and of what ends it."""
        ids: list[int] = self.tokenizer(reply, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id]

    def draw(self, prompts: Sequence[str], max_tokens: int, temperature: float | None = None) -> list[str]:
        """A reply to each prompt; without a temperature the likeliest tokens.

        Sampling uses torch's own generator, whose state a checkpoint has.
        """
        was_training = self.network.training
        self.network.eval()
        ids = [torch.tensor(self.prompt_tokens(prompt)) for prompt in prompts]
        length, pad = max(map(len, ids)), self.tokenizer.pad_token_id
        # Padded on the left: replies begin at the same place.
        ids_BT = torch.stack([torch.nn.functional.pad(one, (length - len(one), 0), value=pad) for one in ids])
        mask_BT = torch.stack([torch.arange(length) >= length - len(one) for one in ids]).long()
        config = GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=pad,
            do_sample=temperature is not None,
            **({} if temperature is None else {"temperature": temperature, "top_k": 0}),
        )
        device = self.network.device
        with torch.no_grad():
            drawn_BT = self.network.generate(
                input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), generation_config=config
            )
        self.network.train(was_training)
        replies: list[str] = self.tokenizer.batch_decode(drawn_BT[:, length:], skip_special_tokens=True)
        return replies


def open_policy(name: str, device: str = "cpu") -> Policy:
    """A model by its packaged name (`smollm2`), directory or Hugging Face id, whose weights may be trained.

    Raises:
        ConfigError: there is no such model, it has no tokenizer.json, or nothing says what ends a reply.
    """
    reader = open_language_model(name, device)
    end = CHAT_MARKS[1] if reader.tokenizer.token_to_id(CHAT_MARKS[1]) is not None else None
    declared = reader.network.config.eos_token_id
    if end is None and isinstance(declared, int):
        end = reader.tokenizer.id_to_token(declared)
    if end is None:
        raise ConfigError(f"the model {name!r} has no token that ends a reply; set eos_token_id in its config.json.")
    reader.network.requires_grad_(True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=reader.tokenizer, eos_token=end, pad_token=end)
    return Policy(reader.network, tokenizer, reader.chat)


def save_policy(policy: Policy, directory: Path, card: str) -> None:
    """Write a model directory, which appears whole or not at all: adapters are merged into the weights."""
    network = policy.network
    if hasattr(network, "merge_and_unload"):
        network = network.merge_and_unload()
    temporary = directory.with_name(temporary_name(directory.name))
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        network.save_pretrained(temporary)
        policy.tokenizer.backend_tokenizer.save(str(temporary / TOKENIZER))
        (temporary / CARD).write_text(card, encoding="utf-8")
        for path in temporary.iterdir():
            # safetensors makes files that only their owner may read, whatever the umask.
            path.chmod((temporary / CARD).stat().st_mode)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(directory, ignore_errors=True)
        temporary.replace(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_whole(directory: Path) -> bool:
    """True if a model directory is there."""
    return all((directory / name).is_file() for name in WHOLE)
