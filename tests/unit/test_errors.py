"""Errors: an exit code for each kind, attributes that survive a process, and what is worth another try."""

import pickle
import re
from collections.abc import Iterator
from datetime import date

import pytest

from updater import errors
from updater.airflow.retries import TASK_DEFAULTS
from updater.errors import (
    ConcurrentUpdateError,
    HeadConflictError,
    NotLandedError,
    ServiceUnavailableError,
    UnfinishedWorkError,
    UpdaterError,
    VerificationError,
    WindowOrderError,
)


def kinds(base: type[UpdaterError] = UpdaterError) -> Iterator[type[UpdaterError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from kinds(kind)


def test_the_table_of_the_module_says_what_the_classes_say() -> None:
    rows = re.findall(r"^[│├└─ ]*(\w+Error) +(?:exit code )?(\d+)( ?\*?)", str(errors.__doc__), re.MULTILINE)
    reported = {name: (int(code), mark.strip() == "*") for name, code, mark in rows}
    base = reported.pop("UpdaterError")
    assert base == (1, False)
    assert reported == {kind.__name__: (kind.exit_code, kind.retryable) for kind in kinds() if kind is not UpdaterError}


def test_kinds_that_ask_for_different_deeds_have_different_codes() -> None:
    codes: dict[int, type[UpdaterError]] = {}
    for kind in kinds():
        assert issubclass(kind, codes.setdefault(kind.exit_code, kind)), kind
    assert not {0, 130} & codes.keys()


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_airflow_tries_again_exactly_where_that_may_help(kind: type[UpdaterError]) -> None:
    [rule] = TASK_DEFAULTS["retry_policy"].rules
    names = {f"{base.__module__}.{base.__name__}" for base in kind.__mro__}
    assert bool(names & set(rule.exception)) is not kind.retryable


@pytest.mark.parametrize(
    "error",
    [
        WindowOrderError("a gap", ds=date(2025, 1, 3), resume_from=date(2025, 1, 2), bucket=4),
        HeadConflictError("other values", cause="window", bucket=1, published="abc"),
        UnfinishedWorkError("a restatement", kind="restatement"),
        NotLandedError("not there", modality="bill", ds=date(2025, 1, 3)),
        VerificationError("two differences", findings=["one", "two"]),
        ServiceUnavailableError("no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_sentence_and_attributes_between_processes(error: UpdaterError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_is_unknown_is_none_and_what_is_not_declared_is_a_mistake() -> None:
    assert WindowOrderError("a gap").resume_from is None
    with pytest.raises(TypeError, match="no attribute 'bukket'"):
        ConcurrentUpdateError("moved", bukket=3)
