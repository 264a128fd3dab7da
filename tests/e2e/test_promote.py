"""A promotion that is killed at any of its writes, and given again, leaves the bytes of one that nobody disturbed."""

import json
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.deployment import Deployment, tree
from tests.e2e.saved_state import SavedState
from tests.processes import Outcome
from tests.strategies import TOUR
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.runtime.crash_points import PROMOTION_WRITES, VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.campaign]

CLOCK = "1717200000"
AN_HOUR_LATER = "1717203600"
NEXT_WEEK = "1717804800"
LAST = TOUR.windows[3]


class Scene(SavedState):
    """Windows by version 1 and a model beside the state; it can be put back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, CLOCK, buffer={"num_buckets": 2}, profile={"enabled": True})
        self.model = root / "model"
        TOUR.land(self.settings.paths.lake)
        assert self.call("init").exit_code == 0
        for ds in TOUR.windows[:3]:
            assert self.call("run", "--ds", str(ds)).exit_code == 0
        save_model(create_model(create_config(self.settings), 99), self.model)
        self.save()

    def promote(self, **env: str) -> Outcome:
        return self.call("model", "promote", "--model", str(self.model), "--json", **env)

    def left(self) -> dict[str, Any]:
        """All that a reader can see."""
        deployment = Deployment(self.settings)
        promotions = [
            record.subject["version"] for record in deployment.context.ledger.audit() if record.action == "promote"
        ]
        live = deployment.context.live_model()
        # What a killed copy leaves is read by nobody, and is maintenance's to remove.
        models = {path: digest for path, digest in tree(self.state, ["models"]).items() if ".tmp/" not in path}
        return {
            "files": deployment.published(),
            "online": self.online(),
            "audit": promotions,
            "live": live.name,
            "models": models,
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("promote"))


@pytest.fixture(scope="module")
def undisturbed(scene: Scene) -> dict[str, Any]:
    scene.restore()
    done = scene.promote()
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["version"] == 2
    left = scene.left()
    assert left["live"].startswith("v2-model-")
    return left


@pytest.mark.parametrize("point", [*(f"after:{write}" for write in PROMOTION_WRITES), "after:backfilled:3"])
def test_a_promotion_killed_at_any_point(scene: Scene, undisturbed: dict[str, Any], point: str) -> None:
    scene.restore()
    assert scene.promote(**{VARIABLE: point}).exit_code == -SIGKILL
    again = scene.promote(SOURCE_DATE_EPOCH=AN_HOUR_LATER)
    assert (again.exit_code, again.stderr) == (0, "")
    assert scene.left() == undisturbed


def test_a_promotion_killed_again_and_again_and_days_go_on(scene: Scene, undisturbed: dict[str, Any]) -> None:
    scene.restore()
    for write in PROMOTION_WRITES:
        assert scene.promote(**{VARIABLE: f"before:{write}"}).exit_code == -SIGKILL, write
    assert scene.promote().exit_code == 0
    assert scene.left() == undisturbed
    for clock in (CLOCK, NEXT_WEEK):
        assert scene.call("state", "compact", SOURCE_DATE_EPOCH=clock).exit_code == 0
    assert not list((scene.state / "models").glob(".*"))

    day = scene.call("run", "--ds", str(LAST), "--json")
    assert json.loads(day.stdout)["model"] == undisturbed["live"]
    asked = scene.call("user", "embed", "--user-id", "ann", "--query", "milk?", "--json")
    assert json.loads(asked.stdout)["model"] == undisturbed["live"]
    back = scene.call("model", "promote", "--version", "1")
    assert back.exit_code == 0 and "is live, after v2-model-" in back.stdout
    check = scene.call("state", "verify", "--all", "--json")
    assert (check.exit_code, json.loads(check.stdout)["differences"]) == (0, [])
    assert scene.call("model", "delete", "--version", "1").exit_code == 2
    assert scene.call("model", "delete", "--version", "2").exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (
            (
                "model",
                "promote",
            ),
            2,
            "either --version or --model",
        ),
        (("model", "promote", "--version", "1", "--model", "x"), 2, "either --version or --model"),
        (("model", "promote", "--version", "9"), 10, "Model version 9 does not exist"),
        (("model", "promote", "--model", "nowhere"), 2, "no complete model"),
        (("model", "delete", "--version", "1"), 2, "Model version 1 is live"),
        (("user", "embed", "--user-id", "ann"), 2, "Ask one question"),
        (("user", "embed", "--user-id", "nobody", "--query", "milk?"), 10, "User 'nobody' has no stream event"),
    ],
)
def test_wrong_words_are_one_sentence(scene: Scene, args: tuple[str, ...], code: int, words: str) -> None:
    outcome = scene.call(*args)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert words in outcome.stderr and "Traceback" not in outcome.stderr
