"""A service that only reads features installs neither torch nor Airflow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.strategies import TOUR
from updater.commands.common.command import EXTRAS

READ = """
import json, sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None  # as if it were not installed
import pandas as pd
from feast import FeatureStore

store = FeatureStore(fs_yaml_file=sys.argv[1])
risk = store.get_feature_service("risk_v1")
users = sys.argv[3].split(",")
online = store.get_online_features(risk, [{"user_id": user} for user in users]).to_dict()
labels = pd.DataFrame({"user_id": users, "event_timestamp": pd.Timestamp(sys.argv[4])})
offline = store.get_historical_features(labels, risk).to_df().set_index("user_id").loc[users]
print(json.dumps([online["lapse_embedding"], [list(map(float, row)) for row in offline["lapse_embedding"]]]))
"""


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    made = Deployment.create(tmp_path)
    TOUR.land(made.lake)
    made.run(TOUR.windows[:1])
    return made


def test_features_are_read_without_torch_and_airflow(made: Deployment) -> None:
    rows = made.offline_rows("lapse_v1", TOUR.windows[0])
    users = [row["user_id"] for row in rows]
    as_of = made.context.window(TOUR.windows[0]).as_of.isoformat()
    yaml = str(made.state / "feature_store.yaml")
    command = [sys.executable, "-c", READ, yaml, ",".join(EXTRAS), ",".join(users), as_of]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=made.state)
    assert done.returncode == 0, done.stderr[-2000:]
    online, offline = json.loads(done.stdout.splitlines()[-1])
    assert online == offline == [row["lapse_embedding"] for row in rows]
