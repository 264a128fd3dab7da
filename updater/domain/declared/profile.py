"""What the config says about the textual profile beside the embeddings (docs/profile.md)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from updater.domain.columns import PROFILE, PROFILE_DOMAIN, PROFILE_LLM, PROFILE_LLM_DOMAIN
from updater.domain.declared.modality import Modality
from updater.domain.declared.profile_writer import ProfileWriter
from updater.domain.declared.scenario import Scenario
from updater.domain.fingerprint import fingerprint
from updater.domain.values import Checked, Positive, PositiveShare
from updater.errors import ConfigError

RULES = "rules@4"
"""Who writes the text: fixed rules. Another text for the same events is another version."""
MAX_WORDING = 40


@dataclass(frozen=True, kw_only=True)
class ProfileChoice(Checked, table="profile"):
    """Whether users have a textual profile, and how it is written. Raises ConfigError for values that contradict."""

    enabled: bool = False
    """True: a row of the feature view `user_text_profile_v1` for each changed user of a window."""
    in_domains: bool = False
    """True: the feature services of the domains have the profile as well, beside `profile_v1`."""
    budget_tokens: Annotated[int, Interval(ge=16, le=4096)] = 120
    """Longest text; a token is four bytes of UTF-8."""
    long_half_life_days: Positive = 30.0
    """Age, counted from the user's newest event, at which an event counts half for what is regular."""
    short_half_life_days: Positive = 5.0
    """The same for what is recent."""
    min_long_share: PositiveShare = 0.05
    """Least share of a modality's long-term weight with which a value is called regular."""
    min_recent_share: PositiveShare = 0.1
    """Least share of a modality's recent weight with which a value is called recent."""
    forbidden_columns: tuple[str, ...] = ()
    """Lake columns, as `column` or `modality:column`, that no profile is made of."""
    language: Literal["en"] = "en"
    """Language of the sentences around the quoted values."""
    wording: Mapping[str, str] = field(default_factory=dict)
    """What a modality is called in the text, by its name; default: the name."""
    language_model: ProfileWriter = field(default_factory=ProfileWriter)
    """A language model that keeps texts of its own beside; nothing of it is in the rules' texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.short_half_life_days >= self.long_half_life_days:
            raise ConfigError(
                f"profile.short_half_life_days is {self.short_half_life_days:g}; use less than the "
                f"{self.long_half_life_days:g} of profile.long_half_life_days."
            )
        if self.language_model.enabled and not self.enabled:
            raise ConfigError(
                "profile.language_model.enabled is true, but profile.enabled is false; a language model's texts stand "
                "beside those of the rules, so enable both."
            )
        for name, words in self.wording.items():
            if not words.strip() or not words.isprintable() or '"' in words or len(words) > MAX_WORDING:
                raise ConfigError(
                    f"profile.wording.{name} is {words!r}; use up to {MAX_WORDING} printable characters without quotes."
                )

    def noun(self, modality: str) -> str:
        """What a modality is called in the text."""
        return self.wording.get(modality, modality.replace("_", " "))

    def counted_column(self, modality: Modality) -> Literal["category", "text", ""]:
        """The column of the event files whose values are counted: the category, else the text; empty if there is
        neither, or if what it is made of is forbidden.
        """
        read = (modality.category,) if modality.category else modality.text_columns
        if not read or any({name, f"{modality.name}:{name}"} & {*self.forbidden_columns} for name in read):
            return ""
        return "category" if modality.category else "text"

    def compared_columns(self, modality: Modality) -> tuple[str, ...]:
        """Columns of the event files in which a corrected event differs although its text and numbers do not."""
        return ("category",) if self.enabled and self.counted_column(modality) == "category" else ()

    @property
    def fingerprint(self) -> str:
        """Digest of all that the rules' text depends on beside the user's events."""
        return fingerprint(
            RULES,
            self.budget_tokens,
            self.long_half_life_days,
            self.short_half_life_days,
            self.min_long_share,
            self.min_recent_share,
            sorted(self.forbidden_columns),
            self.language,
            dict(self.wording),
        )


def check_profile(choice: ProfileChoice, modalities: Collection[Modality], scenarios: Collection[Scenario]) -> None:
    """Raise ConfigError if the profile names what is not there, or a scenario has a name of the profile's."""
    names = {modality.name for modality in modalities}
    if unknown := sorted(choice.wording.keys() - names):
        raise ConfigError(f"profile.wording names modality {unknown[0]!r}, which is unknown; known: {_all(names)}.")
    columns = {name for modality in modalities for name in modality.columns}
    known = columns | {f"{modality.name}:{name}" for modality in modalities for name in modality.columns}
    if unknown := sorted(set(choice.forbidden_columns) - known):
        raise ConfigError(
            f"profile.forbidden_columns names {unknown[0]!r}, which no modality declares; known: {_all(columns)}."
        )
    if not choice.enabled:
        return
    for scenario in scenarios:
        if scenario.name in (PROFILE, PROFILE_LLM) or scenario.domain in (PROFILE_DOMAIN, PROFILE_LLM_DOMAIN):
            raise ConfigError(
                f"scenario {scenario.name!r} of domain {scenario.domain!r} has a name of the textual profile; rename "
                f"it: {PROFILE!r} is no scenario and {PROFILE_DOMAIN!r} no domain while profile.enabled is true."
            )


def _all(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
