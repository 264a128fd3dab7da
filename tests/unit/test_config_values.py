"""Every value of the config is checked: all fields of all tables are walked, so that a new one cannot be forgotten."""

import dataclasses
import math
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from tests.factories import MODALITIES, SCENARIOS, toml_text
from updater.config_file import build
from updater.domain.declared.training import Training
from updater.domain.values import Checked, Share, bare, check, field_types, permitted, range_of
from updater.errors import ConfigError
from updater.settings import OnlineStore, Settings, load_settings

FREE_TEXT = {
    "paths.lake": "a directory or URL, opened when it is read",
    "paths.state": "a directory; patterns are refused",
    "paths.feature_repo": "a directory, imported by `init`",
    "ledger.url": "SQLAlchemy parses it",
    "registry.url": "SQLAlchemy parses it",
    "model.text_encoder": "a packaged name, a path or any id of the hub",
    "model.backbone": "a packaged name, a path or any id of the hub",
    "generator.url": "parsed by the table itself",
    "generator.model": "the endpoint knows its names",
    "generator.api_key_env": "checked by the table itself",
    "training.never_asked": "checked against the modalities",
    "run.ray_address": "checked when the cluster is connected to",
    "metrics.file": "a path",
    "evaluation.tasks": "a path",
    "privacy.key_env": "checked by the table itself",
    "profile.forbidden_columns": "columns of the modalities",
    "profile_training.model": "a packaged name, a path or any id of the hub",
    "modalities.name": "checked by the table itself",
    "modalities.text": "parsed by the table itself",
    "modalities.numeric": "columns of the lake",
    "modalities.category": "a column of the lake",
    "scenarios.name": "checked by the table itself",
    "scenarios.domain": "checked by the table itself",
    "scenarios.query": "plain language, not empty",
    "permissions.domain": "one of the scenarios' domains",
    "permissions.roles": "the company knows its roles",
    "timezone": "one of pendulum's",
}
"""Strings that are no choice of ours, each with what stands in for a list of choices."""

UNLIMITED = {
    "alerts.max_hours_since_as_of",
    "alerts.max_days_since_last_event",
    "alerts.max_changed_share_factor",
}
"""The only numbers that may be infinite: a threshold that is never exceeded."""


def tables(cls: type = Settings) -> Iterator[type]:
    """The class of every table of the config."""
    for hint in field_types(cls).values():
        item = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if dataclasses.is_dataclass(item):
            yield item


def values() -> Iterator[tuple[str, Any]]:
    """The full key and the declared type of every value; of a list, of its items."""
    for cls in (Settings, *tables()):
        prefix = f"{cls.table}." if issubclass(cls, Checked) else ""
        for name, hint in field_types(cls).items():
            item = get_args(hint)[0] if get_origin(hint) is tuple else hint
            if not dataclasses.is_dataclass(item):
                yield prefix + name, item


VALUES = dict(values())
NUMBERS = {name: hint for name, hint in VALUES.items() if bare(hint) in (int, float)}
CHOICES = {name: hint for name, hint in VALUES.items() if get_origin(hint) is Literal}


def write(directory: Path, key: str, value: Any) -> Path:
    table, _, name = key.rpartition(".")
    raw: dict[str, Any] = {"modalities": [dict(MODALITIES[0])], "scenarios": SCENARIOS}
    raw.setdefault(table, {})
    (raw[table][0] if isinstance(raw[table], list) else raw[table])[name] = value
    (directory / "updater.toml").write_text(toml_text(raw).replace("NaN", "nan").replace("Infinity", "inf"))
    return directory / "updater.toml"


def below_and_above(hint: Any) -> list[float]:
    """The numbers next to the range of `hint`, outside it."""
    ends, unit = range_of(hint), 1 if bare(hint) is int else 1e-9
    outside: list[Any] = [ends.gt] if ends.gt is not None else [ends.ge - unit] if ends.ge is not None else []
    if ends.lt is not None:
        outside.append(ends.lt)
    elif ends.le is not None and ends.le < math.inf:
        outside.append(ends.le + unit)
    return outside


def test_every_table_checks_itself():
    assert len(list(tables())) == 22
    assert not [cls for cls in tables() if not issubclass(cls, Checked)]
    for name, hint in field_types(Settings).items():
        item = get_args(hint)[0] if get_origin(hint) is tuple else hint
        assert not dataclasses.is_dataclass(item) or item.table == name


def test_every_kind_of_value_is_known():
    others = {
        name: hint
        for name, hint in VALUES.items()
        if name not in NUMBERS | CHOICES and bare(hint) not in (bool, str, date, date | None)
    }
    assert set(others) == {"source", "online_store.options", "auth.options", "profile.wording"}


def test_every_number_has_a_range():
    assert not [name for name, hint in NUMBERS.items() if not below_and_above(hint)]
    open_above = {name for name, hint in NUMBERS.items() if range_of(hint).le == math.inf}
    assert open_above == UNLIMITED
    floats = {name: range_of(hint) for name, hint in NUMBERS.items() if bare(hint) is float}
    assert not [name for name, ends in floats.items() if ends.le is ends.lt is None]


def test_every_string_is_a_choice_or_free_for_a_reason():
    assert {name for name, hint in VALUES.items() if hint is str} == set(FREE_TEXT)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_its_range_is_refused_at_load(name: str, tmp_path: Path) -> None:
    hint = NUMBERS[name]
    shown = name.replace("modalities.", "modalities.bill.")
    for value in [*below_and_above(hint), *([] if bare(hint) is int else [math.nan])]:
        with pytest.raises(ConfigError) as caught:
            load_settings(write(tmp_path, name, value), {})
        assert str(caught.value) == f"{shown} is {value!r}; use {permitted(hint)}."


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_there_is_not_is_refused_at_load(name: str, tmp_path: Path) -> None:
    shown = name.replace("modalities.", "modalities.bill.")
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, name, "other"), {})
    assert str(caught.value) == f"{shown} is 'other'; use {permitted(CHOICES[name])}."
    assert all(repr(choice) in str(caught.value) for choice in get_args(CHOICES[name]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.variant", "papre", "training.variant is 'papre'; use 'paper' or 'demo'."),
        ("training.precision", "bf16", "training.precision is 'bf16'; use 'auto', 'float32' or 'bfloat16'."),
        ("model.precision", "bf16", "model.precision is 'bf16'; use 'float32' or 'bfloat16'."),
        ("training.future_share", 7, "training.future_share is 7; use a number from 0 to 1."),
        ("training.warmup_steps", -1, "training.warmup_steps is -1; use a whole number of 0 or more."),
        ("training.objective", "papre", "training.objective is 'papre'; use 'dense' or 'paper'."),
        ("training.temperature", -1, "training.temperature is -1; use a finite number above 0."),
        ("training.until", "soon", "training.until is 'soon'; use a date, YYYY-MM-DD."),
        ("training.never_asked", ["item"], "training.never_asked has 'item'; write modality:category."),
        ("buffer.days", 10**9, "buffer.days is 1000000000; use a whole number from 1 to 36500."),
        (
            "alerts.max_days_since_last_event",
            -1,
            "alerts.max_days_since_last_event is -1; use a number of 0 or more, or inf.",
        ),
    ],
)
def test_what_is_said(key: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, key, value), {})
    assert str(caught.value) == message


def test_an_environment_that_is_out_of_range_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, "training.seed", 7)
    with pytest.raises(ConfigError, match=r"variant \(from the environment\) is 'papre'; use 'paper' or 'demo'"):
        load_settings(source, {"UPDATER_TRAINING__VARIANT": "papre"})
    with pytest.raises(ConfigError, match=r"type \(from the environment\) is 'dynamo'; use 'sqlite', 'redis' or"):
        load_settings(source, {"UPDATER_ONLINE_STORE__TYPE": "dynamo"})
    assert (
        load_settings(source, {"UPDATER_ALERTS__MAX_DAYS_SINCE_LAST_EVENT": "inf"}).alerts.max_days_since_last_event
        == math.inf
    )
    anchors = load_settings(source, {"UPDATER_EVALUATION__TEST": "2024-01-02,2024-02-03"}).evaluation.test
    assert anchors == (date(2024, 1, 2), date(2024, 2, 3))


def test_a_table_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"training\.future_share is 7; use a number from 0 to 1"):
        Training(future_share=7)
    with pytest.raises(ConfigError, match=r"training\.steps is -1"):
        dataclasses.replace(Training(), steps=-1)
    with pytest.raises(ConfigError, match=r"online_store\.type is 'dynamo'"):
        OnlineStore(type="dynamo")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hint", "value"), [(Share, True), (Share, "0.5"), (int, 1.0), (bool, 1), (date, datetime(2024, 1, 2)), (str, 3)]
)
def test_nothing_is_taken_for_what_it_only_resembles(hint: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match="key is "):
        check(hint, value, "key")


@dataclasses.dataclass(frozen=True)
class Rule:
    share: Share = 0.5


def test_other_dataclasses_are_checked_when_they_are_read() -> None:
    with pytest.raises(ConfigError, match=r"rule\.share is 2; use a number from 0 to 1"):
        build(Rule, {"share": 2}, "rule")
