"""What every step needs: the settings, the ledger, a clock that was read once, and where things lie."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from updater.domain import columns
from updater.domain.declared.modality import Modality
from updater.domain.erasure import Erased
from updater.domain.fingerprint import fingerprint
from updater.domain.shards import Shards
from updater.domain.window import Window, buffer_start, day_window
from updater.errors import ConfigError
from updater.lake import partitions
from updater.lake.landing import Landed, read_partition
from updater.lake.pseudonyms import pseudonyms
from updater.ledger import LedgerReader, LedgerWriter, ModelRecord, open_reader, open_writer
from updater.runtime.state_place import check_place
from updater.settings import Settings
from updater.state.event_store import EventFile
from updater.state.layout import StateLayout

Progress = Callable[[str, int, int], None]
"""Called with a label, the units done and the units in all."""


_FORMER_KEYS = {"privacy.pseudonymize": "privacy.pseudonymise"}
"""Config keys that the ledger still has under the name with which their rows were written."""
_BEFORE_A_CHOICE = {"buffer.num_shards": "1"}
"""What a state has whose ledger says nothing of it: such a value is not written down, as it was not before."""
KEY_FINGERPRINT = "privacy.key"
"""Setting of the ledger with the fingerprint of the key that made the pseudonyms."""


def no_progress(label: str, done: int, total: int) -> None:
    """For callers that show none."""


def clock() -> datetime:
    """The current time, or SOURCE_DATE_EPOCH (seconds) where a run has to be reproduced."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)


@dataclass(frozen=True)
class Context:
    """One process's view of a deployment, for whoever looks: its ledger cannot be written to."""

    settings: Settings
    ledger: LedgerReader
    now: datetime
    """When the work began: one instant for all that belongs together."""

    def window(self, ds: date) -> Window:
        """The window of landing day `ds`."""
        return day_window(ds, self.settings.timezone)

    def buffer_start(self, window: Window) -> datetime:
        """First instant that the buffer holds at the window's end."""
        return buffer_start(window, self.settings.buffer.days, self.settings.timezone)

    def lake(self, modality: str, ds: date) -> str:
        """Directory of a landed day of a modality."""
        return partitions.day_directory(partitions.join(self.settings.paths.lake, modality), ds)

    def landed(self, modality: Modality, ds: date, erased: Erased | None = None) -> Landed:
        """A landed day of a modality, read and checked, with stored ids (pseudonyms if enabled) and without rows of
        `erased` users: those whom the ledger has now, if left out.

        Raises:
            DataRefusedError: a file is unreadable or its schema is wrong.
        """
        settings = self.settings
        return read_partition(
            self.lake(modality.name, ds),
            modality,
            self.window(ds),
            settings.limits,
            settings.buffer.num_buckets,
            pseudonyms(settings),
            self.ledger.erased() if erased is None else erased,
            settings.run.landing_mb << 20,
        )

    @property
    def shards(self) -> Shards:
        """The shards of the state."""
        return Shards(self.settings.buffer.num_buckets, self.settings.buffer.num_shards)

    @property
    def layout(self) -> StateLayout:
        """Where everything lies in the state."""
        return StateLayout(self.settings.paths.state)

    def model_directory(self, version: int) -> str:
        """Path of a model version's files on its filesystem."""
        return partitions.filesystem(self.layout.model(version))[1]

    def event_files(self, modality: str, last: date) -> list[EventFile]:
        """Event files of the modality's landed days up to `last`, inclusive."""
        return self.all_event_files(last, modality)[modality]

    def all_event_files(
        self, last: date, modality: str | None = None, buckets: Collection[int] = ()
    ) -> dict[str, list[EventFile]]:
        """Event files of landed days up to `last`, inclusive, of every modality or of one; those that may hold rows of
        `buckets`, of which none means all.
        """
        files: dict[str, list[EventFile]] = {m.name: [] for m in self.settings.modalities}
        for record in self.ledger.partitions(modality, to_date=last):
            if record.events_file and record.modality in files:
                files[record.modality] += self.files_of_day(record.modality, record.ds, record.events_file, buckets)
        return files

    def files_of_day(self, modality: str, ds: date, name: str, buckets: Collection[int] = ()) -> list[EventFile]:
        """The event files of a landed day, one per shard or per shard of `buckets`, by the name that the ledger has:
        with a `/` in it they were merged.
        """
        return [self.event_file(modality, ds, name, shard) for shard in self.shards.of(buckets)]

    def event_file(self, modality: str, ds: date, name: str, shard: int) -> EventFile:
        """The event file of a landed day and a shard."""
        path = self.layout.event_file(modality, ds, self.shards.file(name, shard))
        return EventFile(ds, path, merged="/" in name, buckets=self.shards.buckets(shard))

    def live_model(self) -> ModelRecord:
        """The model version that the daily update uses. Raises ConfigError before `updater init`."""
        model = self.ledger.live_model()
        if model is None:
            raise ConfigError("No model is live; run `updater init`.")
        return model

    def feature_views(self, version: int | None = None) -> list[str]:
        """Feature views of a model version, or of the live one, and those that depend on no model."""
        profile = [columns.PROFILE_VIEW] if self.settings.profile.enabled else []
        return [*self.model_views(version or self.live_model().version), columns.SUMMARIES_VIEW, *profile]

    def model_views(self, version: int) -> list[str]:
        """The feature views whose values a model version makes."""
        return [columns.scenario_view(scenario.name, version) for scenario in self.settings.scenarios]

    def has_model(self, version: int) -> bool:
        """False for a model version whose files were removed."""
        return partitions.exists(self.layout.model_mark(version))

    def first_window(self) -> date | None:
        """Landing day of the first window ever opened; it takes in the whole buffer at once."""
        return self.ledger.first_window()

    def scenario_fingerprints(self) -> dict[str, str]:
        """Per scenario a digest of what its embedding depends on beyond the prefix."""
        return {scenario.name: fingerprint(scenario.query) for scenario in self.settings.scenarios}

    def published_fingerprints(self) -> dict[str, str]:
        """The same, and a digest of how the textual profile is written where there is one: what a head has."""
        choice = self.settings.profile
        return {**self.scenario_fingerprints(), **({columns.PROFILE: choice.fingerprint} if choice.enabled else {})}

    def modality_fingerprints(self) -> dict[str, str]:
        """Per modality a digest of its declaration, including the cap on event tokens."""
        names = [(m.name, m.max_events) for m in self.settings.modalities]
        return {name: fingerprint(self.settings.modality_fingerprint(name), cap) for name, cap in names}


@dataclass(frozen=True)
class WritableContext(Context):
    """The same for whoever changes the state."""

    ledger: LedgerWriter
    read_clock: Callable[[], datetime] | None = None
    """Reads the current time; None where time stands still at `now`."""

    def time(self) -> datetime:
        """The instant at which something finished."""
        return self.read_clock() if self.read_clock else self.now


def open_context(settings: Settings, now: datetime | None = None) -> Context:
    """Open the ledger to look at it, and check that the config still fits the state.

    Args:
        settings: the config.
        now: when the work began; the clock's time if left out.

    Raises:
        ConfigError: the ledger is not initialized, or a value that state depends on was changed.
    """
    check_place(settings)
    ledger = open_reader(settings.ledger.url)
    check_fixed_values(ledger, settings)
    return Context(settings, ledger, now or clock())


def open_writable(settings: Settings, now: datetime | None = None) -> WritableContext:
    """Open the ledger to write to it, and check that the config still fits the state.

    Args:
        settings: the config.
        now: when the work began, and time stands still there; if left out, the time of the clock, which advances.

    Raises:
        ConfigError: the ledger is not initialized, or a value that state depends on was changed.
    """
    check_place(settings)
    ledger = open_writer(settings.ledger.url)
    check_fixed_values(ledger, settings)
    return WritableContext(settings, ledger, now or clock(), None if now else clock)


def check_fixed_values(ledger: LedgerReader, settings: Settings) -> None:
    """Raise ConfigError if a value that the state depends on is not the one that the state was made with."""
    known = ledger.settings()
    for key, value in {**_BEFORE_A_CHOICE, **fixed_values(settings)}.items():
        stored = known.get(setting_key(key), _BEFORE_A_CHOICE.get(key) if known else None)
        if stored is None or stored == value:
            continue
        if key.startswith("modality."):
            raise ConfigError(
                f"{key} has another kind, text, numeric or category in {settings.source} than the state was made with; "
                "set it back, or start a new state."
            )
        if key == KEY_FINGERPRINT:
            raise ConfigError(
                f"The key in ${settings.privacy.key_env} is not the one that the state was made with; "
                "set that one, or start a new state."
            )
        raise ConfigError(
            f"{key} is {value!r} in {settings.source} but the state was made with {stored!r}; "
            "set it back, or start a new state."
        )


def setting_key(key: str) -> str:
    """What the ledger calls the config key `key`."""
    return _FORMER_KEYS.get(key, key)


def fixed_values(settings: Settings) -> dict[str, str]:
    """Config values that cannot change once state exists. Raises ConfigError if a key is needed and missing."""
    hashes = pseudonyms(settings)
    values = {
        **{f"modality.{m.name}": settings.modality_fingerprint(m.name) for m in settings.modalities},
        "timezone": settings.timezone,
        "buffer.num_buckets": str(settings.buffer.num_buckets),
        "buffer.num_shards": str(settings.buffer.num_shards),
        "buffer.days": str(settings.buffer.days),
        "model.text_encoder": settings.model.text_encoder,
        "privacy.pseudonymize": str(settings.privacy.pseudonymize).lower(),
        **({KEY_FINGERPRINT: hashes.fingerprint} if hashes else {}),
    }
    return {key: value for key, value in values.items() if _BEFORE_A_CHOICE.get(key) != value}


def day_before(ds: date) -> date:
    """The day before `ds`."""
    return ds - timedelta(days=1)


def day_after(ds: date) -> date:
    """The day after `ds`."""
    return ds + timedelta(days=1)
