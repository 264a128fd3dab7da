"""From offline rows to the online store: users per CPU-second, this project against stock Feast.

One feature view with embeddings of 128 floats, one window, first written into an empty store and then over itself. Both
read the same files, write batches of 10,000 rows, and count the CPU time of this process (Redis' own is not in it).
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from functools import partial

from feast import FeatureStore

from benchmarks.row import Row, measured
from benchmarks.stores import STORES, in_each_store, opened, write_offline
from benchmarks.timing import cpu_seconds, in_turns, ratios, top_functions
from updater.domain.window import Window
from updater.settings import Settings

VIEW = "lapse_v1"
RUNS = ("empty store", "over itself")


def rows(smoke: bool) -> Iterator[Row]:
    """Two rows per online store."""
    num_users, rounds = (1_000, 2) if smoke else (30_000, 3)
    yield from in_each_store(STORES, partial(_compare, num_users=num_users, rounds=rounds), "materialize into")


def _compare(settings: Settings, num_users: int, rounds: int) -> Iterator[Row]:
    window = write_offline(settings, num_users)
    with ExitStack() as stack:
        stores = {name: stack.enter_context(opened(settings, stock=name == "stock")) for name in ("ours", "stock")}
        runs = {name: _Runs(store, window) for name, store in stores.items()}
        methods = {name: run.empty for name, run in runs.items()}
        first = in_turns(methods, rounds)
        again = {name: run.over_itself for name, run in runs.items()}
        for what, seconds in zip(RUNS, (first, in_turns(again, rounds)), strict=True):
            fastest = num_users / min(seconds["ours"])
            yield measured(
                f"materialize into {settings.online_store.type} ({what}): users per CPU-second over stock Feast's",
                ratios(seconds["stock"], seconds["ours"]),
                ">= 3",
                note=f"{num_users:,} users, {fastest:,.0f} per CPU-second at best",
                where=partial(top_functions, runs["ours"].materialize),
            )


class _Runs:
    """One store, written into again and again."""

    def __init__(self, store: FeatureStore, window: Window) -> None:
        self.store, self.window = store, window
        self.materialize()  # loads what is loaded once

    def materialize(self) -> None:
        """Write all users."""
        with redirect_stdout(io.StringIO()):
            self.store.materialize(self.window.as_of, self.window.as_of, feature_views=[VIEW])

    def empty(self) -> float:
        """CPU seconds of writing into a store without rows."""
        view = self.store.get_feature_view(VIEW)
        online = self.store.provider.online_store
        online.teardown(self.store.config, [view], [])
        online.update(self.store.config, [], [view], [], [], False)
        return self.over_itself()

    def over_itself(self) -> float:
        """CPU seconds of writing over what is there."""
        return cpu_seconds(self.materialize)
