"""The notebooks run from anywhere, on a state of the demo's data, and end with a sentence of what was seen."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import tree

nbclient = pytest.importorskip("nbclient")
NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"

pytestmark = [
    pytest.mark.slow,
    # The kernel listens on loopback, for the length of a test.
    pytest.mark.filterwarnings("ignore:Kernel is running over TCP"),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a notebook on the state of a config, in a folder that has nothing to do with either."""

    def executed(name: str, config: Path) -> str:
        import nbformat

        monkeypatch.setenv("UPDATER_CONFIG", str(config))
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        resources = {"metadata": {"path": str(tmp_path)}}
        nbclient.NotebookClient(notebook, timeout=500, resources=resources).execute()
        assert not list(tmp_path.iterdir())
        return "".join(output["text"] for output in notebook.cells[-1].outputs)

    return executed


def test_outputs_are_stripped() -> None:
    import nbformat

    files = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert len(files) == 3
    for file in files:
        cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in cells), file.name


def test_an_error_of_a_notebook_is_the_error_of_its_test(run: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("empty")
    (root / "updater.toml").write_text((NOTEBOOKS.parents[1] / "configs" / "local.toml").read_text())
    with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"holds no state; run `make demo`"):
        run("risk_model", root / "updater.toml")


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
    from tests.small_demo import build_small_demo

    # Two anchors to learn from, four weeks before the newest day, with a buffer before the first of them.
    root = build_small_demo(tmp_path_factory.mktemp("longer_demo"), date(2017, 6, 1))
    served = {place: tree(root / "state" / place) for place in ("offline", "models")}
    said = run("tuned_prompt", root / "updater.toml")
    assert said.startswith("The soft prompt ")
    assert "on validation the question has an AUC of 0." in said
    assert {place: tree(root / "state" / place) for place in served} == served
