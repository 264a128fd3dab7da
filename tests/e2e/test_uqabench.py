"""`updater uqabench` on made files, with a small reader of random weights."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.small_models import make_reader
from tests.uqabench_files import write_uqabench
from updater.cli import main
from updater.fidelity.schema import SUBTASKS

SIZES = """
item_dim = 16
side_dim = 8
width = 32
heads = 2
layers = 1
pretrain_steps = 60
pretrain_learning_rate = 0.01
align_steps = 120
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("uqabench")
    write_uqabench(place / "datas")
    make_reader(place / "llm")
    (place / "sizes.toml").write_text(SIZES)
    return place


def call(place: Path, *more: str) -> Result:
    args = ["uqabench", str(place / "datas"), "--model", str(place / "llm"), "--config", str(place / "sizes.toml")]
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, [*args, *more])


def test_the_vector_is_read_and_the_report_says_beside_what(place: Path) -> None:
    done = call(place, "--output", str(place / "report.json"), "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert json.loads((place / "report.json").read_text()) == report
    scores = report["scores"]
    assert list(scores["subtasks"]) == [*SUBTASKS]
    assert [found["questions"] for found in scores["subtasks"].values()] == [9, 10, 10, 10, 10, 10, 10]
    assert scores["unknown_wording"] == 1
    vector, without, another = (scores["micro"][system]["value"] for system in ("vector", "no user", "another user"))
    assert vector > 0.8 and max(without, another) < 0.5
    assert scores["macro"]["vector"] == pytest.approx(vector, abs=0.05)
    assert report["tables"]["item"] == 20 and report["rows"]["align_data_eval"] == 70
    assert report["pretraining"]["recall_at_10"] > 0.9
    assert report["text_tokens"] is None
    assert sum(report["letter_shares"].values()) == pytest.approx(1)


def test_the_table_is_for_people_and_says_what_it_is_not(place: Path) -> None:
    few = place / "few.toml"
    few.write_text(SIZES.replace("steps = 60", "steps = 2").replace("steps = 120", "steps = 2"))
    done = call(place, "--config", str(few))
    assert done.exit_code == 0, done.output
    assert all(f"{subtask} " in done.stdout for subtask in (*SUBTASKS, "macro", "micro"))
    assert "not scored: 1\n" in done.stdout
    assert "no published number" in done.stdout
    assert "\u2026" not in done.stdout


def test_titles_are_read_by_a_model_of_their_vocabulary(place: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.toml"
    few.write_text("width = 8\npretrain_steps = 1\nalign_steps = 1\n")
    refused = call(place, "--config", str(few), "--newest", "2")
    assert refused.exit_code == 2
    assert "text tokens up to 20 and the reader" in refused.stderr and "knows 15" in refused.stderr
    make_reader(tmp_path / "llm", words=tuple(f"word{number}" for number in range(6)))
    args = ("--config", str(few), "--model", str(tmp_path / "llm"), "--json")
    found = {newest: json.loads(call(place, *args, "--newest", newest).stdout) for newest in ("0", "2")}
    assert "titles" not in found["0"]["scores"]["micro"] and found["0"]["ability"] is None
    report = found["2"]
    assert list(report["scores"]["subtasks"]["LI"]["accuracy"])[-1] == "titles"
    # Two titles of two tokens each, in the place of one soft token; the unknown word is written as three.
    assert report["input_tokens"] + 3 <= report["text_tokens"] < report["input_tokens"] + 4
    assert report["ability"]["reason"].startswith("From the newest 2 events as text")
    assert " of 69 questions, " in report["ability"]["reason"]


def test_a_missing_file_is_one_sentence(place: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["uqabench", str(tmp_path), "--model", str(place / "llm")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("updater: ") and "pretrain_data_train.arrow does not exist" in done.stderr


def test_a_table_that_is_too_small_is_refused(place: Path) -> None:
    sizes = place / "small.toml"
    sizes.write_text("item_rows = 5\n")
    done = call(place, "--config", str(sizes))
    assert done.exit_code == 2
    assert "item_rows is 5" in done.stderr and "ids up to 19" in done.stderr
