"""Feast without the checks that it compiles at import; in a process of its own, as Feast is imported once."""

import subprocess
import sys

import pytest

LOOK = """
import typeguard
whole = typeguard.typechecked
import {module}
import feast
assert typeguard.typechecked is whole
print("check_argument_types_internal" in str(feast.FeatureView.__init__.__code__.co_names))
"""


@pytest.mark.parametrize(("module", "is_checked"), [("feast", "True"), ("updater.store", "False")])
def test_only_feast_s_own_commands_pay_for_its_checks(module: str, is_checked: str) -> None:
    command = [sys.executable, "-c", LOOK.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == is_checked
