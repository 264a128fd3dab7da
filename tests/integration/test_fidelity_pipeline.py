"""Questions from the state that the real pipeline makes: late, corrected and deleted events, erased users, any lake."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deployment import Deployment
from tests.factories import land_rows
from tests.fidelity_log import Event, random_log
from tests.fidelity_oracle import Oracle
from updater.errors import NotLandedError
from updater.fidelity.questions.files import read_questions, write_questions
from updater.fidelity.questions.make import make_questions
from updater.fidelity.schema import STATE_SUBTASKS
from updater.pipeline.daily.intake.land import land_day
from updater.pipeline.erase.run import erase
from updater.sources.synthetic import SyntheticSpec, land

ROOT = Path(__file__).parents[2]
FIRST, BUFFER_DAYS, HORIZON_DAYS = date(2024, 1, 1), 9, 2
DS = FIRST + timedelta(days=BUFFER_DAYS)
DAYS = [FIRST + timedelta(days=n) for n in range(BUFFER_DAYS + 1 + HORIZON_DAYS)]
MODALITIES: list[dict[str, Any]] = [
    {"name": "item", "text": "{kind} thing", "category": "kind"},
    {"name": "visit", "text": "{kind} thing"},
]


def with_accidents(log: Sequence[Event], seed: int) -> list[Event]:
    """Some events land late, and some land again on a later day: unchanged, corrected or deleted."""
    random, rows = Random(seed), []
    for e in log:
        first = replace(e, landed=e.landed + timedelta(days=random.choice([0] * 8 + [1, 3])))
        again = replace(first, landed=first.landed + timedelta(days=random.choice([1, 2, 4])))
        rows += [first]
        match random.randrange(12):
            case 0:
                rows.append(again)
            case 1:
                rows.append(replace(again, value=random.choice("ABCD"), time=e.time - timedelta(hours=1)))
            case 2:
                rows.append(replace(again, deleted=True))
    return [row for row in rows if row.landed <= DAYS[-1]]


def take_in(made: Deployment, rows: Sequence[Event], days: Sequence[date]) -> None:
    """Land days in the lake and in the state."""
    for ds in days:
        for modality in made.settings.modalities:
            of_day = [row.row() for row in rows if (row.modality, row.landed) == (modality.name, ds)]
            land_rows(made.lake, modality.name, ds, of_day, columns={"kind": pa.string(), "op": pa.string()})
            land_day(made.context, ds, modality)


def of_state(table: pa.Table) -> pa.Table:
    return table.filter(pc.is_in(table["subtask"], value_set=pa.array(STATE_SUBTASKS)))


@given(st.integers(0, 2**32))
@settings(max_examples=3)
def test_questions_are_those_of_what_was_known(seed: int) -> None:
    rows = with_accidents(random_log(seed, 12, DAYS, per_day=4), seed)
    with TemporaryDirectory() as directory:
        made = Deployment.create(Path(directory), modalities=MODALITIES, buffer={"days": BUFFER_DAYS, "num_buckets": 2})
        take_in(made, rows, DAYS[:-HORIZON_DAYS])
        before = make_questions(made.context, DS, horizon_days=HORIZON_DAYS)
        assert before.removed["waiting"] > 0
        assert of_state(before.table).equals(before.table)
        take_in(made, rows, DAYS[-HORIZON_DAYS:])
        after = make_questions(made.context, DS, horizon_days=HORIZON_DAYS)

    assert "waiting" not in after.removed
    assert of_state(after.table).equals(before.table)
    oracle = Oracle(rows, DS, BUFFER_DAYS, HORIZON_DAYS)
    questions = after.table.to_pylist()
    assert len(questions) > 100
    assert [oracle.answer(question) for question in questions] == after.table["gold"].to_pylist()


@pytest.fixture(scope="module")
def six_modalities(tmp_path_factory):
    """A made-up lake of six modalities after a window, and the days after it in the state."""
    modalities = tomllib.loads((ROOT / "configs" / "local.toml").read_text(encoding="utf-8"))["modalities"]
    root = tmp_path_factory.mktemp("six")
    made = Deployment.create(root, modalities=modalities, buffer={"days": 9, "num_buckets": 2})
    spec = SyntheticSpec(num_users=30, num_days=12, active_share=0.7, first_day=FIRST)
    land(made.lake, spec)
    made.run([DS])
    return made, spec


def test_a_made_up_lake_of_six_modalities_has_questions_of_its_four_streams(six_modalities) -> None:
    made, _ = six_modalities
    questions = make_questions(made.context, DS)
    assert set(questions.table["subtask"].to_pylist()) == set(STATE_SUBTASKS)
    assert set(questions.table["modality"].to_pylist()) == {"", "bill", "mini", "spm", "search"}
    assert questions.removed["waiting"] > 0
    some = make_questions(made.context, DS, users=10)
    assert len(set(some.table["user_id"].to_pylist())) <= 10


def test_an_erased_user_has_no_question_and_leaves_the_file(six_modalities) -> None:
    made, _ = six_modalities
    before = make_questions(made.context, DS)
    path = made.context.layout.fidelity_questions(DS)
    write_questions(before, path)
    user = before.table["user_id"][0].as_py()

    erase(made.context, [user])

    left = before.table.filter(pc.not_equal(before.table["user_id"], user))
    assert read_questions(path).table.equals(left)
    assert user not in make_questions(made.context, DS).table["user_id"].to_pylist()


def test_a_day_that_is_not_in_the_state_is_refused(six_modalities) -> None:
    made, _ = six_modalities
    with pytest.raises(NotLandedError, match="bill of 2024-01-11 is not in the state") as error:
        make_questions(made.context, DS + timedelta(days=1))
    assert error.value.modality == "bill"
