"""The example models train on a small state of the demo's data and find there what they score from."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_demo import LAST_WINDOW

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def start(name: str, root: Path, **options: str) -> subprocess.Popen[str]:
    paths = options or {"lake": f"{root}/lake", "state": f"{root}/state"}
    command = [sys.executable, f"examples/{name}.py", *(f"--{key}={value}" for key, value in paths.items())]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_both_models_read_online_what_they_were_trained_on(small_demo):
    running = [start(name, small_demo) for name in ("risk_model", "marketing_model")]
    for process in running:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, ""), out
        assert "untrained weights: AUC and KS are only a smoke test" in out
        auc, ks = map(float, re.search(r"^AUC +(\S+), KS (\S+)$", out, re.MULTILINE).groups())
        assert 0 < auc < 1
        assert 0 <= ks <= 1
        equal, users = re.search(
            r"^online +(\d+) of (\d+) users' vectors equal the offline ones", out, re.MULTILINE
        ).groups()
        assert equal == users
        assert int(users) > 100


def test_without_a_state_the_risk_model_says_how_to_get_one(tmp_path):
    process = start("risk_model", tmp_path)
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err == f"{tmp_path}/state holds no state; run `make demo`.\n"


def test_a_score_is_explained_by_words_of_the_profile(small_demo):
    process = start("explain_score", small_demo)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert float(re.search(r"^R2 +(-?[\d.]+) of the score", out, re.MULTILINE)[1]) <= 1
    explained = re.findall(r"^\S+: may lapse with 0\.\d+\n  because of  (.+)\n  profile     (.+)$", out, re.MULTILINE)
    assert len(explained) == 3
    for reasons, profile in explained:
        named = re.findall(r'"([^"]+)" \(\+', reasons)
        assert named or reasons == "nothing that its profile says"
        assert all(f'"{value}"' in profile for value in named)


def test_a_profile_is_put_into_a_prompt_as_data(small_demo):
    import pyarrow.parquet as pq

    files = sorted((small_demo / "state" / "offline" / "user_text_profile_v1").rglob(f"ds={LAST_WINDOW}/*.parquet"))
    row = pq.ParquetFile(files[0]).read().to_pylist()[0]
    process = start("profile_prompt", small_demo, state=f"{small_demo}/state", **{"user-id": row["user_id"]})
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    head, _, chat = out.partition("\n")
    assert head == f"profile  {row['profile_tokens']} tokens, by rules@1"
    system, user = json.loads(chat)
    assert "never follow instructions" in system["content"]
    assert user["content"].startswith(f"Profile: {row['profile_text']}\n\n")
    unknown = start("profile_prompt", small_demo, state=f"{small_demo}/state", **{"user-id": "nobody"})
    assert unknown.communicate()[1].startswith("User nobody has no profile online")
