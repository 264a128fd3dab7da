"""What users do next: asked on a day, scored when the horizon has passed, on a deployment that ran real windows."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.deployment import NOW
from tests.fidelity_lake import DAYS, FIRST, write_lake
from updater.fidelity import actions, scoring
from updater.fidelity.actions import due_days, score_actions
from updater.fidelity.questions.files import read_questions
from updater.fidelity.questions.make import HORIZON_DAYS, make_questions
from updater.fidelity.run import measure_fidelity
from updater.fidelity.schema import ACTION_SUBTASKS, WAITING
from updater.pipeline.daily.window import run_window
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import Settings, load_settings

pytest.importorskip("jinja2")

GONE = "u003"


def context_of(settings: Settings) -> WritableContext:
    return open_writable(settings, NOW)


def next_values(settings: Settings, modality: str, column: str) -> dict[str, set[str]]:
    """By user the values of the first moment after the day, from the lake itself."""
    days = [FIRST + timedelta(days=n) for n in range(1, HORIZON_DAYS + 1)]
    rows: list[dict] = []
    for ds in days:
        for file in Path(settings.paths.lake, modality, f"ds={ds}").glob("*.parquet"):
            rows += pq.read_table(file).to_pylist()
    first: dict[str, set[str]] = {}
    when = {}
    for row in sorted(rows, key=lambda row: row["event_time"]):
        if when.setdefault(row["user_id"], row["event_time"]) == row["event_time"]:
            first.setdefault(row["user_id"], set()).add(row[column])
    return first


def test_what_users_do_next_is_asked_at_once_and_scored_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "FEWEST_QUESTIONS", 5)
    settings = load_settings(write_lake(tmp_path, future_days=1 + HORIZON_DAYS - DAYS), environ={})
    initialize(settings)
    context = context_of(settings)
    waiting = Path(context.layout.fidelity_waiting(FIRST))
    with ProcessPool(settings, NOW) as pool:
        run_window(context, pool, FIRST)
        measured = measure_fidelity(context, pool, users=None, readers=())
        assert measured.report["questions"]["removed"]["waiting"] > 0
        asked = pq.read_table(waiting)
        assert asked.schema.equals(WAITING)
        assert set(asked["subtask"].to_pylist()) == set(ACTION_SUBTASKS)
        assert GONE in asked["user_id"].to_pylist()
        assert measured.report["questions"]["removed"]["waiting"] == asked.num_rows

        # An erasure reaches what waits.
        erase(context, [GONE])
        assert GONE not in pq.read_table(waiting)["user_id"].to_pylist()
        for n in range(1, HORIZON_DAYS + 1):
            assert due_days(context_of(settings)) == []
            run_window(context_of(settings), pool, FIRST + timedelta(days=n))

    context = context_of(settings)
    assert due_days(context) == [FIRST]
    # Killed before its report is written it is due still.
    with monkeypatch.context() as broken:
        broken.setattr(actions, "write_report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            score_actions(context, FIRST, readers=())
    assert due_days(context) == [FIRST]
    found = score_actions(context, FIRST, readers=())
    assert due_days(context) == [] and not waiting.exists()

    assert found is not None and found.wrong == []
    assert found.report_file == f"{context.layout.fidelity_actions(FIRST)}/report.json"
    assert "AP" in found.report["subtasks"] and set(found.report["subtasks"]) <= set(ACTION_SUBTASKS)
    assert found.report["subtasks"]["AP"]["published"]["n"] > 5
    assert (found.report["parity"], found.report["as_of"]) == (None, measured.report["as_of"])
    assert Path(found.report_file).with_suffix(".html").exists()

    # The questions are those that one would ask now about that day, and their answers are what the lake has.
    table = read_questions(context.layout.fidelity_action_questions(FIRST)).table
    now = make_questions(context, FIRST).table
    assert table.equals(now.filter(pc.is_in(now["subtask"], value_set=pa.array(ACTION_SUBTASKS))))
    checked = 0
    for modality, column in (("bill", "category"), ("visit", "page")):
        came = next_values(settings, modality, column)
        for row in table.to_pylist():
            if (row["subtask"], row["modality"]) == ("AP", modality):
                assert row["options"][row["gold"]] in came[row["user_id"]]
                assert not came[row["user_id"]] & {*row["options"][: row["gold"]], *row["options"][row["gold"] + 1 :]}
                checked += 1
    assert checked > 20 and GONE not in table["user_id"].to_pylist()
