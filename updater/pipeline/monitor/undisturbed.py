"""A comparison of what is stored takes a while: whether another command changed that in its middle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from updater.errors import ConcurrentUpdateError, UnfinishedWorkError, UpdaterError
from updater.ledger import Published
from updater.runtime.deployment import Context


@dataclass(frozen=True)
class _Seen:
    published: Published
    erasures: int
    """Users whose erasure has finished."""


@contextmanager
def undisturbed(context: Context) -> Iterator[Callable[[], None]]:
    """What is compared inside belongs together, unless the function that is given raises; call it once something
    differs. It is called for a file that cannot be read, too.

    A window that is run meanwhile disturbs nothing: what it publishes is newer than what is compared.

    Raises:
        ConcurrentUpdateError: users were erased, a version became live or days were restated.
        UnfinishedWorkError: an erasure has not finished.
    """
    before = _look(context)

    def check() -> None:
        _compare(context, before, _look(context))

    try:
        yield check
    except UpdaterError:
        raise
    except Exception:
        # Of any kind: files were removed, or rewritten under a reader who knew where in them what was.
        check()
        raise


def _look(context: Context) -> _Seen:
    return _Seen(context.ledger.published(), context.ledger.completed_erasures())


def _compare(context: Context, before: _Seen, now: _Seen) -> None:
    was, found = before.published, now.published
    generations = [{bucket: head.generation for bucket, head in seen.heads.items()} for seen in (was, found)]
    what = cause = None
    if (before.erasures, was.num_erased) != (now.erasures, found.num_erased):
        what, cause = "Users were erased", "erasure"
    elif was.num_promotions != found.num_promotions:
        what, cause = f"Model version {found.live} became live", "promotion"
    elif generations[0] != generations[1]:
        what, cause = "Days were restated", "restatement"
    if what is not None:
        raise ConcurrentUpdateError(
            f"{what} while the state was compared, so what differs says nothing; run the same command again.",
            cause=cause,
        )
    if unfinished := context.ledger.unfinished_erasures():
        raise UnfinishedWorkError(
            f"The erasure of {unfinished} users was started but not finished, so what differs says nothing; when it is "
            "done, run the same command again. If nobody is at it, run `updater user erase` with their ids again.",
            kind="erasure",
        )
