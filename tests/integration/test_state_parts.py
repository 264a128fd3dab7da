"""Each kind of file in the state either names no user, or loses an erased one."""

import inspect
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.deployment import Deployment
from tests.strategies import TOUR
from updater.fidelity.schema import QUESTIONS
from updater.lake import partitions
from updater.lake.schemas import REJECTED_SCHEMA
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.profile_llm import replies as profile_replies
from updater.state.layout import ERASURE, Erasure, StateLayout, StatePart
from updater.training.profile.texts import dataset as texts
from updater.training.useru import dataset as useru
from updater.training.useru.language_model import replies

GONE = "somebody-who-leaves"
DAY = TOUR.windows[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A state after two windows."""
    made = Deployment.create(tmp_path_factory.mktemp("parts"))
    TOUR.land(made.lake)
    made.run(TOUR.windows[:2])
    return made


LAYOUT = StateLayout("")
WITH_USERS = {
    "event_file": LAYOUT.event_file("bill", DAY, "0123-4567.parquet"),
    "rejected_file": LAYOUT.rejected_file("bill", DAY),
    "changes_file": LAYOUT.changes_file("bill", DAY),
    "staged_bucket": f"{LAYOUT.staged_bucket(DAY, 0)}/0123-lapse_v1",
    "summaries": f"{LAYOUT.summaries()}/ds={DAY}/left.parquet",
    "bucket_file": f"{LAYOUT.offline('lapse_v1')}/ds={DAY}/left.parquet",
    "profile_replies": LAYOUT.profile_replies(DAY, 0),
    "restatement_plan": f"{LAYOUT.path(StatePart.RESTATEMENT)}/left.parquet",
    "training_run": f"{LAYOUT.training_run('0123')}/texts.parquet",
    "training_data": f"{LAYOUT.training_data()}/ds={DAY}/bucket-000.parquet",
    "generator_replies": f"{LAYOUT.generator_replies()}/01/0123.parquet",
    "evaluated_embeddings": LAYOUT.evaluated_embeddings("0123"),
    "fidelity_questions": LAYOUT.fidelity_questions(DAY),
    "fidelity_waiting": LAYOUT.fidelity_waiting(DAY),
    "fidelity_action_questions": LAYOUT.fidelity_action_questions(DAY),
}
"""Each kind of file that has rows of users, where one lies that no ledger names, as a killed command leaves it."""
WITHOUT_USERS = {"encoded_file", "texts", "model", "model_mark", "former_retired"}
WITHOUT_USERS |= {"trained_model", "fitted_model", "prompts", "model_evaluation", "feature_store"}
"""Counts, vectors of texts, weights, names of files, reports and locks."""
DIRECTORIES = {"events", "staged", "views", "offline", "bucket_files", "models", "evaluation", "fidelity"}
DIRECTORIES |= {"candidate_fidelity", "fidelity_days", "fidelity_actions"}
"""Of the kinds above, and of reports."""
OTHER = {"path", "relative", "part_of", "stays_empty", "fidelity_day"}
"""These name nothing."""
WRITERS = {
    "rejected_file": REJECTED_SCHEMA,
    "profile_replies": profile_replies.SCHEMA,
    "training_run": texts.SCHEMA,
    "training_data": useru.SCHEMA,
    "generator_replies": replies.SCHEMA,
    "fidelity_questions": QUESTIONS,
}
ONLY_WITH_ROWS = {"rejected_file", "profile_replies", "generator_replies", "staged_bucket", "event_file"}


def test_of_each_kind_of_file_it_is_said_whether_it_has_rows_of_users() -> None:
    kinds = {name for name, _ in inspect.getmembers(StateLayout, inspect.isroutine) if not name.startswith("_")}
    assert kinds == {*WITH_USERS, *WITHOUT_USERS, *DIRECTORIES, *OTHER}
    assert {LAYOUT.part_of(path) for path in WITH_USERS.values()} == {
        part for part in StatePart if ERASURE[part] is not Erasure.NO_USERS
    }


@pytest.mark.parametrize("kind", WRITERS)
def test_rows_about_users_say_about_whom(kind: str) -> None:
    # Rejected rows are as they came, with the id in them.
    assert {"user_id", "row"} & set(WRITERS[kind].names)


def test_an_erased_user_leaves_even_files_that_nobody_names(made: Deployment) -> None:
    paths = {kind: Path(f"{made.state}{inside}") for kind, inside in WITH_USERS.items()}
    stays = {kind: f"somebody-who-stays-in-{kind}" for kind in paths}
    for kind, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"user_id": [GONE, stays[kind]], "text": ["a", "b"]}), path)
    found = find(made.context, [GONE]).places
    assert all([place for place in found if place.endswith(str(path))] for path in paths.values())

    erase(made.context, [GONE])

    assert find(made.context, [GONE]).places == []
    # Whoever wrote a staged file writes it again; of any other the other rows stay, of events under another name.
    left = find(made.context, list(stays.values())).places
    gone = {kind for kind, path in paths.items() if not any(f"{path.parent}/" in place for place in left)}
    assert gone == {"staged_bucket"}
    erase(made.context, list(stays.values()))
    assert find(made.context, list(stays.values())).places == []
    assert {kind for kind, path in paths.items() if not path.exists()} == ONLY_WITH_ROWS


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
