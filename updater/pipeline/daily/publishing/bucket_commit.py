"""How a bucket's new values are published: stage files, move the head by compare-and-swap, move files into place.

The order is the point (see docs/adr/0006-head-before-files.md), so the daily refresh and a restatement share it.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

from updater.domain.window import Window
from updater.errors import ConcurrentUpdateError, WindowOrderError
from updater.ledger import BucketRecord, Head
from updater.pipeline.daily.publishing.staging import move_into_place
from updater.runtime.crash_points import crash_point
from updater.runtime.deployment import WritableContext


def commit_bucket(
    context: WritableContext,
    window: Window,
    previous: Head | None,
    new: Head,
    files: Sequence[str],
    counts: Mapping[str, int],
    erased: int,
    *,
    accept_superseded: bool = False,
) -> None:
    """Move a bucket's head from `previous` to `new`, record it, and move its staged `files` into place.

    Args:
        context: the deployment.
        window: the window that the files belong to.
        previous: the head that the values were computed from; None if the bucket had none.
        new: the head to publish; its digest is `outputs_digest` of the files.
        files: names of the staged files, of which `new` carries the digest.
        counts: what the window's report sums up.
        erased: how many erased users were known when the values were computed.
        accept_superseded: the head may have moved on beyond the window, if what it published there has the digest of
            `new`: a faster attempt did the same work. A restatement does not accept that, because within its
            generation nobody else may go ahead of it.

    Raises:
        ConcurrentUpdateError: other values were published, users were erased or a model version became live since.
        WindowOrderError: `new` would leave a gap or go back.
    """
    record = BucketRecord(
        bucket=new.bucket,
        ds=window.ds,
        generation=new.generation,
        digest=new.digest,
        counts=dict(counts),
        files=list(files),
        committed_at=context.now,
    )
    try:
        with crash_point("head"):
            context.ledger.move_head(previous, new, record, erased)
    except (ConcurrentUpdateError, WindowOrderError):
        published = context.ledger.bucket_record(new.bucket, window.ds) if accept_superseded else None
        if published is None or published.digest != new.digest:
            raise
    move_into_place(context, new.bucket, window.ds)


def outputs_digest(files: Sequence[str], generation: int) -> str:
    """Digest of a bucket's outputs, whose names carry theirs. A restatement without files has another digest
    than the first publication without files.
    """
    return sha256("".join([*([str(generation)] if generation else []), *files]).encode()).hexdigest()
