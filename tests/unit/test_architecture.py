"""What keeps the project small, light to import and free of its author's machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 320
HEAVY = ("torch", "transformers", "feast", "duckdb", "pandas", "pyarrow")
MACHINE_PATH = re.compile(r"(?<![\w.:/}-])/(?:root|home|Users|work|workspace|tmp|mnt)/\w[^\s\"'`)]*")
PAGE = re.compile(r"[\w-]+\.md\b")


def product_files() -> list[Path]:
    return [path for folder in ("updater", "dags", "feature_repo") for path in sorted((ROOT / folder).rglob("*.py"))]


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in (".png", ".parquet", ".safetensors")]


def test_no_file_is_long():
    files = [path for path in tracked_files() if path.suffix == ".py"]
    long = {str(path): count for path in files if (count := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long


def test_no_module_is_a_drawer():
    assert not [path for path in product_files() if path.stem in ("utils", "util", "helpers", "misc")]


def test_every_module_says_what_it_is():
    assert not [path for path in product_files() if not ast.get_docstring(ast.parse(path.read_text()))]


@pytest.mark.parametrize("module", ["updater.settings", "updater.domain.window", "updater.cli", "updater.airflow"])
def test_light_modules_import_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({{*{HEAVY!r}}} & {{*sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


@pytest.mark.parametrize("module", ["updater.pipeline.daily.dry_run", "updater.pipeline.steps", "updater.report.facts"])
def test_torch_is_imported_with_the_model(module):
    """A plan, a page and most tasks of a day compute nothing."""
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers'}} & {{*sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


def test_a_command_does_not_collect_what_its_imports_left():
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0));"
        "import updater.cli; print(gc.get_threshold()[0] > 5_000)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["True", "True"], result.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "updater" / "airflow").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_nothing_heavy_at_the_top_of_airflow_modules(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in top if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name.split(".")[0] in HEAVY]


def test_contrib_and_demo_are_loaded_when_they_are_called():
    found = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in product_files()
        if not path.is_relative_to(ROOT / "updater" / "contrib") and not path.is_relative_to(ROOT / "updater" / "demo")
        for node in ast.parse(path.read_text()).body
        for module in imported_modules(node)
        if module.startswith(("updater.contrib", "updater.demo"))
    ]
    assert not found


def imported_modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_tracked_files_name_no_path_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}: {match}"
        for path in tracked_files()
        if path != Path(__file__)
        for match in MACHINE_PATH.findall(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found


def test_every_page_that_is_named_is_in_the_project():
    pages = {path.name for path in tracked_files()} | {"commands.md", "config.md"}  # docs/site makes these
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked_files()
        if path != Path(__file__)
        for name in PAGE.findall(path.read_text(encoding="utf-8", errors="replace"))
        if name not in pages
    ]
    assert not missing
