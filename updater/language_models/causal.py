"""The frozen language model: its chat form, the tokens of the option letters, and the probability of each letter."""

# B questions of a batch, S soft tokens, T text tokens, D width of the model, V its vocabulary, K letters

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import GenerationConfig

from updater.errors import ConfigError
from updater.model.loading import load_language_model
from updater.model.sources import hugging_face_config, load_tokenizer, locate

LETTERS = string.ascii_uppercase
SPELLINGS = ("", "Ġ", "▁", " ")
"""What a vocabulary writes before a letter: nothing, or the space of byte-level, SentencePiece and plain tokenizers."""
CHAT_MARKS = ("<|im_start|>", "<|im_end|>")
"""Of a vocabulary with both, ChatML is the chat form (Qwen, SmolLM); any other model completes `Answer:`."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model whose weights no training changes."""

    name: str
    """Packaged name, directory or Hugging Face id."""
    network: Any
    """The Hugging Face model, in evaluation mode."""
    tokenizer: Tokenizer
    context: int | None
    """Most tokens that it takes; None where its config does not say."""
    device: str

    @property
    def width(self) -> int:
        """D, of a word's embedding."""
        return int(self.network.get_input_embeddings().weight.shape[1])

    @property
    def word_scale(self) -> float:
        """Root mean square of the components of its words' embeddings."""
        return float(self.network.get_input_embeddings().weight.detach().square().mean().sqrt())

    @property
    def soft_place(self) -> int:
        """Tokens of every prompt that stand before the soft ones: what opens the user's turn.

        The very first token of a sequence is where attention goes that has no other use, and what it says is lost.
        """
        return len(self.tokenizer.encode(f"{CHAT_MARKS[0]}user\n" if self._has_chat_marks else "").ids)

    @property
    def _has_chat_marks(self) -> bool:
        return all(self.tokenizer.token_to_id(mark) is not None for mark in CHAT_MARKS)

    def chat(self, content: str) -> str:
        """What a user says, in the model's chat form, up to where the answer begins.

        Marks of the form within the content are data, and are broken up.
        """
        start, end = CHAT_MARKS
        if not self._has_chat_marks:
            return f"{content}\nAnswer:"
        return f"{start}user\n{content.replace('<|', '< |')}{end}\n{start}assistant\n"

    def encode(self, content: str, num_soft: int) -> list[int]:
        """Token ids of `chat(content)`.

        Raises:
            ConfigError: with the soft tokens they are more than the model takes.
        """
        ids: list[int] = self.tokenizer.encode(self.chat(content)).ids
        if self.context is not None and len(ids) + num_soft > self.context:
            raise ConfigError(
                f"a question has {len(ids) + num_soft} tokens and the reader {self.name!r} takes {self.context}; "
                f"choose a model with a longer context. The question begins: {content[:80]!r}"
            )
        return ids

    def letter_tokens(self, num_letters: int) -> list[list[int]]:
        """For each of the first letters the ids of the tokens that spell it, with and without a leading space.

        Raises:
            ConfigError: there are more than 26, or the vocabulary has no token for one of them.
        """
        if num_letters > len(LETTERS):
            raise ConfigError(f"a question has {num_letters} options, and there are {len(LETTERS)} letters for them.")
        found = []
        for letter in LETTERS[:num_letters]:
            known = (self.tokenizer.token_to_id(spelling + letter) for spelling in SPELLINGS)
            ids = {token for token in known if token is not None}
            if not ids:
                raise ConfigError(
                    f"the tokenizer of the reader {self.name!r} has no token for the letter {letter!r}; choose another "
                    "model."
                )
            found.append(sorted(ids))
        return found

    def letter_log_probs(
        self, soft_BSD: Tensor, prompts: Sequence[Sequence[int]], letters: Sequence[Sequence[int]]
    ) -> Tensor:
        """Log probability that the next token spells each letter, shape (B, K).

        Args:
            soft_BSD: embeddings that stand in the prompts at `soft_place`; S may be 0.
            prompts: token ids of B prompts, of any lengths.
            letters: of `letter_tokens`; a letter's probability is the sum of those of its tokens.
        """
        lengths = [len(prompt) for prompt in prompts]
        # Padded on the right: under a causal mask no token of a prompt sees what stands behind it.
        ids_BT = torch.zeros(len(prompts), max(lengths), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids_BT[row, : len(prompt)] = torch.tensor(prompt)
        words_BTD = self.network.get_input_embeddings()(ids_BT.to(self.device))
        begin = self.soft_place
        last_B = torch.tensor(lengths, device=self.device) + soft_BSD.shape[1] - 1
        kept = torch.unique(last_B)
        logits = self.network(
            inputs_embeds=torch.cat((words_BTD[:, :begin], soft_BSD.to(words_BTD.dtype), words_BTD[:, begin:]), dim=1),
            logits_to_keep=kept,
            use_cache=False,
        ).logits
        rows = torch.arange(len(prompts), device=self.device)
        log_probs_BV = logits[rows, torch.searchsorted(kept, last_B)].float().log_softmax(dim=1)
        return torch.stack([log_probs_BV[:, tokens].logsumexp(dim=1) for tokens in letters], dim=1)

    def complete(self, content: str, max_new_tokens: int) -> tuple[str, int]:
        """What the model says to `content`, by its likeliest token each time, and the tokens of both.

        Raises:
            ConfigError: with so many new tokens they are more than the model takes.
        """
        ids = self.encode(content, max_new_tokens)
        end = self.tokenizer.token_to_id(CHAT_MARKS[1]) if self._has_chat_marks else self.network.config.eos_token_id
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=end, pad_token_id=0, use_cache=True
        )
        told_BT = torch.tensor([ids], device=self.device)
        with torch.inference_mode():
            made_BT = self.network.generate(
                told_BT, attention_mask=torch.ones_like(told_BT), generation_config=settings
            )
        text: str = self.tokenizer.decode(made_BT[0, len(ids) :].tolist())
        return text, made_BT.shape[1]


def open_language_model(name: str, device: str = "cpu") -> LanguageModel:
    """A reader by its packaged name (`smollm2`), directory or Hugging Face id.

    Args:
        name: which model.
        device: where it computes, as PyTorch writes it.

    Raises:
        ConfigError: there is no such model, or it has no tokenizer.json.
    """
    source = locate(name)
    context = hugging_face_config(source).get("max_position_embeddings")
    return LanguageModel(
        name=name,
        network=load_language_model(name).to(device),
        tokenizer=load_tokenizer(source),
        context=context if isinstance(context, int) else None,
        device=device,
    )
