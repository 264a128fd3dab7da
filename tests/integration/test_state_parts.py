"""Each kind of file in the state either names no user, or loses an erased one."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment
from tests.strategies import TOUR
from updater.lake import partitions
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.state.layout import ERASURE, SUMMARIES, Erasure, StatePart

GONE = "somebody-who-leaves"
DAY = TOUR.windows[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A state after two windows."""
    made = Deployment.create(tmp_path_factory.mktemp("parts"))
    TOUR.land(made.lake)
    made.run(TOUR.windows[:2])
    return made


def leftover(made: Deployment, part: StatePart) -> str:
    """Where a file of that part lies that no ledger names, as a killed command leaves it."""
    layout = made.context.layout
    return {
        StatePart.EVENTS: layout.event_file("bill", DAY, "0123-4567.parquet"),
        StatePart.REJECTED: layout.rejected_file("bill", DAY),
        StatePart.CHANGES: layout.changes_file("bill", DAY),
        StatePart.STAGED: f"{layout.staged_bucket(DAY, 0)}/0123-lapse_v1",
        StatePart.SUMMARIES: f"{layout.bucket_files(SUMMARIES)}/ds={DAY}/left.parquet",
        StatePart.OFFLINE: f"{layout.offline('lapse_v1')}/ds={DAY}/left.parquet",
        StatePart.RESTATEMENT: f"{layout.path(StatePart.RESTATEMENT)}/left.parquet",
        StatePart.TRAINING: f"{layout.training_data()}/ds={DAY}/bucket-000.parquet",
        StatePart.PROFILES: layout.profile_replies(DAY, 0),
        StatePart.EVALUATION: layout.evaluated_embeddings("0123"),
    }[part]


@pytest.mark.parametrize("part", [part for part in StatePart if ERASURE[part] is not Erasure.NO_USERS])
def test_an_erased_user_leaves_even_files_that_nobody_names(made: Deployment, part: StatePart) -> None:
    path = Path(leftover(made, part))
    path.parent.mkdir(parents=True, exist_ok=True)
    stays = f"somebody-who-stays-in-{part}"
    pq.write_table(pa.table({"user_id": [GONE, stays], "text": ["a", "b"]}), path)
    assert find(made.context, [GONE]).places != []

    erase(made.context, [GONE])

    assert find(made.context, [GONE]).places == []
    # Whoever wrote a staged file writes it again; of any other the other rows stay.
    assert bool(find(made.context, [stays]).places) == (ERASURE[part] is not Erasure.REMOVED)


def test_parts_that_say_so_hold_no_user(made: Deployment) -> None:
    users = [user.encode() for user in {row["user_id"] for row in made.offline_rows("lapse_v1", TOUR.windows[1])}]
    assert users
    searched = 0
    for part in (part for part in StatePart if ERASURE[part] is Erasure.NO_USERS):
        fs, inner = partitions.filesystem(made.context.layout.path(part))
        for path in fs.find(inner):
            searched += 1
            if path.endswith(".arrow"):
                assert "user_id" not in pa.ipc.open_file(Path(path).read_bytes()).schema.names
            elif path.endswith(".json"):
                assert not {user.decode() for user in users} & set(
                    json.dumps(json.loads(Path(path).read_text())).split('"')
                )
    assert searched


def test_every_directory_of_a_state_is_a_part(made: Deployment) -> None:
    found = {path.name for path in made.state.iterdir() if path.is_dir()}
    assert found <= set(StatePart)
