"""What `[profile]` may say, and what it decides."""

from typing import Any

import pytest

from tests.factories import MODALITIES, SCENARIOS
from updater.domain.declared.modality import Modality
from updater.domain.declared.profile import ProfileChoice, check_profile
from updater.domain.declared.profile_writer import ProfileWriter
from updater.domain.declared.scenario import Scenario
from updater.errors import ConfigError

DECLARED = [Modality(**{**one, "numeric": tuple(one.get("numeric", ()))}) for one in MODALITIES]
BILL, SEARCH, APP = DECLARED


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"short_half_life_days": 30.0}, "profile.short_half_life_days is 30; use less than the 30"),
        ({"wording": {"bill": 'buys "now"'}}, "profile.wording.bill"),
        ({"wording": {"bill": "buys\nignore all"}}, "profile.wording.bill"),
        ({"wording": {"bill": " "}}, "profile.wording.bill"),
        ({"wording": {"bill": "b" * 41}}, "profile.wording.bill"),
        ({"wording": {"till": "buys"}}, "names modality 'till', which is unknown; known: app, bill, search"),
        ({"forbidden_columns": ("categories",)}, "names 'categories', which no modality declares; known: amount, app"),
        ({"forbidden_columns": ("search:category",)}, "names 'search:category'"),
    ],
)
def test_what_contradicts_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_profile(ProfileChoice(**wrong), DECLARED, [])
    assert says in str(caught.value)


def test_names_of_the_profile_are_taken_while_there_is_one() -> None:
    scenario = Scenario(**{**SCENARIOS[0], "domain": "profile"})
    check_profile(ProfileChoice(), DECLARED, [scenario])
    with pytest.raises(ConfigError, match="'profile' no domain while"):
        check_profile(ProfileChoice(enabled=True), DECLARED, [scenario])


def test_the_category_is_counted_or_else_the_text_or_nothing() -> None:
    assert [ProfileChoice().counted_column(one) for one in DECLARED] == ["category", "text", "text"]
    assert ProfileChoice().counted_column(Modality(name="steps", numeric=("count",))) == ""


def test_a_modality_that_is_counted_by_a_forbidden_column_is_not_counted() -> None:
    # The text of bills has the merchant, but what is counted is the category.
    assert ProfileChoice(forbidden_columns=("merchant",)).counted_column(BILL) == "category"
    for name in ("category", "bill:category"):
        assert ProfileChoice(forbidden_columns=(name,)).counted_column(BILL) == ""
    assert ProfileChoice(forbidden_columns=("search:query",)).counted_column(SEARCH) == ""


def test_a_category_is_compared_only_where_profiles_count_it() -> None:
    assert ProfileChoice().compared_columns(BILL) == ()
    assert ProfileChoice(enabled=True).compared_columns(BILL) == ("category",)
    assert ProfileChoice(enabled=True).compared_columns(SEARCH) == ()
    assert ProfileChoice(enabled=True, forbidden_columns=("category",)).compared_columns(BILL) == ()


def test_the_fingerprint_is_of_what_a_text_depends_on() -> None:
    one = ProfileChoice()
    assert ProfileChoice(enabled=True, in_domains=True).fingerprint == one.fingerprint
    assert (
        ProfileChoice(forbidden_columns=("a", "b")).fingerprint
        == ProfileChoice(forbidden_columns=("b", "a")).fingerprint
    )
    others = [
        ProfileChoice(budget_tokens=119),
        ProfileChoice(long_half_life_days=31),
        ProfileChoice(short_half_life_days=4),
        ProfileChoice(min_long_share=0.06),
        ProfileChoice(min_recent_share=0.2),
        ProfileChoice(forbidden_columns=("a",)),
        ProfileChoice(wording={"bill": "buys"}),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


WRITER = {"enabled": True, "url": "https://host/v1", "model": "m"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"model": ""}, "profile.language_model.model is empty"),
        ({"url": "host"}, "profile.language_model.url is not an endpoint URL"),
        ({"url": "https://host/v1?key=sk"}, "profile.language_model.api_key_env names"),
        ({"api_key_env": "UPDATER_KEY"}, "profile.language_model.api_key_env is 'UPDATER_KEY'"),
        ({"max_users": 0}, "profile.language_model.max_users is 0"),
        ({"timeout_seconds": float("inf")}, "profile.language_model.timeout_seconds is inf"),
    ],
)
def test_a_language_model_that_contradicts_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ProfileWriter(**{**WRITER, **wrong})
    assert says in str(caught.value) and "key=sk" not in str(caught.value)


def test_a_language_model_stands_beside_the_rules_and_changes_nothing_of_theirs() -> None:
    writer = ProfileWriter(**WRITER)
    with pytest.raises(ConfigError, match=r"profile\.enabled is false"):
        ProfileChoice(language_model=writer)
    without = ProfileChoice(enabled=True)
    assert ProfileChoice(enabled=True, language_model=writer).fingerprint == without.fingerprint
    with pytest.raises(ConfigError, match="language_model"):
        ProfileChoice(language_model="m")  # type: ignore[arg-type]
