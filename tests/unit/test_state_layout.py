"""One owner of the state's paths: nobody else builds one, and every part says how an erased user leaves it."""

import ast
from datetime import date
from pathlib import Path

import pytest

from updater.state.layout import ERASURE, SUMMARIES, StateLayout, StatePart

ROOT = Path(__file__).parents[2]
DAY = date(2024, 1, 2)
LAYOUT = StateLayout("/state")
PATHS = {
    LAYOUT.event_file("bill", DAY, "a-b.parquet"): "events/bill/ds=2024-01-02/a-b.parquet",
    LAYOUT.event_file("bill", DAY, "merged/2024-01-01_2024-01-31-c.parquet"): (
        "events/bill/merged/2024-01-01_2024-01-31-c.parquet"
    ),
    LAYOUT.rejected_file("bill", DAY): "rejected/bill/ds=2024-01-02/rejected.parquet",
    LAYOUT.changes_file("bill", DAY): "changes/bill/ds=2024-01-02/changes.parquet",
    LAYOUT.encoded_file("bill", DAY): "changes/bill/ds=2024-01-02/encoded.json",
    LAYOUT.texts("minilm-1"): "texts/minilm-1",
    LAYOUT.staged_bucket(DAY, 7): "staged/ds=2024-01-02/bucket-007",
    LAYOUT.bucket_file(SUMMARIES, DAY, 7, 0): "summaries/ds=2024-01-02/bucket-007.parquet",
    LAYOUT.bucket_file("lapse_v1", DAY, 7, 2): "offline/lapse_v1/ds=2024-01-02/bucket-007-g2.parquet",
    LAYOUT.profile_replies(DAY, 7): "profiles/language_model/ds=2024-01-02/bucket-007.parquet",
    LAYOUT.model(3): "models/v3",
    LAYOUT.restatement_plan(): "restatement/pending.parquet",
    LAYOUT.former_retired(): "maintenance/retired.json",
    LAYOUT.feature_store(): "feature_store.yaml",
}


@pytest.mark.parametrize(("path", "inside"), PATHS.items())
def test_paths_lie_where_a_state_of_0_1_has_them(path: str, inside: str) -> None:
    assert path == f"/state/{inside}"
    assert LAYOUT.relative(path) == inside
    assert LAYOUT.part_of(path) == inside.split("/")[0]


def test_a_url_with_a_slash_at_its_end_gives_the_same_names() -> None:
    assert StateLayout("s3://bucket/state/").model(1) == StateLayout("s3://bucket/state").model(1)


def test_every_part_says_how_an_erased_user_leaves_it() -> None:
    assert set(ERASURE) == set(StatePart)


def _joins_to_the_state(tree: ast.AST) -> list[int]:
    """Lines on which `paths.state` is an argument of a join, a `Path`, an f-string or an addition."""
    found = []
    for node in ast.walk(tree):
        joined: list[ast.AST] = []
        if isinstance(node, ast.JoinedStr):
            # An f-string that is nothing but a sentence about the path has a space in it.
            text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            joined = [] if " " in text else list(node.values)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
            joined = [node.left]
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            joined = list(node.args[:1]) if name in ("join", "Path", "day_directory") else []
        for part in joined:
            if any(isinstance(n, ast.Attribute) and n.attr == "state" for n in ast.walk(part)):
                found.append(node.lineno)
    return found


def test_nobody_else_builds_a_path_of_the_state() -> None:
    sources = [*ROOT.glob("updater/**/*.py"), *ROOT.glob("feature_repo/*.py"), *ROOT.glob("dags/*.py")]
    found = {
        str(path.relative_to(ROOT))
        for path in sources
        if _joins_to_the_state(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == {"updater/settings.py"}  # the default of the online database, which may lie anywhere


@pytest.mark.parametrize(
    ("code", "finds"),
    [
        ('f"{settings.paths.state}/offline"', True),
        ('Path(settings.paths.state, "models")', True),
        ('partitions.join(context.settings.paths.state, "x")', True),
        ('paths.state + "/x"', True),
        ('f"paths.state is {settings.paths.state}; it must be a directory."', False),
        ("connect(settings.paths.state)", False),
    ],
)
def test_the_search_for_paths_finds_them(code: str, finds: bool) -> None:
    assert bool(_joins_to_the_state(ast.parse(code))) == finds
