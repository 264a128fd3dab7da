"""Batched towers against the long way: one user, one question, one answer at a time, through the plain backbone."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model_factories import QUERIES, make_batch, no_events
from tests.training_data import make_paper_model as make_model
from updater.model.batch import Int64, UserBatch
from updater.model.user_model import UserModel
from updater.training.paper.towers import USER_EMB, Pairs, TowerOutput, Towers, embed_padded, lay_out

ANSWERS = (
    (3, 1, 4, 1, 5),
    (2,),
    (6, 5, 3, 5, 8, 9, 7),
    (9, 3),
)
VOCABULARY = np.unique([token for answer in ANSWERS for token in answer])
NUM_USERS, NUM_QUESTIONS = 4, 3
CLOSE = {"rtol": 0.0, "atol": 1e-5}


def make_pairs(model: UserModel, num_users: int = NUM_USERS) -> Pairs:
    """Each user is asked QUERIES, in an order of its own; half of the answers are predicted."""
    ids = [model.token_ids(query) for query in QUERIES]
    grid = np.add.outer(np.arange(num_users), np.arange(NUM_QUESTIONS))
    return Pairs(
        questions=[[ids[k % len(ids)] for k in row] for row in grid],
        question_BK=grid % len(ids),
        answers=ANSWERS,
        answer_ids=np.arange(len(ANSWERS)),
        answer_BK=(grid * 3) % len(ANSWERS),
        predicted_BK=grid % 2 == 0,
    )


def texts(user: int) -> list[str]:
    """The questions of `make_pairs` in words."""
    return [QUERIES[(user + k) % len(QUERIES)] for k in range(NUM_QUESTIONS)]


def rows_of(model: UserModel, batch: UserBatch, user: int, tail: Sequence[int]) -> Tensor:
    """Input embeddings of one user's prefix, then `tail`, shape (1, L, D)."""
    return torch.cat([model.prefix_rows(batch.select([user])).rows_TD, *(tokens(model, [id]) for id in tail)])[None]


def tokens(model: UserModel, ids: Sequence[int]) -> Tensor:
    return model.user_emb_D[None] if list(ids) == [USER_EMB] else model.embed_ids(list(ids))


def states(model: UserModel, rows: Tensor) -> Tensor:
    """As Hugging Face does it: causal, positions from 0."""
    return model.backbone.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state[0]


def one_anchor(model: UserModel, batch: UserBatch, user: int, question: Sequence[int]) -> Tensor:
    state = states(model, rows_of(model, batch, user, [*question, USER_EMB]))[-1]
    return model.head(state)


def one_answer(model: UserModel, answer: Sequence[int]) -> Tensor:
    rows = torch.cat([model.embed_ids(list(answer)), model.user_emb_D[None]])[None]
    return model.head(states(model, rows)[-1])


def one_next_token(model: UserModel, batch: UserBatch, user: int, question: Sequence[int], answer: Sequence[int]):
    """-log P of each token of the answer given all before it, among VOCABULARY; summed."""
    read = states(model, rows_of(model, batch, user, [*question, USER_EMB, *answer]))
    logits = read @ model.backbone.get_output_embeddings().weight[torch.from_numpy(VOCABULARY)].T
    total = logits.new_zeros(())
    first = len(read) - len(answer) - 1
    for step, token in enumerate(answer):
        total = total - logits[first + step].log_softmax(0)[VOCABULARY.tolist().index(token)]
    return total


def the_long_way(model: UserModel, batch: UserBatch, pairs: Pairs) -> TowerOutput:
    anchors, total, count = [], torch.zeros(()), 0
    answers = [one_answer(model, answer) for answer in pairs.answers]
    for user, k in np.ndindex(pairs.answer_BK.shape):
        question, answer = pairs.questions[user][k], pairs.answers[pairs.answer_BK[user, k]]
        anchors.append(one_anchor(model, batch, user, question))
        if pairs.predicted_BK[user, k]:
            total = total + one_next_token(model, batch, user, question, answer)
            count += len(answer)
    return TowerOutput(torch.stack(anchors), torch.stack(answers), total, count)


def run(model: UserModel, batch: UserBatch, pairs: Pairs, vocabulary: Int64 = VOCABULARY) -> TowerOutput:
    output: TowerOutput = Towers(model, vocabulary)(batch, pairs)
    return output


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_towers_are_the_long_way(name: str) -> None:
    model = make_model(name)
    batch, pairs = make_batch(model.config, num_users=NUM_USERS), make_pairs(model)
    assert len(set(model.prefix_lengths(batch).tolist())) > 2
    with torch.no_grad():
        got, expected = run(model, batch, pairs), the_long_way(model, batch, pairs)
    torch.testing.assert_close(got.anchors_NE, expected.anchors_NE, **CLOSE)
    torch.testing.assert_close(got.answers_AE, expected.answers_AE, **CLOSE)
    assert got.next_token_sum.item() == pytest.approx(expected.next_token_sum.item(), rel=1e-5)
    assert got.num_tokens == expected.num_tokens > 0
    torch.testing.assert_close(got.anchors_NE.norm(dim=1), torch.ones(NUM_USERS * NUM_QUESTIONS))


def test_anchors_are_what_the_daily_update_would_serve() -> None:
    model = make_model()
    batch, pairs = make_batch(model.config, num_users=NUM_USERS), make_pairs(model)
    with torch.no_grad():
        got = run(model, batch, pairs).anchors_NE.view(NUM_USERS, NUM_QUESTIONS, -1)
        for user in range(NUM_USERS):
            alone = batch.select([user])
            torch.testing.assert_close(got[user], model(alone, texts(user))[0], **CLOSE)
            torch.testing.assert_close(got[user], torch.from_numpy(model.embed(alone, texts(user))[0]), **CLOSE)


def test_gradients_are_those_of_the_long_way() -> None:
    model = make_model()
    batch, pairs = make_batch(model.config, num_users=2), make_pairs(model, 2)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(rows, model.config.embedding_dim, generator=generator) for rows in (6, len(ANSWERS))]
    found = []
    for way in (run, the_long_way):
        model.zero_grad(set_to_none=True)
        output = way(model, batch, pairs)
        loss = (output.anchors_NE * weights[0]).sum() + (output.answers_AE * weights[1]).sum() + output.next_token_sum
        loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert {"user_emb_D", "head.up.weight", "layout.marker_MD"} <= found[0].keys()
    for name, gradient in found[0].items():
        scale = found[1][name].abs().max().item()
        torch.testing.assert_close(gradient, found[1][name], rtol=0.0, atol=1e-4 * scale + 1e-7, msg=name)


def test_a_question_sees_neither_other_questions_nor_answers() -> None:
    model = make_model()
    batch, pairs = make_batch(model.config, num_users=1), make_pairs(model, 1)
    with torch.no_grad():
        before = run(model, batch, pairs).anchors_NE
        for k in range(NUM_QUESTIONS):
            others = [[question if i == k else [7, 7] for i, question in enumerate(pairs.questions[0])]]
            answers = [[5, 5, 5] for _ in pairs.answers]
            for change in (
                {"questions": others},
                {"answers": answers},
                {"predicted_BK": ~pairs.predicted_BK},
                {"predicted_BK": np.ones_like(pairs.predicted_BK)},
            ):
                after = run(model, batch, dataclasses.replace(pairs, **change)).anchors_NE
                torch.testing.assert_close(after[k], before[k], **CLOSE)
        # Its own words do matter.
        other = [[[7, 7], *pairs.questions[0][1:]]]
        assert (
            run(model, batch, dataclasses.replace(pairs, questions=other)).anchors_NE[0] - before[0]
        ).abs().max() > 0.01


def test_company_and_padding_change_nothing() -> None:
    model = make_model()
    pairs = make_pairs(model)
    batch = make_batch(model.config, num_users=NUM_USERS)
    one = dataclasses.replace(
        pairs,
        questions=pairs.questions[1:2],
        answer_BK=pairs.answer_BK[1:2],
        predicted_BK=pairs.predicted_BK[1:2],
    )
    with torch.no_grad():
        together, alone = run(model, batch, pairs), run(model, batch.select([1]), one)
        last = slice(NUM_QUESTIONS, 2 * NUM_QUESTIONS)
        torch.testing.assert_close(together.anchors_NE[last], alone.anchors_NE, **CLOSE)
        torch.testing.assert_close(together.answers_AE, alone.answers_AE, **CLOSE)


def test_many_answers_are_read_in_groups_and_come_back_in_order() -> None:
    model = make_model()
    rng = np.random.default_rng(0)
    answers = [rng.integers(1, 20, length).tolist() for length in rng.integers(1, 30, 100)]
    pairs = Pairs(
        questions=[[[1]] * 100],
        question_BK=np.zeros((1, 100), dtype=np.int64),
        answers=answers,
        answer_ids=np.arange(100),
        answer_BK=rng.permutation(100)[None],
        predicted_BK=np.zeros((1, 100), dtype=bool),
    )
    with torch.no_grad():
        got = run(model, no_events(model.config), pairs)
        for row in range(0, 100, 7):
            torch.testing.assert_close(got.answers_AE[row], one_answer(model, answers[row]), **CLOSE)
    assert (got.num_tokens, got.next_token_sum.item()) == (0, 0.0)


def test_layout() -> None:
    layout = lay_out(np.array([2, 3]), 3, [[2, 1], [1, 1]])
    assert layout.num_rows == 6
    assert layout.starts_BK.tolist() == [[3, 5], [3, 4]]
    assert layout.positions_BL.tolist() == [[0, 1, 0, 2, 3, 2], [0, 1, 2, 3, 3, 0]]
    seen = [["".join("x" if cell else "." for cell in row) for row in user] for user in layout.mask_BLL.tolist()]
    # What padding sees is of no account, as long as nothing sees padding.
    assert seen == [
        ["x.....", "xx....", "xxx...", "xx.x..", "xx.xx.", "xx...x"],
        ["x.....", "xx....", "xxx...", "xxxx..", "xxx.x.", "xxx..x"],
    ]


def test_rows_of_tokens_are_padded_at_the_end() -> None:
    model = make_model()
    got = embed_padded(model, [[4, USER_EMB, 4], [2]])
    assert got.shape == (2, 3, 32)
    assert torch.equal(got[0], torch.stack([*model.embed_ids([4]), model.user_emb_D, *model.embed_ids([4])]))
    assert torch.equal(got[1, 0], model.embed_ids([2])[0])
    assert torch.equal(embed_padded(model, [[USER_EMB]])[0, 0], model.user_emb_D)
