"""A verification in whose middle another command changes the state asks to be run again; it reports no difference."""

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.deployment import PROFILES, Deployment
from tests.factories import SCENARIOS, bill, land_rows
from updater.errors import ConcurrentUpdateError, UnfinishedWorkError
from updater.pipeline import steps
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.pipeline.monitor import verify_rebuild as rebuild
from updater.pipeline.monitor.verify import verify, verify_recomputed
from updater.pipeline.restate.run import restate_range
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

FIRST = date(2024, 3, 1)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
USERS = [f"u{n:06}" for n in range(12)]
MODALITIES = [{"name": "bill", "text": "{category} at {merchant}", "numeric": ["amount"], "max_events": 3}]


def land(lake: str, ds: date, amount: float = 1.0) -> None:
    land_rows(lake, "bill", ds, [bill(user, f"{user}-{ds}", f"{ds} 10:00", amount=amount) for user in USERS])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    buffer = {"days": 4, "num_buckets": 2}
    root = tmp_path_factory.mktemp("whole")
    made = Deployment.create(root, modalities=MODALITIES, scenarios=SCENARIOS[:1], buffer=buffer, **PROFILES)
    for ds in (FIRST, SECOND, THIRD):
        land(made.lake, ds)
    made.run([FIRST, SECOND])
    return made


@pytest.fixture
def made(tmp_path: Path, whole: Deployment) -> Deployment:
    """A copy of a deployment, to change."""
    root = whole.settings.source.parent
    for name in ("lake", "state"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "updater.toml", tmp_path / "updater.toml")
    settings = load_settings(tmp_path / "updater.toml", environ={})
    initialize(settings)
    return Deployment(settings)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Do something once, when a verification has chosen its users and is about to look at the first of them."""

    def do(deed: Callable[[], Any]) -> None:
        real, deeds = rebuild.load_events, [deed]

        def load_events(*arguments: Any) -> Any:
            if deeds:
                deeds.pop()()
            return real(*arguments)

        monkeypatch.setattr(rebuild, "load_events", load_events)

    return do


def spoil(made: Deployment) -> None:
    """Make stored summaries wrong."""
    for path in made.state.glob(f"summaries/ds={SECOND}/*.parquet"):
        table = pq.read_table(path)
        more = pa.array(pc.add(table["num_events"], 1), table.schema.field("num_events").type)
        pq.write_table(table.set_column(table.schema.get_field_index("num_events"), "num_events", more), path)


def promoted(made: Deployment) -> None:
    ledger = made.context.ledger
    assert ledger.promote_model(1, ledger.published(), 1, {}, "ann", made.now)


def restated(made: Deployment) -> None:
    land(made.lake, SECOND, amount=3.0)
    with ProcessPool(made.settings, made.now) as pool:
        assert restate_range(made.context, pool, SECOND, SECOND)["users"] == len(USERS)


@pytest.mark.parametrize("sample", [len(USERS), None])
def test_an_erasure_in_the_middle_is_no_difference(
    made: Deployment, meanwhile: Callable[[Callable[[], Any]], None], sample: int | None
) -> None:
    meanwhile(lambda: erase(made.context, USERS[3:9]))
    with pytest.raises(ConcurrentUpdateError, match="Users were erased while the state was compared") as raised:
        verify(made.context, sample)
    assert raised.value.cause == "erasure"
    assert verify(made.context, sample).differences == []


def test_an_erasure_before_a_day_goes_online_is_no_difference(
    made: Deployment, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    meanwhile(lambda: erase(made.context, USERS[3:9]))
    with pytest.raises(ConcurrentUpdateError, match="erased"):
        verify_recomputed(made.context, made.context.window(SECOND), len(USERS))


@pytest.mark.parametrize(
    ("deed", "cause"), [(promoted, "promotion"), (restated, "restatement")], ids=["promotion", "restatement"]
)
def test_other_commands_in_the_middle_are_no_difference(
    made: Deployment, meanwhile: Callable[[Callable[[], Any]], None], deed: Callable[[Deployment], None], cause: str
) -> None:
    meanwhile(lambda: (spoil(made), deed(made)))
    with pytest.raises(ConcurrentUpdateError, match="run the same command again") as raised:
        verify(made.context, None)
    assert raised.value.cause == cause


def test_a_window_in_the_middle_hides_no_difference(
    made: Deployment, meanwhile: Callable[[Callable[[], Any]], None]
) -> None:
    meanwhile(lambda: made.run([THIRD]))
    report = verify(made.context, None)
    assert (report.ds, report.differences) == (str(SECOND), [])
    assert made.context.ledger.watermark() == THIRD
    for path in made.state.glob(f"summaries/ds={THIRD}/*.parquet"):
        path.unlink()
    assert verify(made.context, None).differences


def test_nothing_that_differs_is_said_of_an_erasure_that_has_not_ended(made: Deployment) -> None:
    made.context.ledger.record_erasures([USERS[0]], made.now)
    spoil(made)
    with pytest.raises(UnfinishedWorkError, match="erasure of 1 users was started but not finished"):
        verify(made.context, None)


def test_the_task_of_the_daily_dag_is_tried_again(
    made: Deployment, meanwhile: Callable[[Callable[[], Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDATER_CONFIG", str(made.settings.source))
    meanwhile(lambda: erase(made.context, USERS[3:9]))
    with pytest.raises(ConcurrentUpdateError) as raised:
        steps.verify(str(SECOND), len(USERS))
    assert raised.value.retryable
    assert steps.verify(str(SECOND), len(USERS))["differences"] == 0
