"""What the pages say of the evaluation is what lies in its report."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from benchmarks.quality.tables import tables

ROOT = Path(__file__).parents[2]
QUALITY = ROOT / "benchmarks" / "quality"
NUMBER = re.compile(r"[+-]?\d*\.?\d+")


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads((QUALITY / "report.json").read_text())


@pytest.fixture(scope="module")
def page() -> str:
    return (QUALITY / "README.md").read_text()


def rows(page: str, heading: str) -> dict[str, list[list[float]]]:
    """The numbers in each cell, by the first cell, of the table that begins with a line."""
    lines = page[page.index(heading) :].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return {first: [[float(number) for number in NUMBER.findall(cell)] for cell in rest] for first, *rest in cells}


def values(found: dict, *names: str) -> list[list[float]]:
    """What a table's cells should have: a number and, if the report has one, its standard error."""
    return [[found[key] for key in (name, f"{name}_se") if key in found and key != "held_out_auc_se"] for name in names]


def test_the_mean_over_all_tasks(report, page):
    table = rows(page, "| system | what it is |")
    assert table.keys() == report["mean"].keys()
    for system, cells in table.items():
        for cell, expected in zip(cells[1:4], values(report["mean"][system], "auc", "ks", "held_out_auc"), strict=True):
            assert cell == pytest.approx(expected, abs=6e-5), system


def test_the_tables_that_are_printed_are_those_of_the_page(report, page):
    for table in re.split(r"### .*\n\n", tables(report))[1:]:
        assert table.strip() in page


def test_the_paired_differences(report, page):
    table = rows(page, "|  | difference |")
    assert table.keys() == report["differences"].keys()
    for pair, ((difference,), (error,), (ratio,)) in table.items():
        found = report["differences"][pair]
        assert [difference, error] == pytest.approx([found["auc"], found["auc_se"]], abs=6e-5), pair
        assert ratio == pytest.approx(found["auc"] / found["auc_se"], abs=0.06), pair


def test_the_family(report, page):
    table = rows(page, "| system | seen | unseen |")
    [family] = report["family"].values()
    assert table.keys() == family["seen"].keys()
    for system, cells in table.items():
        for cell, part in zip(cells, ("seen", "unseen"), strict=True):
            [numbers] = values(family[part][system], "auc")
            assert cell == pytest.approx(numbers, abs=6e-5), system


def test_the_paraphrases(report, page):
    table = rows(page, "| paraphrases |")
    found = report["paraphrases"]
    each = {"all": found["difference"], **{f"number {n}": one["difference"] for n, one in found["each"].items()}}
    assert table.keys() == each.keys()
    for name, cells in table.items():
        for cell, numbers in zip(cells, values(each[name], "auc", "ks"), strict=True):
            assert cell == pytest.approx(numbers, abs=6e-5), name


def test_the_front_page_has_the_same_means(report):
    status = " ".join((ROOT / "README.md").read_text().split("**Status")[1].split("\n\n")[0].split())
    for system, words in {
        "tuned": "mean AUC {} on",
        "base": "{} without soft prompts",
        "fitted": "{} of the same model without one step of training",
        "rfm": "{} of recency, frequency and money",
        "rfm_categories": "{} of those with counts",
        "with_counts": "{} of embedding and counts together",
    }.items():
        assert words.format(f"{report['mean'][system]['auc']:.3f}") in status
