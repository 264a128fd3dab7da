"""Fixtures of several end-to-end tests."""

from pathlib import Path

import pytest

from tests.shop import Shop, open_shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A state before its first window."""
    made = open_shop(tmp_path, limits={"max_rejected_share": 0.5})
    assert made.call("init").exit_code == 0
    return made
