"""Lake and state below directories whose names a parser of URLs reads otherwise: nothing changes."""

from datetime import date
from pathlib import Path

import pytest

from tests.deployment import Deployment, tree
from tests.factories import bill, land_rows
from updater.pipeline.compact.run import maintain
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.monitor.status import status
from updater.pipeline.monitor.verify import verify

DAYS = [date(2024, 5, 1), date(2024, 5, 2)]
MODALITIES = [{"name": "bill", "text": "{category}", "numeric": ["amount"], "max_events": 4}]


def tour(root: Path, name: str) -> Deployment:
    """A small deployment whose lake and state lie below `name`, run, verified and erased from."""
    # The config refuses a state whose path is a pattern.
    paths = {"lake": f"{name}/lake", "state": f"{name.replace('?', '')}/state"}
    urls = {part: {"url": f"sqlite:///{part}.db"} for part in ("ledger", "registry")}
    made = Deployment.create(root, modalities=MODALITIES, paths=paths, **urls)
    for ds in DAYS:
        rows = [bill(user, f"e{ds}", f"{ds} 10:00:00") for user in ("ann", "bob", "cid")]
        land_rows(made.lake, "bill", ds, rows, name=f"part {name.replace('/', '')}.parquet")
    made.run(DAYS)
    assert verify(made.context, None).differences == []
    erase(made.context, ["bob"])
    assert find(made.context, ["bob"]).places == []
    maintain(made.context)
    assert status(made.context).rewritten == []
    assert verify(made.context, None).differences == []
    return made


@pytest.mark.parametrize("name", ["a::b", "what? #1 50% %41 a:b", "memory::x"])
def test_a_state_below_an_odd_name_is_as_any_other(tmp_path: Path, name: str) -> None:
    plain, odd = tour(tmp_path / "plain", "plain"), tour(tmp_path / "odd", name)
    found = {path.relative_to(odd.state) for path in (odd.state / "offline").rglob("*.parquet")}
    assert found == {path.relative_to(plain.state) for path in (plain.state / "offline").rglob("*.parquet")} != set()
    assert tree(odd.state / "summaries") == tree(plain.state / "summaries")
