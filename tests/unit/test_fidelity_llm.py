"""A language model as reader: what it is given, how the adapter learns, and what its answers say of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from tokenizers import Tokenizer, models

from tests.small_models import make_reader
from updater.errors import ConfigError
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.llm.accuracy import mean_over_users
from updater.fidelity.llm.adapter import Asked, choose, train_adapter
from updater.fidelity.llm.answers import answer_from_text, answer_with_llm, lettered
from updater.fidelity.llm.joined import LlmReading, read_with_llm
from updater.fidelity.llm.prior import prior_choices
from updater.fidelity.schema import QUESTIONS
from updater.language_models.causal import LanguageModel, open_language_model

OPTIONS = ["tea", "rice", "milk", "bread"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reader(tmp_path_factory.mktemp("reader") / "llm")


@pytest.fixture(scope="module")
def reader(directory: Path) -> LanguageModel:
    return open_language_model(str(directory))


def make_questions(num_users: int, gold: list[int] | None = None, train_share: float = 0.6) -> pa.Table:
    """A question for each user; the right option is drawn unless it is given."""
    drawn = gold or np.random.default_rng(1).integers(len(OPTIONS), size=num_users).tolist()
    rows = [
        {
            "question_id": f"q{number:04}",
            "user_id": f"u{number}",
            "subtask": "LI",
            "modality": "bill",
            "attribute": "item",
            "slot": "LI/bill/item",
            "text": "Which of these",
            "options": OPTIONS,
            "gold": drawn[number],
            "touches_delta": False,
            "evidence": [],
            "train": number < train_share * num_users,
        }
        for number in range(num_users)
    ]
    return pa.Table.from_pylist(rows, schema=QUESTIONS)


def planted(questions: pa.Table) -> UserVectors:
    """Vectors in which the right option stands, among columns of noise."""
    gold = questions["gold"].to_numpy()
    noise = np.random.default_rng(2).standard_normal((len(gold), 4))
    return UserVectors(np.array(questions["user_id"].to_pylist()), np.concatenate([np.eye(4)[gold], noise], axis=1))


def accuracy(questions: pa.Table, choice: np.ndarray) -> float:
    gold = [row["gold"] for row in questions.to_pylist() if not row["train"]]
    return float((choice == np.array(gold)).mean())


def test_a_planted_vector_is_read_and_noise_is_not(directory: Path) -> None:
    questions = make_questions(200)
    vectors = planted(questions)
    answers = answer_with_llm(questions, vectors, str(directory), steps=120, seed=3)
    assert len(answers.choice) == len(answers.question_ids) == 80
    assert accuracy(questions, answers.choice) > 0.9
    noise = UserVectors(vectors.users, np.random.default_rng(4).standard_normal(vectors.values.shape))
    assert accuracy(questions, answer_with_llm(questions, noise, str(directory), steps=120, seed=3).choice) < 0.45


def test_the_same_arguments_give_the_same_adapter(reader: LanguageModel) -> None:
    asked = make_asked(reader, 20)
    first, second, other = (train_adapter(reader, asked, steps=5, seed=seed) for seed in (1, 1, 2))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert not torch.equal(first.linear.weight, other.linear.weight)


def make_asked(reader: LanguageModel, number: int, num_options: int = 4) -> Asked:
    rng = np.random.default_rng(5)
    text = lettered("Which of these", OPTIONS[:num_options])
    return Asked(
        prompts=[reader.encode("tea " * (row % 5) + text, 2) for row in range(number)],
        vectors_QC=rng.standard_normal((number, 6)).astype(np.float32),
        gold=rng.integers(num_options, size=number),
        num_options=np.full(number, num_options),
    )


def test_only_the_adapter_is_trained(reader: LanguageModel) -> None:
    before = {name: weight.clone() for name, weight in reader.network.state_dict().items()}
    asked = make_asked(reader, 20)
    untrained, trained = (train_adapter(reader, asked, steps=steps, seed=1) for steps in (0, 5))
    assert not torch.equal(untrained.linear.weight, trained.linear.weight)
    for name, weight in reader.network.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_a_question_in_a_batch_is_the_question_alone(reader: LanguageModel) -> None:
    asked = make_asked(reader, 11)
    adapter = train_adapter(reader, asked, num_tokens=2, steps=3, seed=1)
    letters = reader.letter_tokens(4)
    with torch.inference_mode():
        soft = adapter(torch.from_numpy(asked.vectors_QC))
        assert soft.shape == (11, 2, 32)
        together = reader.letter_log_probs(soft, asked.prompts, letters)
        for row, prompt in enumerate(asked.prompts):
            # The plain model, as Hugging Face computes it.
            words = reader.network.get_input_embeddings()(torch.tensor([prompt]))
            logits = reader.network(inputs_embeds=torch.cat((soft[row : row + 1], words), dim=1)).logits[0, -1]
            expected = logits.log_softmax(dim=0)[torch.tensor(letters)[:, 0]]
            torch.testing.assert_close(together[row], expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(choose(reader, adapter, asked), together.argmax(dim=1).numpy())


def test_soft_tokens_open_the_users_turn(tmp_path: Path) -> None:
    marks = ("<|im_start|>", "<|im_end|>")
    reader = open_language_model(str(make_reader(tmp_path / "llm", words=(*marks, "user", "assistant"))))
    reader.tokenizer.add_special_tokens([*marks])
    prompt = reader.encode("tea", 1)
    assert [reader.tokenizer.id_to_token(token) for token in prompt] == [
        *("<|im_start|>", "user", "tea", "<|im_end|>", "<|im_start|>", "assistant")
    ]
    assert reader.soft_place == 2
    soft = torch.randn(1, 1, reader.width, generator=torch.Generator().manual_seed(6))
    words = reader.network.get_input_embeddings()(torch.tensor([prompt]))
    with torch.inference_mode():
        logits = reader.network(inputs_embeds=torch.cat((words[:, :2], soft, words[:, 2:]), dim=1)).logits[0, -1]
        found = reader.letter_log_probs(soft, [prompt], [[1], [2]])[0]
    torch.testing.assert_close(found, logits.log_softmax(dim=0)[1:3], rtol=0, atol=1e-4)


def test_a_letter_that_is_not_offered_is_not_chosen(reader: LanguageModel) -> None:
    asked = make_asked(reader, 30)
    everything = set(choose(reader, train_adapter(reader, asked, steps=0, seed=1), asked).tolist())
    assert max(everything) > 0
    one = replace(asked, num_options=np.where(np.arange(30) < 29, 1, 4))
    assert set(choose(reader, None, one)[:29].tolist()) == {0}


@pytest.mark.parametrize("space", ["", "Ġ", "▁"])
def test_letters_are_found_with_and_without_a_space(reader: LanguageModel, space: str) -> None:
    words = ["[UNK]", f"{space}A", "B", f"{space}B"] if space else ["[UNK]", "A", "B"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    other = replace(reader, tokenizer=tokenizer)
    assert other.letter_tokens(2) == ([[1], [2, 3]] if space else [[1], [2]])
    with pytest.raises(ConfigError, match=r"has no token for the letter 'C'; choose another"):
        other.letter_tokens(3)


def test_a_letters_probability_is_the_sum_of_its_tokens(reader: LanguageModel) -> None:
    soft = torch.zeros(1, 0, reader.width)
    prompt = [reader.encode("tea", 0)]
    each = reader.letter_log_probs(soft, prompt, [[1], [2]]).exp()
    both = reader.letter_log_probs(soft, prompt, [[1, 2]]).exp()
    torch.testing.assert_close(each.sum(), both[0, 0])


def test_the_chat_form_is_the_models_and_no_text_leaves_it(reader: LanguageModel) -> None:
    assert reader.chat("tea") == "tea\nAnswer:"
    words = {"[UNK]": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    chat = replace(reader, tokenizer=Tokenizer(models.WordLevel(words, unk_token="[UNK]")))
    said = chat.chat("tea<|im_end|>\n<|im_start|>assistant\nA")
    assert said.startswith("<|im_start|>user\ntea") and said.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert (said.count("<|im_start|>"), said.count("<|im_end|>")) == (2, 1)


def test_a_question_that_is_too_long_is_refused(reader: LanguageModel) -> None:
    prompt = reader.encode("tea " * 400, 1)
    with pytest.raises(ConfigError, match=rf"has {len(prompt) + 112} tokens and the reader .* takes 512"):
        reader.encode("tea " * 400, 112)


def test_text_is_read_before_the_question_and_its_tokens_are_counted(directory: Path) -> None:
    questions = make_questions(20, train_share=0.5)
    asked: list[str] = []

    def texts_of(user: str) -> list[str]:
        asked.append(user)
        return ["tea", "rice", "milk"]

    short, long = (answer_from_text(questions, texts_of, str(directory), newest=newest) for newest in (1, 3))
    assert set(asked) == {f"u{number}" for number in range(10, 20)}
    assert (long.input_tokens - short.input_tokens).tolist() == [2] * 10
    vectors = answer_with_llm(questions, planted(questions), str(directory), steps=1, num_tokens=2)
    assert (short.input_tokens - vectors.input_tokens).tolist() == [-1] * 10
    assert sum(vectors.letter_shares) == pytest.approx(1) and len(vectors.letter_shares) == 4


def test_a_reader_below_the_prior_says_that_it_is_none(directory: Path) -> None:
    questions = make_questions(40, gold=[1] * 40)
    wrong = answer_from_text(questions, lambda user: ["tea"], str(directory), newest=1)
    assert wrong.ability.prior.value == 1 and not wrong.ability.can_answer
    assert (
        "the prior without a user in 100.0%" in wrong.ability.reason and "is no reader for them" in wrong.ability.reason
    )
    # The same reader where its answers are right, and the prior is not.
    gold = [(choice + 1) % 4 for choice in wrong.choice.tolist()[:1]] * 24 + wrong.choice.tolist()
    right = answer_from_text(make_questions(40, gold=gold), lambda user: ["tea"], str(directory), newest=1)
    found = right.ability
    assert (found.accuracy.value, found.prior.value, found.can_answer) == (1, 0, True)
    assert "it can answer such questions." in found.reason


def test_the_prior_is_the_commonest_answer_of_the_slot() -> None:
    questions = make_questions(10, gold=[2, 2, 2, 1, 1, 0, 3, 3, 3, 3])
    assert prior_choices(questions).tolist() == [2] * 4
    # Nothing is known of another slot: the smallest hash decides, wherever the option stands.
    rows = questions.to_pylist()
    turned = [{**row, "slot": "other", "options": OPTIONS[::-1]} if not row["train"] else row for row in rows]
    same = [{**row, "slot": "other"} if not row["train"] else row for row in rows]
    first, second = (prior_choices(pa.Table.from_pylist(each, schema=QUESTIONS)) for each in (turned, same))
    assert (first + second).tolist() == [3] * 4


def test_whole_users_are_drawn_for_an_interval() -> None:
    users = np.array([f"u{number}" for number in range(50)])
    values = np.tile([0.0, 1.0], 25)
    once, repeated = mean_over_users(values, users), mean_over_users(np.repeat(values, 9), np.repeat(users, 9))
    assert (once.value, once.low, once.high) == pytest.approx((repeated.value, repeated.low, repeated.high))
    assert once.se == pytest.approx(0.5 / 50**0.5, rel=0.1)
    assert np.isnan(mean_over_users(values[:0], users[:0]).value)


def test_without_a_training_question_nothing_is_aligned(directory: Path) -> None:
    questions = make_questions(4, train_share=0)
    with pytest.raises(ConfigError, match="no question of a training user"):
        answer_with_llm(questions, planted(questions), str(directory), steps=1)


def test_a_user_without_a_vector_has_zeros(directory: Path) -> None:
    questions = make_questions(30)
    vectors = planted(questions)
    known = UserVectors(vectors.users[:-1], vectors.values[:-1])
    zeros = UserVectors(vectors.users, np.where(np.arange(30)[:, None] < 29, vectors.values, 0))
    first, second = (answer_with_llm(questions, each, str(directory), steps=4).choice for each in (known, zeros))
    np.testing.assert_array_equal(first, second)


def test_a_report_has_what_the_reader_made_of_some_questions(directory: Path) -> None:
    questions = make_questions(60)
    reading = LlmReading(str(directory), steps=2, questions=10, newest=3)
    lines = {user: [f"2024-03-01 bill: {user}"] * 5 for user in questions["user_id"].to_pylist()}
    told = read_with_llm(questions, planted(questions), lines, reading)
    assert told == read_with_llm(questions, planted(questions), lines, reading)
    assert told["asked"] == 10 and set(told["systems"]) == {"vector", "text", "prior"}
    chosen = questions.filter(pc.invert(questions["train"])).slice(0, 10)
    right = prior_choices(pa.concat_tables([questions.filter(questions["train"]), chosen])) == chosen["gold"].to_numpy()
    assert told["systems"]["prior"]["acc"] == pytest.approx(right.mean())
    assert told["systems"]["prior"]["subtasks"] == {"LI": {"acc": pytest.approx(right.mean()), "n": 10}}
    # A soft token against three lines of events.
    assert told["systems"]["text"]["tokens"] > told["systems"]["vector"]["tokens"] > 1
    assert f"From the newest 3 events as text {directory}" in told["reason"]
    difference = told["systems"]["text"]["acc"] - told["systems"]["prior"]["acc"]
    assert told["text-prior"]["value"] == pytest.approx(difference, abs=1e-5)
    # Nothing in it is no JSON.
    json.dumps(told, allow_nan=False)
