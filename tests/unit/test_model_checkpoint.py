"""Models on disk and their config."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from safetensors.torch import load_file, save_file

from tests.model_factories import QUERIES, make_batch, make_config, make_model, make_tokenizer, with_answers
from tests.small_models import WORDS, make_text_encoder
from updater.errors import ConfigError
from updater.model.batch import UserBatch
from updater.model.checkpoint import create_model, load_model, model_digest, save_model, without_layers
from updater.model.config import FORMAT, ModelConfig, create_config
from updater.model.inference import InferenceModel
from updater.model.layers.own_answers import OwnAnswers
from updater.model.loading import load_encoder
from updater.model.text_encoder import text_encoder_version
from updater.model.user_model import UserModel

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def config(tmp_path: Path) -> ModelConfig:
    """A config whose text encoder is a small directory."""
    make_text_encoder(tmp_path / "encoder")
    config = make_config(text_encoder=str(tmp_path / "encoder"))
    return dataclasses.replace(config, backbone_config={**config.backbone_config, "vocab_size": len(WORDS)})


def test_saved_model_gives_the_same_bits(tmp_path: Path) -> None:
    model = make_model()
    model.soft_prompts["lapse"] = torch.nn.Parameter(torch.randn(6, 32))
    width = model.layout.counts.question_keys.linear.out_features
    model.question_shifts["lapse"] = torch.nn.Parameter(torch.randn(width))
    batch = make_batch(model.config)
    save_model(model, tmp_path / "v1")
    loaded = load_model(tmp_path / "v1")
    assert sorted(path.name for path in (tmp_path / "v1").iterdir()) == ["README.md", *FILES]
    assert loaded.config == model.config
    assert not loaded.training
    for arguments in ((batch, QUERIES), (batch, QUERIES, ["lapse"])):
        np.testing.assert_array_equal(loaded.embed(*arguments), model.embed(*arguments))


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied(tmp_path: Path, config: ModelConfig, tied: bool) -> None:
    config = dataclasses.replace(config, backbone_config={**config.backbone_config, "tie_word_embeddings": tied})
    save_model(create_model(config), tmp_path / "v1")
    assert ("backbone.lm_head.weight" in load_file(tmp_path / "v1" / "model.safetensors")) != tied
    backbone = load_model(tmp_path / "v1").backbone
    same = backbone.lm_head.weight.data_ptr() == backbone.model.embed_tokens.weight.data_ptr()
    assert same == tied


def test_equal_seeds_give_equal_bytes(tmp_path: Path, config: ModelConfig) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(list(tmp_path.iterdir())))
        state = torch.random.get_rng_state()
        save_model(create_model(config, seed), tmp_path / name)
        assert torch.equal(torch.random.get_rng_state(), state)
    assert model_digest(tmp_path / "a") == model_digest(tmp_path / "b") != model_digest(tmp_path / "c")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_seed_of_the_config_is_the_default(config: ModelConfig) -> None:
    config = dataclasses.replace(config, seed=5)
    first, second = create_model(config).state_dict(), create_model(config, 5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_tiny_backbone_begins_with_the_words_of_the_encoder(config: ModelConfig) -> None:
    encoder = load_encoder(Path(config.text_encoder)).get_input_embeddings().weight.detach()
    first, other = (create_model(config, seed).backbone for seed in (1, 2))
    words = first.get_input_embeddings().weight.detach()
    assert words.std().item() == pytest.approx(first.config.initializer_range, rel=1e-4)
    # 16 components are all of a vector of 16: distances are those of the encoder, but for one common factor.
    assert not words[:, 16:].any()
    own, theirs = torch.pdist(words), torch.pdist(encoder)
    torch.testing.assert_close(own / own.mean(), theirs / theirs.mean(), rtol=1e-4, atol=1e-5)
    # Seeds decide on the layers, not on the words.
    assert torch.equal(words, other.get_input_embeddings().weight)
    assert not torch.equal(first.model.layers[0].mlp.up_proj.weight, other.model.layers[0].mlp.up_proj.weight)


def test_pretrained_backbone_brings_weights_and_tokenizer(tmp_path: Path) -> None:
    source = make_model("llama")
    source.backbone.save_pretrained(tmp_path / "llm")
    make_tokenizer().save(str(tmp_path / "llm" / "tokenizer.json"))
    config = dataclasses.replace(source.config, backbone=str(tmp_path / "llm"))
    model = create_model(config)
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    save_model(model, tmp_path / "v1")
    batch = make_batch(config)
    loaded = load_model(tmp_path / "v1")
    np.testing.assert_array_equal(loaded.embed(batch, QUERIES), model.embed(batch, QUERIES))


def test_files_are_for_whom_the_umask_lets_read(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path / "v1")
    (tmp_path / "usual").touch()
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "v1").iterdir()}
    assert modes == dict.fromkeys(["README.md", *FILES], (tmp_path / "usual").stat().st_mode)


@pytest.mark.parametrize("file", FILES)
def test_missing_file_is_named(tmp_path: Path, file: str) -> None:
    save_model(make_model(), tmp_path)
    (tmp_path / file).unlink()
    for read in (load_model, model_digest):
        with pytest.raises(ConfigError, match=file):
            read(tmp_path)


@pytest.mark.parametrize(("found", "release"), [(None, "an earlier"), (FORMAT + 1, "another")])
def test_another_format_is_refused_with_the_way_to_a_new_model(tmp_path: Path, found: int | None, release: str) -> None:
    save_model(make_model(), tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw.pop("format") == FORMAT
    (tmp_path / "config.json").write_text(json.dumps(raw if found is None else {**raw, "format": found}))
    with pytest.raises(
        ConfigError, match=rf"{release} release.*`updater model train`.*`updater model promote --model DIR`"
    ) as error:
        load_model(tmp_path)
    assert error.value.exit_code == 2


def test_digest_follows_every_file(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    digests = {model_digest(tmp_path)}
    for file in FILES:
        with (tmp_path / file).open("ab") as out:
            out.write(b" ")
        digests.add(model_digest(tmp_path))
    assert len(digests) == 4


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({**state, "user_emb_D": torch.zeros(7)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="user_emb_D"):
        load_model(tmp_path)
    state.pop("user_emb_D")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="user_emb_D"):
        load_model(tmp_path)


def test_what_an_earlier_version_tuned_is_refused_with_the_way_out(tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({**state, "count_gates.lapse": torch.ones(24)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"scenario 'lapse' has count_gates.* `updater model tune`"):
        load_model(tmp_path)


def test_config_round_trip() -> None:
    config = make_config("llama3-rope")
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("where", [(), ("modalities", 0)])
def test_unknown_config_key_is_refused(where: tuple[Any, ...]) -> None:
    raw = json.loads(make_config().to_json())
    target = raw
    for key in where:
        target = target[key]
    target["surprise"] = 1
    with pytest.raises(ConfigError, match="'surprise' is unknown"):
        ModelConfig.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 3, "modalities": 3}', '{"format": 3}'])
def test_malformed_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="model config"):
        ModelConfig.from_json(text)


def test_config_of_settings(make_settings: Any) -> None:
    settings = make_settings()
    config = create_config(settings)
    assert (config.text_dim, config.embedding_dim, config.seed) == (384, 16, 7)
    assert config.text_encoder_version == text_encoder_version("minilm")
    assert [(m.name, m.num_numeric, m.max_events) for m in config.modalities] == [
        (m.name, len(m.numeric), m.max_events) for m in settings.modalities
    ]
    assert config.backbone_config["vocab_size"] == 30522
    assert ModelConfig.from_json(config.to_json()) == config
    model = create_model(config)
    batch: UserBatch = make_batch(config)
    assert model.embed(batch, [s.query for s in settings.scenarios]).shape == (5, len(settings.scenarios), 16)


def test_backbone_of_settings_may_be_a_directory(make_settings: Any, tmp_path: Path) -> None:
    make_model("llama").backbone.save_pretrained(tmp_path / "llm")
    config = create_config(make_settings(model={"backbone": str(tmp_path / "llm")}))
    assert config.backbone_config["model_type"] == "llama"
    with pytest.raises(ConfigError, match=r"tokenizer\.json"):
        create_model(config)


def test_a_model_saves_and_loads_itself_with_a_card(tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path / "one")
    again = UserModel.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    head, _, text = (tmp_path / "one" / "README.md").read_text().removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(head)["library_name"] == "updater"
    assert f"{model.config.embedding_dim} float32" in text
    assert all(f"| {modality.name} |" in text for modality in model.config.modalities)


def test_a_model_without_its_layers_gives_what_training_without_them_gives() -> None:
    model = make_model()
    batch = make_batch(model.config, seed=3, num_users=5)
    model.fit([batch], QUERIES)
    expected = torch.nn.functional.normalize(model.train_forward(batch, QUERIES, layers=False), dim=-1)
    np.testing.assert_allclose(without_layers(model).embed(batch, QUERIES), expected.detach(), atol=1e-5)
    assert np.abs(model.embed(batch, QUERIES) - expected.detach().numpy()).max() > 1e-3


def test_what_training_learned_of_answers_is_kept_if_there_is_any(tmp_path: Path, config: ModelConfig) -> None:
    model = create_model(config)
    save_model(model, tmp_path / "without")
    model.answers = torch.nn.Linear(config.text_dim, config.embedding_dim)
    # A model that was trained before the map to an embedding's own answers was kept has the other one alone.
    save_model(model, tmp_path / "others")
    model.own_answers = OwnAnswers(config.text_dim, config.embedding_dim, num_answers=5)
    save_model(model, tmp_path / "with")

    without, others = load_model(tmp_path / "without"), load_model(tmp_path / "others")
    assert without.answers is None and without.own_answers is None
    assert others.answers is not None and others.own_answers is None
    for kept in (load_model(tmp_path / "with"), without_layers(load_model(tmp_path / "with"))):
        assert kept.answers is not None and torch.equal(kept.answers.weight, model.answers.weight)
        assert kept.own_answers is not None
        for name, value in model.own_answers.state_dict().items():
            assert torch.equal(kept.own_answers.state_dict()[name], value)
    assert len({model_digest(tmp_path / name) for name in ("without", "others", "with")}) == 3
    for name in ("without", "others", "with"):
        save_model(load_model(tmp_path / name), tmp_path / "again")
        assert model_digest(tmp_path / "again") == model_digest(tmp_path / name)


def test_a_model_answers_by_what_training_reads_and_embeds_as_before() -> None:
    model = make_model()
    batch = make_batch(model.config, seed=3, num_users=5)
    model.fit([batch], QUERIES)
    before = model.embed(batch, QUERIES)
    with pytest.raises(ValueError, match="objective dense"):
        InferenceModel(model).answers(batch, QUERIES)
    embeddings, answers = InferenceModel(with_answers(model)).embed_and_answer(batch, QUERIES)
    expected = model.own_answers(model.train_forward(batch, QUERIES), model.question_vectors(QUERIES))
    assert answers.shape == (5, len(QUERIES), 5)
    np.testing.assert_allclose(answers, expected.detach(), atol=1e-4)
    assert InferenceModel(model).answers(batch, QUERIES).tobytes() == answers.tobytes()
    assert model.embed(batch, QUERIES).tobytes() == embeddings.tobytes() == before.tobytes()
