"""`updater model train`, `tune` and `init --model` one after the other, as a user runs them, and again."""

import json
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tests.deployment import tree
from tests.evaluation_lake import TASKS, TEST, write_evaluation
from tests.processes import fork_updater
from updater.cli import main
from updater.domain.buckets import is_held_out
from updater.model.checkpoint import load_model
from updater.settings import load_settings
from updater.training.build import data_root
from updater.training.tuning import prompt_tuning
from updater.training.useru.dataset import read_split

pytest.importorskip("accelerate")
pytest.importorskip("tensorboard")
pytestmark = [pytest.mark.slow, pytest.mark.campaign]

MODEL_FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
TRAINING: dict[str, Any] = {
    "until": "2024-03-10",
    "valid_from": "2024-03-07",
    "anchor_every_days": 2,
    "future_days": 3,
    "steps": 6,
    "users_per_step": 8,
    "layers_steps": 3,
    "layers_users_per_step": 8,
    "pairs_per_user": 4,
    "save_every": 2,
}
TUNING = {"steps": 3, "users_per_step": 8, "tokens": 2}
SCENARIOS = [
    {"name": "lapse", "domain": "risk", "query": "bill events in the next 3 days?"},
    {"name": "will_buy", "domain": "marketing", "query": "dairy bill events in the next 3 days?"},
]


class Scene:
    """A lake and a config; nothing has been run."""

    def __init__(self, root: Path, layout: str = "anchored", **training: Any) -> None:
        model = {"backbone": "tiny", "layout": layout}
        self.config = write_evaluation(
            root, model=model, training={**TRAINING, **training}, tuning=TUNING, scenarios=SCENARIOS
        )
        self.settings = load_settings(self.config, environ={})
        self.training = Path(self.settings.paths.state, "training")

    def call(self, *args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--config", str(self.config)])

    def json(self, *args: str) -> Any:
        done = self.call(*args, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield Scene(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The same lake, and a config of the paper's objective."""
    return Scene(tmp_path_factory.mktemp("papers"), layout="paper", objective="paper")


@pytest.fixture(scope="module")
def trained(scene: Scene) -> dict[str, Any]:
    report: dict[str, Any] = scene.json("model", "train")
    return report


@pytest.fixture(scope="module")
def tuned(scene: Scene, trained: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of labels so few that no prompt would be worth keeping; here it is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_tuning, "STANDARD_ERRORS", -math.inf)
        report: dict[str, Any] = scene.json("model", "tune", "--model", trained["model"])
        assert all(each["kept"] for each in report["scenarios"])
        yield report


def test_train(scene: Scene, trained: dict[str, Any]) -> None:
    assert {path.name for path in Path(trained["model"]).iterdir()} == MODEL_FILES
    steps = TRAINING["steps"] + TRAINING["layers_steps"]
    assert (trained["objective"], trained["steps"]) == ("dense", steps)
    assert trained["answers"] % trained["profiles"] == 0 and trained["profiles"] > 0
    assert trained["validation"]["loss"] > 0
    [run] = (scene.training / "runs").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert lines[-1]["answers"] == pytest.approx(trained["losses"]["answers"], abs=1e-6)
    assert not list(run.glob("*/*.safetensors")) and not (scene.training / "useru").exists()
    # The numbers of events are standardized by what training saw.
    [bill] = load_model(trained["model"]).config.modalities
    assert bill.numeric_mean != (0.0,)


def test_the_papers_objective(papers: Scene) -> None:
    trained = papers.json("train")
    rows = read_split(data_root(papers.settings), "train")
    assert set(rows["anchor_day"].to_pylist()) == {date(2024, 3, 1), date(2024, 3, 3)}
    users = set(zip(rows["anchor_day"].to_pylist(), rows["user_id"].to_pylist(), strict=True))
    seen = {(anchor, user) for anchor, user in users if not is_held_out(user)}
    assert 0 < len(seen) < len(users)
    assert (trained["profiles"], trained["steps"]) == (len(seen), TRAINING["steps"])
    assert trained["answers"] == sum(not is_held_out(user) for user in rows["user_id"].to_pylist())
    assert 0 <= trained["validation"]["top_answer"] <= 1
    [run] = (papers.training / "runs").iterdir()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["contrastive"] == pytest.approx(trained["losses"]["contrastive"], abs=1e-6)
    assert "find their own answer first" in papers.call("train").stdout


def test_an_objective_trains_its_own_layout(tmp_path: Path) -> None:
    done = Scene(tmp_path, objective="paper").call("train")
    assert done.exit_code == 2 and "trains model.layout = 'paper'" in done.stderr


def test_train_again_finds_it_done(scene: Scene, trained: dict[str, Any]) -> None:
    before = tree(scene.training)
    assert scene.json("model", "train") == trained
    assert tree(scene.training) == before
    said = scene.call("model", "train").stdout
    assert trained["model"] in said and "whose weights were kept" in said


def test_only_the_data(scene: Scene, papers: Scene, trained: dict[str, Any]) -> None:
    before = tree(scene.training)
    assert scene.json("model", "train", "--build-data") == []
    built = papers.json("model", "train", "--build-data")
    assert [(day["anchor"], day["split"]) for day in built] == [
        ("2024-03-01", "train"),
        ("2024-03-03", "train"),
        ("2024-03-07", "valid"),
    ]
    assert tree(scene.training) == before


def test_tune(scene: Scene, trained: dict[str, Any], tuned: dict[str, Any]) -> None:
    assert [each["scenario"] for each in tuned["scenarios"]] == ["lapse", "will_buy"]
    # Of the family, the category that is kept unseen is no task of tuning.
    assert [each["tasks"] for each in tuned["scenarios"]] == [1, 2]
    assert tuned["model"].startswith(f"{trained['model']}-tuned-")
    model, base = load_model(tuned["model"]), load_model(trained["model"])
    assert (
        sorted(model.soft_prompts) == sorted(model.question_shifts) == sorted(model.prototypes) == ["lapse", "will_buy"]
    )
    assert {tuple(prompt.shape) for prompt in model.soft_prompts.values()} == {(TUNING["tokens"], 128)}
    assert not base.soft_prompts
    for name, value in base.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    before = tree(scene.training)
    assert scene.json("model", "tune", "--model", trained["model"]) == tuned
    assert (
        scene.json("model", "tune", "--model", trained["model"], "--scenario", "lapse")["scenarios"]
        == tuned["scenarios"][:1]
    )
    assert tree(scene.training) == before


def test_a_task_trains_its_own_prompt_and_a_shared_one(
    scene: Scene,
    trained: dict[str, Any],
    tuned: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = tmp_path / "tasks.toml"
    own = TASKS.replace('scenario = "will_buy"', 'scenario = "will_buy_{value}"\nunseen_scenario = "will_buy"')
    tasks.write_text(own)
    monkeypatch.setenv("UPDATER_EVALUATION__TASKS", str(tasks))
    family = ("will_buy", "will_buy_dairy", "will_buy_rice")
    wanted = [part for name in family for part in ("--scenario", name)]
    made = scene.json("model", "tune", "--model", trained["model"], *wanted)
    # A model with prompts of other labels stays what it was.
    assert made["model"] != tuned["model"] and load_model(tuned["model"]).soft_prompts.keys() == {"lapse", "will_buy"}
    shared, *each = made["scenarios"]
    assert (shared["tasks"], [one["tasks"] for one in each]) == (2, [1, 1])
    # No answer is learned from twice.
    assert shared["labels"] == sum(one["labels"] for one in each) > 0


def test_a_state_begins_with_the_tuned_model(scene: Scene, tuned: dict[str, Any]) -> None:
    made = scene.json("init", "--model", tuned["model"])
    assert made["trained"] and "untrained" not in made["model"]
    assert scene.json("init")["model"] == made["model"]
    scene.json("run", "--ds", str(TEST[0]))
    [answer, plain] = (
        scene.json("user", "embed", "--user-id", "u1", *question)
        for question in (("--scenario", "lapse"), ("--query", SCENARIOS[0]["query"]))
    )
    vectors = [np.array(found["embedding"]) for found in (answer, plain)]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)
    # What training learned of answers was not learned behind a soft prompt.
    assert answer["answer"] is None and isinstance(plain["answer"], float)


def test_two_processes_make_the_same_model(scene: Scene, trained: dict[str, Any], tmp_path: Path) -> None:
    together = Scene(tmp_path, processes=2)
    # Accelerate keeps what it found first for as long as a process lives, and this one has trained alone.
    done = fork_updater("model", "train", "--json", "--config", str(together.config))
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"] != trained["model"]
    assert report["losses"]["answers"] == pytest.approx(trained["losses"]["answers"], abs=1e-3)
    [run] = (together.training / "runs").iterdir()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == trained["steps"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("model", "tune", "--model", "nowhere"), 2, "nowhere"),
        (("model", "tune", "--model", "MODEL", "--scenario", "wine"), 10, "lapse, will_buy"),
    ],
)
def test_a_wrong_argument(scene: Scene, trained: dict[str, Any], args: tuple[str, ...], code: int, said: str) -> None:
    done = scene.call(*(trained["model"] if arg == "MODEL" else arg for arg in args))
    assert done.exit_code == code
    assert said in done.stderr


def test_without_a_lake_nothing_is_trained(tmp_path: Path) -> None:
    empty = Scene(tmp_path)
    for path in sorted(Path(empty.settings.paths.lake).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    done = empty.call("model", "train")
    assert done.exit_code == 3 and "no landed day" in done.stderr
