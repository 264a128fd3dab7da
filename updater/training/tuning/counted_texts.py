"""The texts of an anchor's users as a frozen model's questions count them: what stays while a question is moved."""

# B users of an anchor, R of them, V distinct texts, T texts of users, H width of a key, D model width

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from updater.model.layouts.anchored_counts import AnchoredCounts, sum_padded, summed
from updater.model.layouts.anchored_layout import AnchoredLayout
from updater.training.profiles import Profiles

USERS_AT_A_TIME = 4096
"""Users that are read together, each text of theirs once; more cost memory."""


@dataclass(frozen=True)
class CountedTexts:
    """Of all users of an anchor's profiles, in their order."""

    keys_VH: Tensor
    """Keys of texts."""
    row_T: Tensor
    """Row in `keys_VH` of each text of a user."""
    summed_TK: Tensor
    """What is added up of it."""
    offsets_B1: Tensor
    """Where each user's texts begin, and the last one's end."""
    user_BD: Tensor
    """User tokens."""

    def numbers(self, counts: AnchoredCounts, users_R: Tensor, key_H: Tensor) -> Tensor:
        """What a question of this key counts of some users, shape (R, NUM_NUMBERS), with a gradient for the key."""
        counts_R = self.offsets_B1[users_R + 1] - self.offsets_B1[users_R]
        offsets_R1 = pad(counts_R.cumsum(0), (1, 0))
        first_T = torch.repeat_interleave(self.offsets_B1[users_R] - offsets_R1[:-1], counts_R)
        texts_T = first_T + torch.arange(len(first_T), device=first_T.device)
        weights_TJ = counts.kernels((self.keys_VH[self.row_T[texts_T]] @ key_H)[:, None])
        numbers_RN: Tensor = counts.numbers(sum_padded(weights_TJ, self.summed_TK[texts_T], offsets_R1).flatten(1))
        return numbers_RN


@torch.no_grad()
def read_texts(layout: AnchoredLayout, profiles: Profiles) -> CountedTexts:
    """The texts of all users of `profiles`, where the layout's weights lie."""
    device = layout.modality_MD.device
    keys, rows, columns, tokens, counts = [], [], [], [], []
    num_keys = 0
    for start in range(0, len(profiles.users), USERS_AT_A_TIME):
        some = np.arange(start, min(start + USERS_AT_A_TIME, len(profiles.users)))
        users = layout.users(profiles.batch(some))
        keys.append(layout.text_keys(users.texts))
        rows.append(torch.from_numpy(users.texts.row_T + num_keys))
        columns.append(torch.from_numpy(summed(users.texts)))
        counts.append(torch.from_numpy(np.diff(users.texts.offsets_B1)))
        tokens.append(users.user_BD)
        num_keys += len(keys[-1])
    offsets_B1 = pad(torch.cat(counts).cumsum(0), (1, 0)).to(device)
    parts = (torch.cat(rows).to(device), torch.cat(columns).to(device), offsets_B1)
    return CountedTexts(torch.cat(keys), *parts, torch.cat(tokens))
