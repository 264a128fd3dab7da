"""Where a model computes: what the config permits, and what this machine has."""

import click
import pytest
import torch
from click.testing import CliRunner

from tests.conftest import SettingsFactory
from updater.cli import main
from updater.commands.common.command import command_options, computes
from updater.errors import ConfigError
from updater.runtime.device import model_device
from updater.settings import Model, Settings


def pretend(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize("value", ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:0 ", "cuda:1234"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.device is .*; use 'cpu', 'cuda', 'cuda:N' .* or 'auto'"):
        Model(device=value)


@pytest.mark.parametrize(
    ("device", "count", "chosen"),
    [
        *[("cpu", 0, "cpu"), ("cpu", 2, "cpu"), ("auto", 0, "cpu"), ("auto", 1, "cuda")],
        *[("cuda", 1, "cuda"), ("cuda:0", 1, "cuda:0"), ("cuda:1", 2, "cuda:1")],
    ],
)
def test_what_is_chosen(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, device: str, count: int, chosen: str
) -> None:
    pretend(monkeypatch, count)
    assert model_device(make_settings(model={"device": device})) == chosen


@pytest.mark.parametrize(
    ("device", "count", "said"),
    [
        ("cuda", 0, "PyTorch sees no CUDA device here; use cpu or auto, or a machine and a PyTorch with CUDA."),
        ("cuda:1", 1, "PyTorch sees one CUDA device, cuda:0 here; use one of these, cpu or auto."),
        ("cuda:2", 2, "PyTorch sees CUDA devices cuda:0 to cuda:1 here; use one of these, cpu or auto."),
    ],
)
def test_a_device_that_is_not_there(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, device: str, count: int, said: str
) -> None:
    pretend(monkeypatch, count)
    settings = make_settings(model={"device": device})
    with pytest.raises(ConfigError) as failed:
        model_device(settings)
    assert str(failed.value) == f"model.device is {device!r} in {settings.source}, but {said}"


@pytest.mark.parametrize(
    "command",
    [
        "run --ds 2025-01-11",
        "backfill --from-date 2025-01-11 --to-date 2025-01-11",
        "model evaluate",
        "model promote --version 1",
        "model train",
        "model tune --model trained",
        "state verify",
        "user embed --user-id u1 --query q",
    ],
)
def test_a_command_in_which_the_model_computes_looks_for_the_device_first(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    pretend(monkeypatch, 0)
    config = make_settings(model={"device": "auto"}).source
    done = CliRunner().invoke(main, [*command.split(), "--device", "cuda", "--config", str(config)])
    assert (done.exit_code, "--device is 'cuda', but PyTorch sees no CUDA device" in done.stderr) == (2, True)


def test_the_option_takes_the_place_of_the_config(
    make_settings: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 1)
    seen: list[str] = []

    @click.command()
    @command_options
    @computes
    def command(settings: Settings, as_json: bool) -> None:
        seen.append(settings.model.device)

    config = make_settings(model={"device": "cuda"}).source
    for given in ([], ["--device", "cpu"], ["--device", "auto"]):
        assert CliRunner().invoke(command, [*given, "--config", str(config)]).exit_code == 0
    assert seen == ["cuda", "cpu", "auto"]
    done = CliRunner().invoke(command, ["--device", "cuda:7", "--config", str(config)])
    assert (done.exit_code, "--device is 'cuda:7', but PyTorch sees one" in done.stderr) == (2, True)
    assert len(seen) == 3
