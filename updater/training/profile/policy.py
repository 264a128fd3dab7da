"""The language model that is trained: opened for TRL, drawn from, and written as a directory that others open."""

# B prompts, T tokens

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from updater.domain.temporary_files import temporary_name
from updater.errors import ConfigError
from updater.model.loading import load_language_model
from updater.model.sources import hugging_face_config, load_tokenizer, locate
from updater.profile.language_model.prompt import Question, system_prompt, user_prompt

CHAT_MARKS = ("<|im_start|>", "<|im_end|>")
"""A vocabulary with both is spoken to in ChatML (Qwen, SmolLM); any other model completes plain text."""
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

    def prompt(self, question: Question) -> str:
        """What the model is asked, in its chat form, up to where the reply begins."""
        system, user = system_prompt(question.budget_tokens), user_prompt(question)
        start, end = CHAT_MARKS
        if not all(mark in self.tokenizer.get_vocab() for mark in CHAT_MARKS):
            return f"{system}\n{user}\n"
        # Marks of the form within what users did are data.
        shown = user.replace("<|", "< |")
        return f"{start}system\n{system}{end}\n{start}user\n{shown}{end}\n{start}assistant\n"

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
    source = locate(name)
    network, tokenizer = load_language_model(name), load_tokenizer(source)
    end = _end_token(hugging_face_config(source), tokenizer)
    if end is None:
        raise ConfigError(
            f"the model {name!r} has no token that ends a reply; set eos_token_id in its config.json, or choose another."
        )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end)
    network.requires_grad_(True).to(device)
    return Policy(network, wrapped)


def _end_token(config: dict[str, Any], tokenizer: Any) -> str | None:
    if tokenizer.token_to_id(CHAT_MARKS[1]) is not None:
        return CHAT_MARKS[1]
    declared = config.get("eos_token_id")
    first = declared[0] if isinstance(declared, list) and declared else declared
    found: str | None = tokenizer.id_to_token(first) if isinstance(first, int) else None
    return found


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
