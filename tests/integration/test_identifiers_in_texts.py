"""Texts that do not repeat are said to, before they are encoded."""

from datetime import date
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.factories import bill, land_rows
from updater.pipeline.daily import plan
from updater.pipeline.daily.dry_run import plan_window

DAY = date(2024, 5, 1)


@pytest.mark.parametrize(("distinct", "many", "said"), [(8, 8, True), (5, 5, False), (8, 9, False)])
def test_a_text_of_its_own_for_most_rows_is_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    distinct: int,
    many: int,
    said: bool,
) -> None:
    monkeypatch.setattr(plan, "MANY_TEXTS", many)
    made = Deployment.create(tmp_path, modalities=[{"name": "bill", "text": "{category}", "max_events": 4}])
    rows = [bill("ann", f"e{n}", f"{DAY} 10:00:00", category=f"session {n % distinct}") for n in range(10)]
    land_rows(made.lake, "bill", DAY, rows)
    planned = plan_window(made.context, DAY)
    assert planned.texts_to_encode == distinct
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == int(said)
    if said:
        assert warned[0].startswith("10 rows of bill bring 8 new texts")
        assert "'{category}'" in warned[0]
