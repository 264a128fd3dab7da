"""Rows of the ledger as values. Datetimes are timezone-aware UTC, with microseconds; `ds` is a landing day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PartitionRecord:
    """One processed lake partition: a landed day of a modality."""

    modality: str
    ds: date
    source_etag: str
    """Cheap fingerprint of the lake files: names, sizes, modification times or etags."""
    source_digest: str
    """Digest of the content of the lake files."""
    modality_fingerprint: str
    """Fingerprint of the modality's declaration that the partition was read with."""
    events_file: str | None
    """Name below `events/<modality>/ds=…/`; None if the partition had no good row."""
    num_rows: int
    num_rejected: int
    num_bytes: int
    recorded_at: datetime
    num_erased: int = 0
    """Rows of erased users, left out when the partition was read or taken out later."""


@dataclass(frozen=True, kw_only=True)
class WindowRecord:
    """One window, from its first attempt to its completion."""

    ds: date
    as_of: datetime
    opened_at: datetime
    """Clock of the first attempt; every retry uses it, so that all attempts write the same bytes."""
    completed_at: datetime | None
    counts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Head:
    """What was last published for a bucket."""

    bucket: int
    ds: date
    digest: str
    """Digest of the bucket's outputs for `ds`."""
    generation: int
    """Grows by one with every restatement, so that restated files never take the name of older ones."""
    model_version: int
    scenarios: dict[str, str]
    """Fingerprint of each scenario's query, by scenario name."""
    modalities: dict[str, str]
    """Fingerprint of each modality's declaration including `max_events`, by modality name."""


@dataclass(frozen=True, kw_only=True)
class BucketRecord:
    """History of a bucket: one record per landing day and generation."""

    bucket: int
    ds: date
    generation: int
    digest: str
    counts: dict[str, Any]
    files: list[str]
    committed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One model version; at most one is live."""

    version: int
    digest: str
    """Digest of the weights and the model's config."""
    name: str
    trained: bool
    created_at: datetime
    live: bool


@dataclass(frozen=True, kw_only=True)
class RetiredFile:
    """A file that nobody reads any more, waiting for the end of its grace period."""

    path: str
    """Below the state's root."""
    since: datetime
    """When it was first found, by the clock of that maintenance."""
    size: int
    """Bytes: a file of that name with others is another one, whose grace period begins anew."""


@dataclass(frozen=True, kw_only=True)
class FormerFiles:
    """What files of the state said that the ledger says since revision 0005."""

    retired: Sequence[RetiredFile] = ()
    restatement: datetime | None = None
    """When the restatement that is under way began; None if there is none."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What readers can have, at one instant: what a new model version is compared with before it becomes live."""

    live: int | None
    """Live model version."""
    watermark: date | None
    """Landing day of the newest completed window."""
    heads: dict[int, Head]
    num_erased: int
    """Users that were erased, or are about to be."""
    num_promotions: int
    """Promotions ever."""

    @property
    def is_idle(self) -> bool:
        """False while some bucket is ahead of the watermark, or a restatement has taken it back behind."""
        return all(head.ds == self.watermark for head in self.heads.values())


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """Something that somebody did on purpose; never changed or removed."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: dict[str, Any]
