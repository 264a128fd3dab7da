"""How far maintenance may go: looked up once, before anything is merged."""

from dataclasses import dataclass
from datetime import date

from updater.errors import NothingCommittedError, UnfinishedWorkError
from updater.runtime.deployment import Context


@dataclass(frozen=True)
class Scope:
    """Days and generations that are settled."""

    watermark: date
    earliest_recomputable: date | None
    """First day whose window can be computed again; None: every day."""
    full_history: date | None
    """First day of which every offline row is kept; None: all."""
    rejected: date | None
    """First day whose rejected rows are kept; None: all."""
    generations: dict[int, int]
    """Newest finished generation of each bucket."""
    num_erased: int
    """Erased users that are known: what is read now lacks their rows once their erasure has ended."""


def scope_of(context: Context) -> Scope:
    """What may be merged and dropped now.

    Raises:
        NothingCommittedError: no window is committed.
        UnfinishedWorkError: a restatement or an erasure is unfinished.
    """
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError(
            "No window is committed yet, so there is nothing to maintain; run `updater run --ds …`."
        )
    retention = context.settings.retention
    num_erased = len(context.ledger.erased())
    # In this order: a restatement saves its plan before it moves a head, so without a plan what heads say has ended.
    generations = {bucket: head.generation for bucket, head in context.ledger.heads().items()}
    check_alone(context)
    earliest, known = retention.earliest_recomputable(watermark), context.ledger.earliest_recomputable()
    return Scope(
        watermark=watermark,
        earliest_recomputable=max(earliest, known) if earliest and known else earliest or known,
        full_history=retention.full_history(watermark),
        rejected=retention.rejected(watermark),
        generations=generations,
        num_erased=num_erased,
    )


def check_alone(context: Context) -> None:
    """Raise UnfinishedWorkError if a restatement or an erasure was started and not finished."""
    if context.ledger.restatement() is not None:
        raise UnfinishedWorkError(
            "A restatement was started but not finished, so nothing can be merged; run "
            f"`updater backfill --from-date {context.first_window()} --to-date {context.ledger.watermark()} "
            "--restate`.",
            kind="restatement",
        )
    if unfinished := context.ledger.unfinished_erasures():
        raise UnfinishedWorkError(
            f"The erasure of {unfinished} users was started but not finished, so nothing can be merged; run "
            "`updater user erase` with their ids again.",
            kind="erasure",
        )
