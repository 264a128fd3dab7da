"""Model versions: adding one to a state, and removing one that nobody reads any more.

The ledger gives a version its number and says which digest its files have; only then do the files move to
`<state>/models/v<N>`, or in a bucket are put there, config.json last. A version whose files are gone was removed; its
number is not used again.
"""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from updater.domain.columns import PROFILE_LLM_VIEW, PROFILE_VIEW
from updater.domain.temporary_files import temporary_name
from updater.errors import ConfigError, NotFoundError
from updater.lake import partitions
from updater.ledger import ModelRecord
from updater.locations import is_s3
from updater.pipeline.monitor import audit
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import Context, WritableContext
from updater.runtime.model_files import put_model
from updater.settings import Settings

NO_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class PruneReport:
    """What was removed with a version."""

    version: int
    model: str
    already_done: bool
    feature_views: list[str]
    offline_files: int


def register_model(context: WritableContext, directory: str | Path, name_hint: str, trained: bool) -> ModelRecord:
    """Make the model in `directory` the next version of the state; it is not live yet.

    The same model again is the version that it was before. Resumable: run it again after a crash.

    Args:
        context: the deployment.
        directory: a checkpoint on a local disk.
        name_hint: goes into the version's name, as in `v2-trained-1a2b3c4d`.
        trained: whether its weights come from training.

    Raises:
        ConfigError: the checkpoint is incomplete, or was made for another config or text encoder.
    """
    digest = check_model(context.settings, directory)
    record = _registered(context, digest)
    if record is not None and context.has_model(record.version):
        return record
    add = partial(_add, context, digest, name_hint, trained)
    if is_s3(context.layout.models()):
        with TemporaryDirectory(prefix="updater-model-") as scratch:
            _copy(directory, Path(scratch), digest)
            record = record or add()
            with crash_point("model_placed"):
                put_model(scratch, context.layout.model(record.version))
        return record
    staged = _stage(context, directory, digest)
    record = record or add()
    with crash_point("model_placed"):
        _move_into_place(staged, Path(context.model_directory(record.version)))
    return record


def check_model(settings: Settings, directory: str | Path) -> str:
    """The digest of the model in `directory`, if it can be a version of this state.

    Raises:
        ConfigError: it is incomplete, or was made for another config or text encoder.
    """
    from updater.model.checkpoint import model_digest
    from updater.runtime.session import fitting_model

    fitting_model(settings, str(directory))
    return model_digest(directory)


def model_version(context: Context, version: int) -> ModelRecord:
    """A version that has its files. Raises NotFoundError if no version has that number, or it was removed."""
    record = _recorded(context, version)
    if not context.has_model(version):
        raise NotFoundError(
            f"Model version {version} was removed; register its model again to restore it.",
            kind="model version",
            name=str(version),
        )
    return record


def prune_version(context: WritableContext, version: int) -> PruneReport:
    """Remove a version that is not live: feature views and services, online and offline rows, and its files.

    The ledger keeps its row, so the number stays taken. Resumable: run it again after a crash.

    Raises:
        NotFoundError: there is no such version.
        ConfigError: it is live.
        ServiceUnavailableError: the registry or the online store does not answer.
    """
    from updater.store.definitions import remove

    record = _recorded(context, version)
    if record.live:
        raise ConfigError(f"Model version {version} is live; promote another one before you remove it.")
    if not context.has_model(version):
        if is_s3(context.layout.models()):
            # A killed removal leaves files without the one that says that they are there.
            partitions.remove(context.layout.model(version))
        return PruneReport(version, record.name, True, [], 0)
    with crash_point("pruned_views"):
        removed = remove(context.settings, version)
    # The number of a textual profile's view is not that of a model.
    names = partitions.list_names(context.layout.views())
    views = [view for view in names if view.endswith(f"_v{version}") and view not in (PROFILE_VIEW, PROFILE_LLM_VIEW)]
    num_files = 0
    for view in views:
        fs, inner = partitions.filesystem(context.layout.offline(view))
        num_files += len(fs.find(inner))
        with crash_point("pruned_rows"):
            partitions.remove(context.layout.offline(view))
    audit.record(context, "prune", version=version, model=record.name, feature_views=removed)
    with crash_point("pruned_model"):
        _discard(context, version)
    return PruneReport(version, record.name, False, removed, num_files)


def _recorded(context: Context, version: int) -> ModelRecord:
    models = context.ledger.models()
    for record in models:
        if record.version == version:
            return record
    known = ", ".join(str(record.version) for record in models)
    raise NotFoundError(
        f"Model version {version} does not exist; known: {known or 'none'}.",
        kind="model version",
        name=str(version),
    )


def _registered(context: Context, digest: str) -> ModelRecord | None:
    return next((record for record in context.ledger.models() if record.digest == digest), None)


def _models(context: Context) -> Path:
    """Where all versions lie."""
    return Path(partitions.filesystem(context.layout.models())[1])


def _stage(context: WritableContext, directory: str | Path, digest: str) -> Path:
    """A complete copy of the model beside the versions; what is copied is what was checked."""
    staged = _models(context) / f".{digest}"
    if staged.is_dir():
        return staged
    temporary = staged.with_name(temporary_name(digest))
    try:
        temporary.mkdir(parents=True)
        _copy(directory, temporary, digest)
        with crash_point("model_staged"):
            _move_into_place(temporary, staged)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return staged


def _copy(directory: str | Path, target: Path, digest: str) -> None:
    """Copy the model with this digest into the directory `target`."""
    from updater.model.card import CARD
    from updater.model.checkpoint import FILES, model_digest

    has_card = Path(directory, CARD).is_file()
    for name in (*FILES, CARD) if has_card else FILES:
        shutil.copyfile(Path(directory, name), target / name)
        with (target / name).open("rb") as file:
            os.fsync(file.fileno())
    if model_digest(target) != digest:
        raise ConfigError(f"The model in {directory} changed while it was read; run the same command again.")


def _add(context: WritableContext, digest: str, name_hint: str, trained: bool) -> ModelRecord:
    """A ledger row with the next number that no other process takes for another model."""
    hint = NO_NAME.sub("-", name_hint.lower()).strip("-") or "model"
    while True:
        version = 1 + max((known.version for known in context.ledger.models()), default=0)
        record = ModelRecord(
            version=version,
            digest=digest,
            name=f"v{version}-{hint}-{digest[:8]}",
            trained=trained,
            created_at=context.now,
            live=False,
        )
        # add_model refuses a number that another model has: then the next one is tried.
        with suppress(ConfigError), crash_point("model"):
            context.ledger.add_model(record)
        if (added := _registered(context, digest)) is not None:
            return added


def _move_into_place(source: Path, target: Path) -> None:
    """Move a directory; one that is there already has the same content, because names say what they hold."""
    with suppress(OSError):
        source.rename(target)
    if not target.is_dir():
        raise ConfigError(f"{target} cannot be made; check the permissions of {target.parent} and run again.")
    shutil.rmtree(source, ignore_errors=True)


def _discard(context: WritableContext, version: int) -> None:
    """Remove a model's files; it is gone at once, never half there."""
    if is_s3(context.layout.models()):
        partitions.remove(context.layout.model_mark(version))
        partitions.remove(context.layout.model(version))
        return
    directory = Path(context.model_directory(version))
    temporary = directory.with_name(temporary_name(directory.name))
    directory.rename(temporary)
    shutil.rmtree(temporary)
