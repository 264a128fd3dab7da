"""One day of the texts that a language model keeps: ask about the users who changed, check, write, bring online.

It comes after the day's publishing and touches nothing of it: its rows are a view of its own, its requests and replies
a directory of its own. Replies are kept before a row is written, and a row that is written stays, so a run that was
killed anywhere is simply run again.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b

from updater.domain.buckets import bucket_of
from updater.domain.columns import PROFILE_LLM_VIEW
from updater.domain.window import Window
from updater.errors import ConfigError, NothingCommittedError, WindowOrderError
from updater.language_models.speaker import Speaker
from updater.pipeline.changes import read_changes
from updater.pipeline.daily.publishing.publish import materialize
from updater.pipeline.monitor import audit
from updater.pipeline.profile_llm.asking import Asker
from updater.pipeline.profile_llm.bucket import BucketUpdate
from updater.pipeline.profile_llm.speakers import open_speaker
from updater.profile.language_model.prompt import updater_name
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress
from updater.runtime.session import Session
from updater.runtime.state_lock import Lock, StateLock
from updater.state.bucket_files import all_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProfileUpdateReport:
    """What a day of a language model's texts did."""

    ds: str
    updater: str
    """Who wrote: `llm:<model>@<digest of the rules>`."""
    users: int = 0
    """Users who changed and are asked about: at most `max_users`."""
    left_out: int = 0
    """Users who changed and are not, because they are more than that."""
    already_done: int = 0
    """Users who had their text of this day from an earlier run."""
    asked: int = 0
    """Requests that were sent and replied to."""
    kept: int = 0
    """Replies that an earlier run had."""
    failed: int = 0
    """Requests without a reply; running it again asks them again."""
    accepted: int = 0
    """Texts written."""
    withdrawn: int = 0
    """Texts emptied, because nothing that they name is known any more, or none may be made of it."""
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Replies that were not taken, by reason; the users keep the texts that they had."""
    rows: int = 0
    """Rows of the day brought online."""
    overtaken_by: str | None = None
    """A later day that has texts already: a chain only goes on, so nothing was done."""


def update_profiles(
    context: WritableContext,
    ds: date | None = None,
    speaker: Speaker | None = None,
    progress: Progress = no_progress,
) -> ProfileUpdateReport:
    """Have the language model of `[profile.language_model]` write the texts of a day.

    Args:
        context: the deployment.
        ds: landing day of a committed window; default: the newest one.
        speaker: the model; default: the one that the config names.
        progress: is told how far it is.

    Raises:
        ConfigError: it is not switched on, the model is not there, or refuses every request.
        NothingCommittedError: no window is committed.
        WindowOrderError: the day has no committed window, or its files were merged.
        ServiceUnavailableError: the endpoint does not answer. What it replied before is written.
    """
    choice = context.settings.profile.language_model
    if not choice.enabled:
        raise ConfigError(
            f"{choice.table}.enabled is false in {context.settings.source}; set it, name a model, and run "
            "`updater init`."
        )
    window = _window(context, ds)
    owned = open_speaker(context.settings) if speaker is None else None
    model = owned or speaker
    assert model is not None
    try:
        with StateLock(context, Lock.PROFILES).exclusive(), Session(context) as session:
            return _update(context, session, window, model, progress)
    finally:
        if owned is not None:
            owned.close()


def _update(
    context: WritableContext, session: Session, window: Window, speaker: Speaker, progress: Progress
) -> ProfileUpdateReport:
    updater = updater_name(speaker.model)
    newest = max((file.last for file in all_files(context.layout.offline(PROFILE_LLM_VIEW))), default=None)
    if newest is not None and newest > window.ds:
        return ProfileUpdateReport(str(window), updater, overtaken_by=newest.isoformat())
    # What a killed run wrote goes online; and where the view is not registered, nothing is asked in vain.
    materialize(context, window, [PROFILE_LLM_VIEW])
    changed = changed_users(context, window)
    chosen = changed[: context.settings.profile.language_model.max_users]
    by_bucket: dict[int, list[str]] = defaultdict(list)
    for user in sorted(chosen):
        by_bucket[bucket_of(user, context.settings.buffer.num_buckets)].append(user)
    asker = Asker(speaker, context.settings.profile.language_model.concurrency)
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for bucket in range(context.settings.buffer.num_buckets):
        progress(f"updating profiles of {window}", bucket, context.settings.buffer.num_buckets)
        update = BucketUpdate(context, session, window, bucket, speaker, asker)
        update.run(by_bucket[bucket])
        counts += update.counts
        rejected += update.rejected
    rows = materialize(context, window, [PROFILE_LLM_VIEW])[PROFILE_LLM_VIEW]
    report = ProfileUpdateReport(
        ds=str(window),
        updater=updater,
        users=len(chosen),
        left_out=len(changed) - len(chosen),
        already_done=counts["already_done"],
        asked=asker.num_asked,
        kept=counts["kept"],
        failed=asker.num_failed,
        accepted=counts["accepted"],
        withdrawn=counts["withdrawn"],
        rejected=dict(sorted(rejected.items())),
        rows=rows,
    )
    logger.info("profiles of %s: %s", window, report)
    if counts["accepted"] or counts["withdrawn"]:
        audit.record(context, "profile update", ds=str(window), updater=updater, texts=report.accepted)
    if asker.has_given_up and asker.last_error is not None:
        raise asker.last_error
    return report


def changed_users(context: Context, window: Window) -> Sequence[str]:
    """Users who changed in a window, in an order that is always the same and depends on nothing but their ids."""
    users: set[str] = set()
    for modality in context.settings.modalities:
        users.update(read_changes(context, window, modality.name)["user_id"].to_pylist())
    users -= context.ledger.erased().among(users)
    return sorted(users, key=lambda user: blake2b(user.encode(), digest_size=8).digest())


def _window(context: Context, ds: date | None) -> Window:
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nobody has changed; run `updater run --ds …`.")
    record = context.ledger.window(ds or watermark)
    if record is None or record.completed_at is None:
        raise WindowOrderError(
            f"The window of {ds} is not committed, so its users are not known; run `updater run --ds {ds}` first.",
            ds=ds,
        )
    return context.window(ds or watermark)
