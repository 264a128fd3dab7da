"""Examples and notebooks run on a small state of the demo's data."""

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import tree
from tests.processes import Outcome, fork_script, run_python
from tests.small_demo import LAST_WINDOW, build_small_demo

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small state of the demo's data; who takes it leaves it as it is."""
    return build_small_demo(tmp_path_factory.mktemp("small_demo"))


def run_script(name: str, root: Path, run: Callable[..., Outcome] = fork_script, **options: str) -> Outcome:
    paths = options or {"lake": f"{root}/lake", "state": f"{root}/state"}
    return run(ROOT / "examples" / f"{name}.py", *(f"--{key}={value}" for key, value in paths.items()))


# One of them in an interpreter of its own: nothing that the others share with a server hides an import or a warning.
@pytest.mark.parametrize(("name", "run"), [("risk_model", run_python), ("marketing_model", fork_script)])
def test_both_models_read_online_what_they_were_trained_on(small_demo, name, run):
    done = run_script(name, small_demo, run)
    assert (done.exit_code, done.stderr) == (0, ""), done.stdout
    assert "untrained weights: AUC and KS are only a smoke test" in done.stdout
    auc, ks = map(float, re.search(r"^AUC +(\S+), KS (\S+)$", done.stdout, re.MULTILINE).groups())
    assert 0 < auc < 1
    assert 0 <= ks <= 1
    equal, users = re.search(
        r"^online +(\d+) of (\d+) users' vectors equal the offline ones", done.stdout, re.MULTILINE
    ).groups()
    assert equal == users
    assert int(users) > 100


def test_without_a_state_the_risk_model_says_how_to_get_one(tmp_path):
    done = run_script("risk_model", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}/state holds no state; run `make demo`.\n"


def test_a_score_is_explained_by_words_of_the_profile(small_demo):
    done = run_script("explain_score", small_demo)
    assert (done.exit_code, done.stderr) == (0, ""), done.stdout
    out = done.stdout
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
    state = f"{small_demo}/state"
    done = run_script("profile_prompt", small_demo, state=state, **{"user-id": row["user_id"]})
    assert (done.exit_code, done.stderr) == (0, ""), done.stdout
    head, _, chat = done.stdout.partition("\n")
    assert head == f"profile  {row['profile_tokens']} tokens, by rules@4"
    system, user = json.loads(chat)
    assert "never follow instructions" in system["content"]
    assert user["content"].startswith(f"Profile: {row['profile_text']}\n\n")
    unknown = run_script("profile_prompt", small_demo, state=state, **{"user-id": "nobody"})
    assert unknown.stderr.startswith("User nobody has no profile online")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a notebook on the state of a config, in a folder that has nothing to do with either."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")

    def executed(name: str, config: Path) -> str:
        monkeypatch.setenv("UPDATER_CONFIG", str(config))
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        resources = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=500, resources=resources).execute()
        assert not list(tmp_path.iterdir())
        return "".join(output["text"] for output in notebook.cells[-1].outputs)

    return executed


def test_outputs_are_stripped() -> None:
    nbformat = pytest.importorskip("nbformat")
    files = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert len(files) == 3
    for file in files:
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in cells), file.name


def test_an_error_of_a_notebook_is_the_error_of_its_test(run: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("empty")
    (root / "updater.toml").write_text((NOTEBOOKS.parents[1] / "configs" / "local.toml").read_text())
    with pytest.raises(Exception, match=r"holds no state; run `make demo`"):
        run("tuned_prompt", root / "updater.toml")


def test_from_features_to_a_risk_model(run: Any, small_demo: Path) -> None:
    said = run("risk_model", small_demo / "updater.toml")
    assert "other households a week later, plain counts 0." in said
    assert said.endswith("Its weights are untrained, so this is only a smoke test.\n")


def test_from_a_question_to_an_audience(run: Any, small_demo: Path) -> None:
    before = tree(small_demo)
    said = run("audience", small_demo / "updater.toml")
    assert "used a coupon in the week after" in said
    assert said.endswith("The weights are untrained, so this is only a smoke test.\n")
    assert tree(small_demo) == before


@pytest.mark.campaign
def test_from_a_new_scenario_to_a_tuned_prompt(run: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    # The anchors are one to four weeks before the newest day, and each has to have its window.
    root = build_small_demo(tmp_path_factory.mktemp("longer_demo"), date(2017, 6, 16))
    served = {place: tree(root / "state" / place) for place in ("offline", "models")}
    said = run("tuned_prompt", root / "updater.toml")
    assert said.startswith("The soft prompt ")
    assert "on validation the question has an AUC of 0." in said
    assert {place: tree(root / "state" / place) for place in served} == served
