"""Processes that train together: one that fails ends the others, with its own reason."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deployment import Deployment
from updater.errors import UpdaterError
from updater.training.launch import ranks


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    training = replace(made.settings.training, processes=2)
    settings = replace(made.settings, training=training, source=str(tmp_path / "nowhere.toml"))
    before = dict(os.environ)
    with pytest.raises(UpdaterError, match=r"A training process failed: .*nowhere\.toml"), ranks(settings) as rank:
        assert (rank.index, rank.count) == (0, 2)
    assert dict(os.environ) == before


def test_a_broken_connection_is_told_by_what_broke_it(tmp_path: Path) -> None:
    made = Deployment.create(tmp_path)
    training = replace(made.settings.training, processes=2)
    settings = replace(made.settings, training=training, source=str(tmp_path / "nowhere.toml"))

    with pytest.raises(UpdaterError, match=r"A training process failed: .*nowhere\.toml"), ranks(settings):
        raise RuntimeError("Connection closed by peer")
