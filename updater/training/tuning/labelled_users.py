"""Embeddings of labelled users with a prompt before their questions and a shift of these, as often as tuning asks.

A user's prefix depends on neither, so its keys and values are computed once and kept, within a bound of memory, for all
steps and scenarios; so are the keys of its texts.
"""

# B users, P prefix rows, W suffix rows, H width of a key, D model width, E embedding_dim

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import torch
from torch import Tensor, nn

from updater.model.batch import Int64
from updater.model.layouts.anchored_counts import shifted
from updater.model.layouts.anchored_layout import AnchoredLayout
from updater.model.user_model import UserModel
from updater.training.profiles import Profiles
from updater.training.tuning.counted_texts import CountedTexts, read_texts

MOST_BYTES = 4_000_000_000
"""Keys and values that are kept; beyond it they are computed again."""
BLOCK = 16
"""Neighbouring rows of an anchor's profiles that are computed together, whoever of them is asked for, so that a result
does not depend on what else was tuned."""


@dataclass(frozen=True)
class KeptPrefix:
    """What a question reads of a user."""

    layers: list[tuple[Tensor, Tensor]]
    """Keys and values of each layer, (P, heads, head width)."""
    length: int
    """Rows of the prefix."""

    @property
    def num_bytes(self) -> int:
        """Of the keys and values."""
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


@dataclass(frozen=True)
class Labels:
    """What one scenario learns from: labelled users at anchor days, each under one question."""

    anchors: Sequence[date]
    rows: Int64
    """Row of each in its anchor's profiles."""
    questions: Sequence[str]
    classes: Int64
    """0 or 1."""

    def take(self, chosen: Int64) -> "Labels":
        """Those at `chosen`."""
        return Labels(
            [self.anchors[i] for i in chosen],
            self.rows[chosen],
            [self.questions[i] for i in chosen],
            self.classes[chosen],
        )


class LabelledUsers:
    """The users of some profiles under a frozen model."""

    def __init__(self, model: UserModel, profiles: Mapping[date, Profiles]) -> None:
        self._model = model
        self._profiles = profiles
        self._kept: dict[tuple[date, int], KeptPrefix] = {}
        self._bytes = 0
        self._texts: dict[date, CountedTexts] = {}

    def user(self, labels: Labels, position: int) -> str:
        """Id of a labelled user."""
        return str(self._profiles[labels.anchors[position]].users[labels.rows[position]])

    def embed(self, prompt: Tensor | None, shift: Tensor | None, labels: Labels, chosen: Int64) -> Tensor:
        """Embeddings of the labelled users at `chosen`, shape (B, E), with `prompt` before their questions, whose keys
        are moved by `shift`.
        """
        model = self._model
        ends_BD = self._ends(shift, labels, chosen)
        device = ends_BD.device
        if model.backbone is None:
            return self._read(model.final_norm(ends_BD))
        before = [] if prompt is None else [prompt]
        words = {question: model.words([question], [])[0] for question in {labels.questions[i] for i in chosen}}
        suffixes = [
            torch.cat([*before, words[labels.questions[i]], end_D[None]])
            for i, end_D in zip(chosen, ends_BD, strict=True)
        ]
        suffix_BWD = nn.utils.rnn.pad_sequence(suffixes, batch_first=True)
        prefixes = self._prefixes([(labels.anchors[i], int(labels.rows[i])) for i in chosen])
        lengths_B = torch.tensor([prefix.length for prefix in prefixes], device=device)
        longest, width = max(prefix.length for prefix in prefixes), suffix_BWD.shape[1]
        prefix_seen = torch.arange(longest, device=device) < lengths_B[:, None]
        seen = torch.cat(
            [
                prefix_seen[:, None].expand(-1, width, -1),
                torch.ones(width, width, dtype=torch.bool, device=device).tril().expand(len(chosen), -1, -1),
            ],
            dim=2,
        )
        mask = torch.zeros(seen.shape, device=device).masked_fill(~seen, torch.finfo(torch.float32).min)
        states = model.backbone.base_model(
            inputs_embeds=suffix_BWD,
            attention_mask=mask[:, None],
            position_ids=lengths_B[:, None] + torch.arange(width, device=device),
            past_key_values=_cache(prefixes),
            use_cache=True,
        ).last_hidden_state
        ends = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=device)
        return self._read(states[torch.arange(len(chosen), device=device), ends])

    def _read(self, states: Tensor) -> Tensor:
        embeddings: Tensor = self._model.head(states)
        return embeddings

    def embed_all(self, prompt: Tensor | None, shift: Tensor | None, labels: Labels, size: int) -> Tensor:
        """Of all labelled users, `size` at a time, (N, E)."""
        everyone = np.arange(len(labels.rows))
        groups = np.array_split(everyone, -(-len(everyone) // size))
        return torch.cat([self.embed(prompt, shift, labels, group) for group in groups])

    def _ends(self, shift: Tensor | None, labels: Labels, chosen: Int64) -> Tensor:
        """What <USER_EMB> is given, (B, D)."""
        model, layout = self._model, self._model.layout
        if not isinstance(layout, AnchoredLayout):
            return model.user_emb_D.expand(len(chosen), -1)
        groups: dict[tuple[date, str], list[int]] = defaultdict(list)
        for place, i in enumerate(chosen.tolist()):
            groups[labels.anchors[i], labels.questions[i]].append(place)
        parts = []
        for (anchor, question), places in groups.items():
            if anchor not in self._texts:
                self._texts[anchor] = read_texts(layout, self._profiles[anchor])
            texts, questions_1X = self._texts[anchor], model.question_vectors([question])
            key_H = layout.counts.question_keys(questions_1X)[0]
            users_R = torch.from_numpy(labels.rows[chosen[places]]).to(key_H.device)
            numbers_RN = texts.numbers(layout.counts, users_R, key_H if shift is None else shifted(key_H, shift))
            uncounted_R1D = layout.uncounted(texts.user_BD[users_R], questions_1X)
            parts.append(model.user_emb_D + layout.counted(numbers_RN) + uncounted_R1D[:, 0])
        order = [place for places in groups.values() for place in places]
        return torch.cat(parts)[np.argsort(order)]

    def _prefixes(self, keys: Sequence[tuple[date, int]]) -> list[KeptPrefix]:
        found: dict[tuple[date, int], KeptPrefix] = {}
        for key in keys:
            if key in self._kept:
                found[key] = self._kept[key]
            elif key not in found:
                made = self._compute(*key)
                found |= made
                size = sum(prefix.num_bytes for prefix in made.values())
                if self._bytes + size <= MOST_BYTES:
                    self._kept |= made
                    self._bytes += size
        return [found[key] for key in keys]

    @torch.no_grad()
    def _compute(self, anchor: date, row: int) -> dict[tuple[date, int], KeptPrefix]:
        """The prefixes of a block."""
        block = self._block(anchor, row)
        packed = self._model.prefix_rows(self._profiles[anchor].batch(block))
        lengths = packed.prefix_lengths_B.tolist()
        # Padding comes last, so that no row of a prefix sees it.
        rows_BPD = nn.utils.rnn.pad_sequence(list(torch.split(packed.rows_TD, lengths)), batch_first=True)
        past = self._model.backbone.base_model(inputs_embeds=rows_BPD, use_cache=True).past_key_values
        made = {}
        for user, (other, length) in enumerate(zip(block.tolist(), lengths, strict=True)):
            # Copies, or the whole block would stay for one of its users.
            layers = [(_rows(layer.keys[user], length), _rows(layer.values[user], length)) for layer in past.layers]
            made[anchor, other] = KeptPrefix(layers, length)
        return made

    def _block(self, anchor: date, row: int) -> Int64:
        """The rows that are computed together with `row`."""
        start = row // BLOCK * BLOCK
        return np.arange(start, min(start + BLOCK, len(self._profiles[anchor].users)))


def _rows(part: Tensor, length: int) -> Tensor:
    """The first rows of keys or values (heads, P, width) as (P, heads, width)."""
    return part[:, :length].transpose(0, 1).clone()


def _cache(prefixes: Sequence[KeptPrefix]) -> object:
    """Keys and values of users' prefixes, padded at the end, as a cache of their own."""
    from transformers import DynamicCache

    layers = []
    for layer in range(len(prefixes[0].layers)):
        parts = [[prefix.layers[layer][part] for prefix in prefixes] for part in (0, 1)]
        layers.append(tuple(nn.utils.rnn.pad_sequence(part, batch_first=True).transpose(1, 2) for part in parts))
    return DynamicCache(ddp_cache_data=layers)
