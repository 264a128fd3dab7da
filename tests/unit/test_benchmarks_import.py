"""The benchmarks run by hand, so a name that they import and that is gone would be noticed by nothing else."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "benchmarks").rglob("*.py"))
]


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_can_be_imported(module):
    importlib.import_module(module)
