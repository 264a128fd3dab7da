"""Questions about users: a log worked by hand, and what holds for every set of them."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.factories import utc
from tests.fidelity_log import Event, event, history_of, random_log, table_of, upcoming_of
from tests.fidelity_oracle import Oracle
from updater.errors import DataRefusedError
from updater.fidelity.hashing import is_train
from updater.fidelity.log.events import make_stream
from updater.fidelity.questions.files import read_questions, write_questions
from updater.fidelity.questions.generate import digest, generate
from updater.fidelity.questions.make import Questions, refuse_leaks
from updater.fidelity.questions.wording import parts
from updater.fidelity.schema import QUESTIONS, STATE_SUBTASKS, SUBTASKS
from updater.lake.partitions import write_table

ROOT = Path(__file__).parents[2]
DS = date(2024, 1, 30)
LETTERS = "ABCDEFGH"
USERS = ("ann", "ben", "cem", "dora", "eva", "finn", "gül", "hans")
CATEGORIES = {"item": "kind", "visit": ""}
# Three thirds of thirty days; D and E at the same moment; the next event is the last one.
ITEMS = {
    "02": "A", "03": "A", "04": "B", "05": "A",
    "12": "B", "13": "B", "14": "C", "15": "B",
    "22": "C", "23": "C", "24": "A", "26": "C", "27": "D", "28": "D", "29": "C", "30": "DE",
    "31": "B",
}  # fmt: skip
WORKED_BY_HAND = {
    # Ann's events end with 26 C, 27 D, 28 D, 29 C and, at one moment of the 30th, D and E, which count as one event.
    "DF:item.kind:last2": "C",
    "DF:item.kind:last3": "D",
    "DF:item.kind:last5": "C",
    "DF:modality:last1": "visit",
    # A and B four times, C five times, D three times, E once; F never.
    "MF:item.kind=C:30d": "4 to 7",
    "MF:item.kind=C:7d": "2 to 3",
    "MF:item.kind=F:30d": "0",
    "MF:visit:30d": "4 to 7",
    "MF:modality:30d": "item",
    "LI:item.kind:30d": "C",
    "LI:item.kind:30d:top3": "A; B; C",
    # From the 24th on: A, C twice, D three times, E. The last ten begin with the B of the 15th and have four C.
    "SI:item.kind:7d:differs": "D",
    "SI:item.kind:last10": "C",
    "IT:item.kind:30d": "A -> B -> C",
    "AP:item.kind:7d": "B",
    "IP:item.text:7d": "B thing",
}


def golden_log() -> list[Event]:
    """Eight users who do the same with other values, and visit more often the later their name comes."""
    events = []
    for shift, user in enumerate(USERS):
        for day, values in ITEMS.items():
            for n, value in enumerate(values):
                letter = LETTERS[(LETTERS.index(value) + shift) % 8]
                events.append(event(user, "item", 100 * n + int(day), f"2024-01-{day} 10:00:00", letter))
        for number in range(6 + 4 * shift):
            hour = 12 if shift % 2 == 0 else 9
            events.append(event(user, "visit", number, f"2024-01-{30 - number % 30:02} {hour:02}:{number // 30:02}:00"))
    return events


def made(log, ds=DS, buffer_days=30, horizon_days=7, per_user=1000):
    history = history_of(log, ds, buffer_days, CATEGORIES)
    upcoming = upcoming_of(log, history)
    table, removed = generate(history, upcoming, horizon_days, per_user)
    return Questions(table, removed, digest(table, history.as_of), history.as_of)


@pytest.fixture(scope="module")
def large():
    days = [DS - timedelta(days=back) for back in range(29, -1, -1)]
    after = [DS + timedelta(days=ahead) for ahead in range(1, 8)]
    log = random_log(3, 200, [*days, *after], values="ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return log, made(log)


def test_a_log_worked_by_hand() -> None:
    questions = made(golden_log())
    of_ann = {row["slot"]: row for row in questions.table.to_pylist() if row["user_id"] == "ann"}
    assert {slot: of_ann[slot]["options"][of_ann[slot]["gold"]] for slot in WORKED_BY_HAND} == WORKED_BY_HAND
    assert of_ann["DF:item.kind:last1"]["options"][of_ann["DF:item.kind:last1"]["gold"]] in "DE"
    assert {row["subtask"] for row in of_ann.values()} == set(SUBTASKS)


def test_wrong_options_follow_the_policy_of_their_sub_task() -> None:
    of_ann = {row["slot"]: row for row in made(golden_log()).table.to_pylist() if row["user_id"] == "ann"}
    options = {slot: set(row["options"]) for slot, row in of_ann.items()}
    # Ann has had A to E. What lies ahead is offered among what is new to her.
    assert options["AP:item.kind:7d"] == {"B", "F", "G", "H"}
    assert options["IP:item.text:7d"] == {"B thing", "F thing", "G thing", "H thing"}
    assert options["LI:item.kind:30d"] < set("ABCDE")
    assert options["SI:item.kind:7d:differs"] < set("ABCDE")
    assert "C" in options["SI:item.kind:7d:differs"]  # the long-term answer tempts whoever ignores the time
    assert len(options["DF:item.kind:last3"] & set("ABCE")) == 2
    # Of the two values at the last moment one is right, and the other is no option.
    assert len(options["DF:item.kind:last1"] & set("DE")) == 1
    assert all(len(set(parts(option))) > 1 for option in options["IT:item.kind:30d"])
    assert all(len(set(parts(option)) & set("ABC")) >= 2 for option in options["LI:item.kind:30d:top3"])


def test_evidence_is_what_the_answer_rests_on_and_says_if_it_came_with_the_last_day() -> None:
    of_ann = {row["slot"]: row for row in made(golden_log()).table.to_pylist() if row["user_id"] == "ann"}
    evidence = {slot: (row["evidence"], row["touches_delta"]) for slot, row in of_ann.items()}
    assert evidence["DF:item.kind:last2"] == (["ann29"], False)
    assert evidence["MF:item.kind=C:7d"] == (["ann26", "ann29"], False)
    assert evidence["MF:item.kind=F:30d"] == ([], False)
    assert evidence["LI:item.kind:30d"] == (["ann14", "ann22", "ann23", "ann26", "ann29"], False)
    assert evidence["SI:item.kind:7d:differs"] == (["ann27", "ann28", "ann30"], True)
    assert evidence["IT:item.kind:30d"] == (["ann3", "ann5", "ann13", "ann15", "ann26", "ann29"], False)
    assert evidence["DF:modality:last1"] == (["visit/ann0"], True)
    assert evidence["AP:item.kind:7d"] == (["ann31"], False)
    assert len(evidence["MF:modality:30d"][0]) == 8


def test_a_question_is_said_in_plain_words() -> None:
    texts = {row["slot"]: row["text"] for row in made(golden_log()).table.to_pylist()}
    assert texts["DF:item.kind:last1"].startswith("Which kind did this user's most recent item event have?")
    assert texts["MF:item.kind=C:7d"] == "How many item events with kind C did this user have in the last 7 days?"
    assert texts["AP:item.kind:7d"] == "Which kind will this user's next item event have, within the next 7 days?"
    assert texts["SI:item.kind:7d:differs"] == (
        "Which kind did this user's item events have most often in the last 7 days?"
    )


def test_what_happens_or_lands_later_changes_no_byte_of_a_question_about_the_state() -> None:
    def of_state(log):
        table = made(log).table
        return table.filter(pa.compute.is_in(table["subtask"], value_set=pa.array(STATE_SUBTASKS)))

    log = golden_log()
    later = [
        *(replace(e, value="H") if e.landed > DS else e for e in log),
        event("ann", "item", 900, "2024-01-31 00:00:00", "H"),
        replace(event("ben", "item", 901, "2024-01-29 10:00:00", "H"), landed=DS + timedelta(days=1)),
        event("new", "item", 902, "2024-02-01 10:00:00", "Z"),
    ]
    assert of_state(later).equals(of_state(log))
    earlier = [*log, event("ann", "item", 903, "2024-01-30 23:59:59", "H")]
    assert not of_state(earlier).equals(of_state(log))


def test_the_future_cannot_be_made_a_history_of() -> None:
    history = history_of(golden_log(), DS, 30, CATEGORIES)
    with pytest.raises(AssertionError, match="an event of the future"):
        replace(history, ds=DS - timedelta(days=1))
    late = replace(golden_log()[0], landed=DS + timedelta(days=1))
    with pytest.raises(AssertionError, match="an event that landed later"):
        make_stream("item", "kind", True, table_of([late], "item"), pa.array(["ann"]), np.ones(1, bool), DS)


def test_the_log_bears_out_every_answer(large) -> None:
    log, questions = large
    oracle = Oracle(log, DS, 30, 7)
    rows = questions.table.to_pylist()
    assert {row["subtask"] for row in rows} == set(SUBTASKS)
    assert {row["subtask"] for row in rows if row["slot"].endswith((":differs", ":new"))} == {"SI", "AP", "IP"}
    assert [oracle.answer(row) for row in rows] == questions.table["gold"].to_pylist()


def test_the_delta_is_touched_where_an_event_of_the_answer_came_with_the_last_day(large) -> None:
    log, questions = large
    fresh = {(e.user, e.modality, e.value) for e in log if e.landed == DS}
    rows = [row for row in questions.table.to_pylist() if row["slot"] == "LI:item.kind:30d"]
    expected = [(row["user_id"], "item", row["options"][row["gold"]]) in fresh for row in rows]
    assert [row["touches_delta"] for row in rows] == expected
    assert {True, False} == set(expected)


def test_every_option_of_a_trajectory_changes(large) -> None:
    options = [row["options"] for row in large[1].table.to_pylist() if row["subtask"] == "IT"]
    assert options and all(len(set(parts(option))) > 1 for of_row in options for option in of_row)


def test_options_are_distinct_and_the_right_one_stands_anywhere(large) -> None:
    _, questions = large
    rows = questions.table.to_pylist()
    assert all(len(set(row["options"])) == len(row["options"]) for row in rows)
    golds = [row["gold"] for row in rows if len(row["options"]) == 4]
    counts = np.bincount(golds, minlength=4)
    expected = len(golds) / 4
    assert len(golds) > 3000
    # 99.9 % of the chi-square distribution with three degrees of freedom lie below 16.27.
    assert ((counts - expected) ** 2 / expected).sum() < 16.27


def test_the_table_is_sorted_and_of_the_schema(large) -> None:
    table = large[1].table
    assert table.schema.equals(QUESTIONS)
    ids = table["question_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert {row["train"] for row in table.to_pylist() if row["user_id"] == "user1"} == {is_train("user1")}


def test_no_slot_is_dominated_by_one_answer_and_no_user_is_asked_too_often(large) -> None:
    log, questions = large
    by_slot: dict[str, Counter] = {}
    for row in questions.table.to_pylist():
        if row["train"]:
            by_slot.setdefault(row["slot"], Counter())[row["options"][row["gold"]]] += 1
    assert max(max(counts.values()) / counts.total() for counts in by_slot.values()) <= 0.8
    capped = made(log, per_user=3)
    asked = Counter(zip(*(capped.table[name].to_pylist() for name in ("user_id", "subtask")), strict=True))
    assert max(asked.values()) == 3
    assert capped.removed["over_cap"] == questions.table.num_rows - capped.table.num_rows
    assert set(capped.table["question_id"].to_pylist()) < set(questions.table["question_id"].to_pylist())


def test_filters_count_what_they_remove() -> None:
    tie = [event("ann", "item", n, f"2024-01-{n + 1:02} 10:00:00", "AB"[n % 2]) for n in range(6)]
    few = [event("ben", "item", n, f"2024-01-{n + 1:02} 10:00:00", "AB"[n % 2]) for n in range(4)]
    constant = [event("cem", "item", n, f"2024-01-{n + 1:02} 10:00:00", "A") for n in range(6)]
    history = history_of([*tie, *few, *constant], DS, 30, {"item": "kind"})
    _, removed = generate(history, None, 7, 8)
    asked = [f"DF last{k}" for k in (1, 2, 3, 5)] + ["LI", "top3", "SI last10", "SI 7d", "IT"]
    assert removed["few_events"] >= len(asked)  # ben is asked nothing
    assert removed["constant"] >= 5  # cem: DF four times, LI
    assert removed["tie"] >= 1
    assert removed["waiting"] == 2 * 2  # ann's and cem's next event, as a text and by its value


def test_a_value_outside_the_vocabulary_is_neither_asked_for_nor_offered() -> None:
    train = next(user for user in USERS if is_train(user))
    other = next(f"x{n}" for n in range(9) if not is_train(f"x{n}"))
    log = golden_log() + [event(other, "item", n, f"2024-01-{n + 1:02} 10:00:00", "rare") for n in range(28)]
    table = made(log).table
    assert train in table["user_id"].to_pylist()
    assert not any("rare" in option for options in table["options"].to_pylist() for option in options)


def test_equal_logs_give_equal_questions_in_every_process() -> None:
    # Of this version of the templates, on any machine: raise TEMPLATE_VERSION with what changes it.
    known = "d0f8228fca2ed506272f959507379026a97bb88cdb5104157d6e073847ac1036"
    assert made(golden_log()).digest == known
    code = "from tests.unit.test_fidelity_questions import golden_log, made; print(made(golden_log()).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == known


def test_rows_that_may_know_the_future_are_refused_and_counted() -> None:
    questions = made(golden_log())
    asked = Counter(questions.table["user_id"].to_pylist())
    as_of, late = questions.as_of, questions.as_of - timedelta(days=1)
    rows = {
        "ann": (as_of, as_of - timedelta(microseconds=1)),
        "ben": (as_of, as_of),
        "cem": (late, late - timedelta(hours=1)),
        "dora": (as_of, None),
    }

    def table(timezone):
        instants = pa.timestamp("us", timezone)
        return pa.table(
            {
                "user_id": list(rows),
                "as_of": pa.array([end for end, _ in rows.values()], instants),
                "newest_event": pa.array([newest for _, newest in rows.values()], instants),
            }
        )

    for timezone in ("UTC", None):
        kept = refuse_leaks(questions, table(timezone))
        assert set(kept.table["user_id"].to_pylist()) == set(USERS) - {"ben", "cem"}
        assert kept.removed["leak_refused"] == asked["ben"] + asked["cem"]
        assert kept.digest != questions.digest
    assert refuse_leaks(questions, table("UTC").slice(0, 1)) is questions


def test_a_file_of_questions_is_read_back(tmp_path) -> None:
    questions, path = made(golden_log()), str(tmp_path / "questions.parquet")
    write_questions(questions, path)
    read = read_questions(path)
    assert read.table.equals(questions.table)
    assert (read.removed, read.digest, read.as_of) == (questions.removed, questions.digest, questions.as_of)
    write_table(path, questions.table.drop_columns(["gold"]))
    with pytest.raises(DataRefusedError, match="holds no questions"):
        read_questions(path)


def test_an_empty_log_has_no_questions() -> None:
    questions = made([])
    assert questions.table.equals(QUESTIONS.empty_table())
    assert questions.as_of == datetime(2024, 1, 31, tzinfo=utc("2024-01-31").tzinfo)
