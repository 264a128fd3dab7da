"""The campaign can fail: whatever is lost, doubled or changed in a state is counted, and named with its seed."""

import gc
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.chaos import campaign
from tests.chaos.__main__ import main
from tests.chaos.comparison import Differences, compare
from tests.chaos.plans import make_plan
from tests.chaos.script import make_script
from tests.chaos.state import Items, items
from tests.deployment import Deployment
from tests.strategies import TOUR
from updater.ledger import open_writer


def test_each_wrong_value_is_counted_once() -> None:
    expected: Items = {"a": ["1"], "b": ["1"], "c": ["1", "2"], "d": ["1"], "file x": ["1"]}
    found: Items = {"a": ["1"], "b": ["2"], "c": ["1", "1"], "d": ["1", "1"], "e": ["1"]}
    differences = compare(expected, found)
    assert differences == Differences(lost=["file x"], doubled=["d", "e"], differing=["b", "c"])
    assert not compare(expected, expected)
    assert not compare(expected, {**expected, "file x": ["2"], "file y": ["1"]}, ("file ",))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Some days of the tour."""
    made = Deployment.create(tmp_path_factory.mktemp("chaos"), buffer={"num_buckets": 2}, profile={"enabled": True})
    TOUR.land(made.lake)
    made.run(TOUR.windows[:3])
    return made


@pytest.fixture
def intact(made: Deployment) -> Iterator[Items]:
    """What there was before a test, and is there again after it."""
    saved = made.state.parent / "saved"
    shutil.copytree(made.state, saved)
    yield items(made.settings)
    gc.collect()  # a connection that is closed later would remove the write-ahead log of the database put back
    shutil.rmtree(made.state)
    saved.rename(made.state)


def lose_a_row(made: Deployment) -> None:
    path = sorted((made.state / "offline").rglob("*.parquet"))[0]
    pq.write_table(pq.read_table(path).slice(1), path)


def write_a_row_twice(made: Deployment) -> None:
    path = sorted((made.state / "summaries").rglob("*.parquet"))[0]
    shutil.copy(path, path.with_name(path.name.replace(".parquet", "-g1.parquet")))


def change_an_online_value(made: Deployment) -> None:
    with sqlite3.connect(made.settings.online_store.options["path"]) as connection:
        connection.execute("update updater_lapse_v1 set value = x'00' where rowid = 1")


def forget_a_text(made: Deployment) -> None:
    sorted((made.state / "texts").rglob("*.arrow"))[0].unlink()


def leave_a_staged_file(made: Deployment) -> None:
    Path(made.state, "staged").mkdir(exist_ok=True)
    Path(made.state, "staged", "rows").touch()


def begin_an_erasure(made: Deployment) -> None:
    open_writer(made.settings.ledger.url).record_erasures(["ann"], made.now)


@pytest.mark.parametrize(
    ("doctor", "kind", "name"),
    [
        (lose_a_row, "lost", "lapse_v1 "),
        (write_a_row_twice, "doubled", "summaries "),
        (change_an_online_value, "differing", "online updater_lapse_v1 "),
        (forget_a_text, "lost", "text "),
        (leave_a_staged_file, "doubled", "left over staged"),
        (begin_an_erasure, "differing", "erased"),
    ],
)
def test_a_doctored_state_is_noticed(
    made: Deployment, intact: Items, doctor: Callable[[Deployment], None], kind: str, name: str
) -> None:
    assert not compare(intact, items(made.settings))
    doctor(made)
    found = getattr(compare(intact, items(made.settings)), kind)
    assert [item for item in found if item.startswith(name)], found


def test_the_campaign_fails_and_names_the_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_cases(place: object, seeds: list[int]) -> Iterator[campaign.Case]:
        for seed in seeds:
            differences = Differences(lost=["row"], differing=["cell"]) if seed == 300_001 else Differences()
            yield campaign.Case(seed, "kill", num_faults=2, num_fired=1, differences=differences)

    monkeypatch.setattr(campaign, "run_cases", run_cases)
    assert main(["--seed", "3", "--cases", "8"]) == 1
    out = capsys.readouterr().out
    assert "case 300001 FAILED: kill; run it again with --only 300001\n" in out
    assert out.endswith("2 histories, 16 faults, 8 fired, 1 lost, 0 doubled, 1 differing\n")
    assert main(["--only", "300000"]) == 0
    assert capsys.readouterr().out.endswith("1 histories, 2 faults, 1 fired, 0 lost, 0 doubled, 0 differing\n")


def test_a_case_is_made_of_its_seed() -> None:
    script = make_script(7)
    traces = [{"before:partition": 2, "after:head": 2}] * len(script.steps)
    assert make_script(7) == script != make_script(8)
    assert make_plan(28, script, traces) == make_plan(28, script, traces)
    assert len({make_plan(seed, script, traces) for seed in range(28, 48)}) > 10
