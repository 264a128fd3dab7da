"""Wrong arguments and configs: exit code 2, and one sentence that helps."""

from pathlib import Path

import pytest

from tests.processes import run_updater
from tests.shop import Shop, open_shop, refused


@pytest.mark.parametrize(
    "args",
    [
        ("run", "--ds", "2024-02-30"),
        ("run", "--ds", "tomorrow"),
        ("run", "--ds", "0001-01-01"),
        ("run", "--ds", "9999-12-31"),
        ("run",),
        ("backfill", "--from-date", "2024-05-02"),
        ("backfill", "--from-date", "2024-05-02", "--to-date", "2024-05-01"),
        ("state", "verify", "--sample", "0"),
        ("runn", "--ds", "2024-05-01"),
    ],
)
def test_wrong_usage(shop: Shop, args: tuple[str, ...]) -> None:
    done = shop.call(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_that_is_wrong(shop: Shop) -> None:
    text = shop.config.read_text()
    for old, new, *words in (
        ("num_buckets", "num_bukets", "'buffer.num_bukets'", "did you mean 'num_buckets'"),
        ("[buffer]", "[bufer]", "'bufer'", "did you mean 'buffer'"),
        ("[paths]", 'timezone = "Europe/Berlim"\n[paths]', "'Europe/Berlim'", "did you mean 'Europe/Berlin'"),
        ("num_buckets = 1", "num_buckets = 2", "buffer.num_buckets is '2'", "made with '1'", "start a new state"),
        ("[paths]", 'timezone = "Asia/Tokyo"\n[paths]', "timezone is 'Asia/Tokyo'", "made with 'UTC'"),
        ("[paths]", "[paths", "cannot be read"),
        ('state = "state"', 'state = "state[1]"', "paths.state", "'['"),
    ):
        assert old in text
        shop.config.write_text(text.replace(old, new, 1))
        refused(shop.run(), 2, *words)


def test_a_state_that_is_not_initialized(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    for args in (("run", "--ds", "2024-05-01"), ("status",), ("state", "verify")):
        refused(shop.call(*args), 2, "updater init")
    assert not Path(shop.settings.paths.state).exists()


def test_as_a_process(shop: Shop) -> None:
    """The same sentences when nothing is shared with the tests; and a traceback only when asked for."""
    done = run_updater("run", "--ds", "2024-05-01", "--config", str(shop.config))
    refused(done, 3, "does not exist")
    shop.config.write_text(shop.config.read_text().replace("[buffer]", "[bufer]"))
    refused(run_updater("status", "--config", str(shop.config)), 2, "did you mean 'buffer'")
    assert "Traceback" in run_updater("status", "--debug", "--config", str(shop.config)).stderr
