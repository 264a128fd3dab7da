"""The config file: strict keys and types, the environment, relative paths."""

import re
from pathlib import Path

import pytest

from tests.factories import MODALITIES, SCENARIOS, toml_text
from updater.errors import ConfigError
from updater.settings import NOT_SETTINGS, Settings, load_settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.toml"))


def write(directory: Path, **tables: object) -> Path:
    source = directory / "updater.toml"
    source.write_text(toml_text({"modalities": MODALITIES, "scenarios": SCENARIOS} | tables), encoding="utf-8")
    return source


def load(directory: Path, environ: dict[str, str] | None = None, **tables: object) -> Settings:
    return load_settings(write(directory, **tables), environ or {})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_load(config):
    # Servers and secrets of a production config come from the environment, so any value will do here.
    assert load_settings(config, {}).scenarios


def test_defaults_and_absolute_paths(tmp_path):
    settings = load(tmp_path)
    assert settings.timezone == "UTC"
    assert settings.buffer.days == 90
    assert settings.paths.lake == str(tmp_path / "lake")
    assert settings.ledger.url == f"sqlite:///{tmp_path}/state/ledger.db"
    assert settings.registry.url == f"sqlite:///{tmp_path}/state/registry.db"
    assert settings.online_store.options == {"path": str(tmp_path / "state" / "online.db")}
    assert settings.source == tmp_path / "updater.toml"


def test_relative_paths_are_relative_to_the_file_not_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "conf").mkdir()
    write(
        tmp_path / "conf",
        paths={"lake": "../data/lake", "state": "s3://bucket/state"},
        ledger={"url": "sqlite:///l.db"},
    )
    monkeypatch.chdir(tmp_path)
    settings = load_settings("conf/updater.toml", {})
    assert settings.paths.lake == str(tmp_path / "data" / "lake")
    assert settings.paths.state == "s3://bucket/state"
    assert settings.ledger.url == f"sqlite:///{tmp_path}/conf/l.db"


def test_former_keys_are_read_with_a_warning(tmp_path, caplog):
    settings = load(
        tmp_path,
        {"UPDATER_BOUNDS__MIN_DAY_COSINE": "0.5"},
        bounds={"max_quiet_days": 3.0, "max_mean_shift": 0.2},
        privacy={"pseudonymise": True},
    )
    alerts = settings.alerts
    assert (alerts.max_days_since_last_event, alerts.max_mean_shift, alerts.min_day_cosine) == (3.0, 0.2, 0.5)
    assert settings.privacy.pseudonymize
    reported = [record.getMessage() for record in caplog.records if record.name == "updater.config_file"]
    assert [text.partition(" of ")[0] for text in reported] == [
        "config key 'bounds'",
        "config key 'alerts.max_quiet_days'",
        "config key 'privacy.pseudonymise'",
    ]
    assert f"of {settings.source} is now called 'privacy.pseudonymize'" in reported[-1]


def test_of_a_former_and_a_present_key_the_present_one_counts(tmp_path):
    both = {"bounds": {"max_mean_shift": 0.2, "min_day_cosine": 0.1}, "alerts": {"max_mean_shift": 0.4}}
    alerts = load(tmp_path, **both).alerts
    assert (alerts.max_mean_shift, alerts.min_day_cosine) == (0.4, 0.1)
    assert not load(tmp_path, privacy={"pseudonymise": True, "pseudonymize": False}).privacy.pseudonymize


def test_present_keys_are_read_without_a_word(tmp_path, caplog):
    load(tmp_path, alerts={"max_days_since_last_event": 3.0})
    assert not caplog.records


@pytest.mark.parametrize(
    "url",
    ["sqlite:////srv/ledger.db", "sqlite:///:memory:", "sqlite://", "postgresql+psycopg://u@db/ledger"],
)
def test_other_urls_stay_as_they_are(tmp_path, url):
    assert load(tmp_path, ledger={"url": url}).ledger.url == url


def test_online_store_options_go_through(tmp_path):
    store = load(
        tmp_path, online_store={"type": "redis", "connection_string": "db:6379", "key_ttl_seconds": 5}
    ).online_store
    assert (store.type, store.options) == ("redis", {"connection_string": "db:6379", "key_ttl_seconds": 5})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"bufer": {"days": 3}}, "config key 'bufer' is unknown; did you mean 'buffer'?"),
        ({"buffer": {"day": 3}}, "config key 'buffer.day' is unknown; did you mean 'days'?"),
        (
            {"modalities": [{"name": "bill", "txt": "{a}"}]},
            "config key 'modalities.bill.txt' is unknown; did you mean 'text'?",
        ),
        ({"source": "elsewhere.toml"}, "config key 'source' .* is unknown"),
        ({"timezone": "Europe/Lodnon"}, "did you mean 'Europe/London'?"),
        ({"buffer": {"days": "90"}}, "buffer.days is '90'; use a whole number from 1 to 36500"),
        ({"buffer": {"days": True}}, "buffer.days is True; use a whole number"),
        ({"buffer": {"days": 1.5}}, "buffer.days is 1.5; use a whole number"),
        ({"buffer": {"days": 0}}, "buffer.days is 0; use a whole number from 1 to 36500"),
        ({"buffer": {"num_buckets": 0}}, "buffer.num_buckets is 0"),
        ({"buffer": 3}, "buffer must be a table"),
        ({"limits": {"max_rejected_share": 1.1}}, "limits.max_rejected_share is 1.1; use a number from 0 to 1"),
        ({"online_store": {"type": "dynamo"}}, "use 'sqlite', 'redis' or 'postgres'"),
        ({"online_store": "redis"}, "online_store must be a table"),
        ({"modalities": "bill"}, "modalities must be a list"),
        ({"modalities": ["bill"]}, "modalities.0 must be a table"),
        ({"modalities": []}, "declares no modalities; add a \\[\\[modalities\\]\\] table"),
        ({"modalities": [{"text": "{a}"}]}, "config key 'modalities.0.name' is missing"),
        ({"modalities": [MODALITIES[0], MODALITIES[0]]}, "'bill' is declared twice in \\[\\[modalities\\]\\]"),
        ({"scenarios": [SCENARIOS[0], SCENARIOS[0]]}, "'lapse' is declared twice in \\[\\[scenarios\\]\\]"),
        ({"modalities": [{"name": "bill", "numeric": [1]}]}, "modalities.bill.numeric.0 is 1; use a string"),
    ],
)
def test_a_wrong_config_is_one_sentence(tmp_path, tables, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, **tables)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_whole_number_is_a_share_too(tmp_path):
    assert load(tmp_path, limits={"max_rejected_share": 1}).limits.max_rejected_share == 1.0


def test_environment_overrides_every_kind_of_value(tmp_path):
    settings = load(
        tmp_path,
        {
            "UPDATER_TIMEZONE": "Asia/Tokyo",
            "UPDATER_LEDGER__URL": "postgresql+psycopg://u:p@db/ledger",
            "UPDATER_PATHS__LAKE": "elsewhere",
            "UPDATER_BUFFER__DAYS": "30",
            "UPDATER_LIMITS__MAX_REJECTED_SHARE": "0.5",
            "UPDATER_MODALITIES__BILL__MAX_EVENTS": "3",
            "UPDATER_MODALITIES__BILL__OPTIONAL": "true",
            "UPDATER_MODALITIES__BILL__NUMERIC": "amount,discount",
            "UPDATER_ONLINE_STORE__TYPE": "redis",
            "UPDATER_ONLINE_STORE__CONNECTION_STRING": "db:6379",
            "UNRELATED": "1",
        },
    )
    bill = settings.modality("bill")
    assert settings.timezone == "Asia/Tokyo"
    assert settings.ledger.url == "postgresql+psycopg://u:p@db/ledger"
    assert settings.paths.lake == str(tmp_path / "elsewhere")
    assert (settings.buffer.days, settings.limits.max_rejected_share) == (30, 0.5)
    assert (bill.max_events, bill.optional, bill.numeric) == (3, True, ("amount", "discount"))
    assert settings.online_store.options == {"connection_string": "db:6379"}
    assert all(type(value) is str for value in settings.online_store.options.values())


def test_a_json_list_from_the_environment(tmp_path):
    environ = {"UPDATER_MODALITIES__BILL__NUMERIC": '["amount", "a,b"]'}
    assert load(tmp_path, environ).modality("bill").numeric == ("amount", "a,b")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("UPDATER_BUFFER__DAYS", "many", "buffer.days FROM is 'many'; use a whole number"),
        ("UPDATER_MODALITIES__BILL__OPTIONAL", "yes", "optional FROM is 'yes'; use true or false"),
        ("UPDATER_MODALITIES__BILL__NUMERIC", "[amount", "is not a JSON list"),
        ("UPDATER_BUFER", "1", "config key 'bufer' FROM is unknown; did you mean 'buffer'?"),
        ("UPDATER_BUFER__DAYS", "1", "config key 'bufer' FROM is unknown; did you mean 'buffer'?"),
        ("UPDATER_LEGDER__URL", "sqlite://", "config key 'legder' FROM is unknown; did you mean 'ledger'?"),
        ("UPDATER_LEDGER__ULR", "sqlite://", "config key 'ledger.ulr' FROM is unknown; did you mean 'url'?"),
        ("UPDATER_LEDGER", "sqlite://", "ledger FROM must be a table, not 'sqlite://'"),
        ("UPDATER_PORT", "80", "config key 'port' FROM is unknown"),
        (
            "UPDATER_MODALITIES__BIL__MAX_EVENTS",
            "1",
            "UPDATER_MODALITIES__BIL__MAX_EVENTS names an unknown config section",
        ),
        ("UPDATER_MODALITIES__BILL", "1", "needs the form UPDATER_MODALITIES__BILL__KEY"),
        ("UPDATER_TIMEZONE__NAME", "UTC", "UPDATER_TIMEZONE__NAME names an unknown config section"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, variable, value, message):
    with pytest.raises(ConfigError, match=message.replace("FROM", "\\(from the environment\\)")):
        load(tmp_path, {variable: value}, timezone="UTC")


@pytest.mark.parametrize("service", ["UPDATER", "UPDATER_WEB", "UPDATER_2_ONLINE_STORE"])
def test_variables_of_a_service_of_kubernetes_are_left_alone(tmp_path, service):
    environ = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "8080",
        f"{service}_SERVICE_PORT_HTTP_METRICS": "8080",
        f"{service}_PORT": "tcp://10.0.0.1:8080",
        f"{service}_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        f"{service}_PORT_8080_TCP_PROTO": "tcp",
        f"{service}_PORT_8080_TCP_PORT": "8080",
        f"{service}_PORT_8080_TCP_ADDR": "10.0.0.1",
        f"{service}_PORT_53_UDP_ADDR": "10.0.0.1",
    }
    assert load(tmp_path, environ) == load(tmp_path)


def test_a_value_whose_name_ends_like_a_services_variable_is_still_set(tmp_path):
    environ = {"UPDATER_ONLINE_STORE__TYPE": "postgres", "UPDATER_ONLINE_STORE__PORT": "tcp://10.0.0.1:5432"}
    assert load(tmp_path, environ).online_store.options == {"port": "tcp://10.0.0.1:5432"}


def test_variables_that_are_no_settings_are_left_alone(tmp_path):
    assert load(tmp_path, dict.fromkeys(NOT_SETTINGS, "x")) == load(tmp_path)
    product = "".join(path.read_text() for path in (ROOT / "updater").rglob("*.py"))
    variables = {name for name in re.findall(r'"(UPDATER_\w+)"', product) if "__" not in name}
    assert variables <= NOT_SETTINGS


def test_the_file_is_found_by_argument_then_environment_then_working_directory(tmp_path, monkeypatch):
    for name in ("argument", "environment", "here"):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    argument, environment = tmp_path / "argument" / "updater.toml", tmp_path / "environment" / "updater.toml"
    monkeypatch.chdir(tmp_path / "here")
    assert load_settings(argument, {"UPDATER_CONFIG": str(environment)}).source == argument
    assert load_settings(None, {"UPDATER_CONFIG": str(environment)}).source == environment
    assert load_settings(None, {}).source == tmp_path / "here" / "updater.toml"


def test_a_missing_or_broken_file_is_named(tmp_path):
    source = tmp_path / "updater.toml"
    with pytest.raises(ConfigError, match=f"{re.escape(str(source))} does not exist; name one with --config"):
        load_settings(source, {})
    source.write_text("timezone = ")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(source, {})
    source.write_bytes(b'timezone = "\xff"')
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(source, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, {})


def test_an_unknown_modality_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"modality 'bil' is not declared in .*; did you mean 'bill'?"):
        load(tmp_path).modality("bil")


def test_modality_fingerprint_follows_what_a_row_becomes(tmp_path):
    def digest(**changes: object) -> str:
        return load(tmp_path, modalities=[MODALITIES[0] | changes]).modality_fingerprint("bill")

    first = digest()
    assert digest(max_events=1) == digest(optional=True) == first
    changed = [digest(text="{category}"), digest(numeric=[]), digest(category="merchant"), digest(kind="snapshot")]
    assert len({first, *changed}) == 5


def test_the_factory_of_other_tests(make_settings, tmp_path):
    first, second = make_settings(buffer={"days": 3}), make_settings("other", timezone="Asia/Tokyo")
    assert (first.buffer.days, first.buffer.num_buckets) == (3, 4)
    assert second.paths.state == str(tmp_path / "other" / "state")
    assert load_settings(first.source, {}) == first
