"""Processes that train together: one that fails ends the others, and its own reason is reported."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from tests.deployment import Deployment
from updater.errors import NotLandedError
from updater.training import launch as module
from updater.training.launch import launch


@pytest.mark.slow
def test_a_process_that_fails_says_why_and_leaves_this_one_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Deployment.create(tmp_path)
    training = replace(made.settings.training, processes=2)
    context = replace(made.context, settings=replace(made.settings, training=training))
    variables, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)

    with pytest.raises(NotLandedError, match=r"holds no landed day of some modality"):
        launch(context)
    assert dict(os.environ) == variables
    assert signal.getsignal(signal.SIGTERM) == handler
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("exit_code", "said", "reported"),
    [
        (-9, None, r"failed: Signal 9 \(SIGKILL\) received by PID 7$"),
        (1, "one line\nRuntimeError: no room", "failed: RuntimeError: no room$"),
        (1, {"message": "RuntimeError: no room", "extraInfo": {"timestamp": "1"}}, "failed: RuntimeError: no room$"),
    ],
)
def test_how_a_process_ended_is_reported_where_it_had_no_words(
    tmp_path: Path, exit_code: int, said: object, reported: str
) -> None:
    failure = ProcessFailure(0, 7, exit_code, str(tmp_path / "none"))
    if said is not None:
        failure.message = said  # type: ignore[assignment]
    with pytest.raises(module.UpdaterError, match=reported):
        raise module._reason(ChildFailedError("train", {0: failure}))
