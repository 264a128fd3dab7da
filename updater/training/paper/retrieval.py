"""A quick look at pre-training: how often a question's own answer is the nearest one."""

import numpy as np
import torch

from updater.domain.declared.training import Training
from updater.model.user_model import UserModel
from updater.training.paper.pairs import PairTable, pairs_of_step, users_of_step
from updater.training.paper.towers import Towers

MOST_STEPS = 20


@torch.inference_mode()
def top_answer_share(model: UserModel, table: PairTable, options: Training) -> float:
    """Share of questions, over some steps' worth of users, whose own answer is nearest among the step's answers.

    Equal answers count as one. Chance is about one over the distinct answers of a step, some hundreds.
    """
    towers = Towers(model, table.vocabulary)
    hits: list[float] = []
    for step in range(MOST_STEPS):
        batch, pairs = pairs_of_step(table, users_of_step(table, options, step), options, step)
        output = towers(batch, pairs)
        own_N = pairs.answer_BK.ravel()
        which = pairs.answer_ids[own_N]
        nearest = (output.anchors_NE @ output.answers_AE[own_N].T).argmax(dim=1).numpy()
        hits.append(float(np.mean(which[nearest] == which)))
    return float(np.mean(hits)) if hits else float("nan")
