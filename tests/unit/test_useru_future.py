"""The future in a few cells."""

from dataclasses import replace
from datetime import timedelta

from tests.profiles import event, future
from updater.training.useru.facts.future import Cell, answer, count_cells, question, select_cells


def days(*numbers: int, **fields):
    return [event(fields.get("modality", "bill"), -number, category=fields.get("category", "")) for number in numbers]


def test_bins_are_weeks_of_local_days():
    made = future([*days(1, 7, 8, 28, category="dairy"), *days(7, modality="page_view")])
    dairy, view = ("bill", "dairy"), ("page_view", "")
    assert count_cells(made) == {(0, dairy): 2, (0, view): 1, (1, dairy): 1, (3, dairy): 1}
    assert question(made) == "What are the user's most likely actions in the next 28 days?"
    assert answer(made, select_cells(made)) == (
        "Days 1 to 7: 2 dairy bill events, 1 page view event. Days 8 to 14: 1 dairy bill event. "
        "Days 22 to 28: 1 dairy bill event."
    )


def test_a_short_window_ends_its_last_bin_early():
    made = future(days(9), days=10)
    assert answer(made, select_cells(made)) == "Days 8 to 10: 1 bill event."


def test_frequent_kinds_come_first_and_do_not_crowd_out_the_others():
    frequent = [each for _ in range(20) for each in days(1, 8, 15, 22, category="dairy")]
    made = future([*frequent, *days(2, 9, category="wine"), *days(16, category="fuel")])
    assert select_cells(made, 1) == (Cell(0, ("bill", "dairy"), 20),)
    chosen = select_cells(made, 4)
    assert {cell.kind[1] for cell in chosen} == {"dairy", "wine", "fuel"}
    assert list(chosen) == sorted(chosen)
    assert len(select_cells(made)) == 7


def test_cells_check_themselves():
    made = future(days(1, 2, category="dairy"))
    [cell] = select_cells(made)
    assert cell.holds(made)
    assert not replace(cell, count=3).holds(made)
    assert not replace(cell, bin=1).holds(made)
    assert not replace(cell, kind=("bill", "wine")).holds(made)


def test_no_activity_is_an_answer():
    made = future()
    assert select_cells(made) == ()
    assert answer(made, ()) == "The user shows no activity in the next 28 days."
    assert made.end - made.start == timedelta(days=28)
