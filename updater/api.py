"""A deployment as a Python object: what the command line does, for notebooks, services and other schedulers.

    import updater

    store = updater.open("updater.toml")
    store.run(date(2025, 1, 12))
    store.embed(["u0000007"], query="Will this user buy yogurt in the next four weeks?")

Methods return the same results that `--json` prints, and raise the errors of `updater.errors`. Every method may be
called again after a crash. Opening loads neither torch nor Feast; a method loads what it needs.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from updater.opened import Opened

if TYPE_CHECKING:
    from updater.explanation.explain import Explanation
    from updater.fidelity.outcome import Fidelity
    from updater.pipeline.asking.similar import SimilarReport
    from updater.pipeline.daily.dry_run import BackfillPlan, DryRun
    from updater.pipeline.daily.window import WindowReport
    from updater.pipeline.erase.proof import ErasureProof
    from updater.pipeline.erase.run import ErasureReport
    from updater.pipeline.init import SetupReport
    from updater.pipeline.monitor.status import StatusReport
    from updater.pipeline.monitor.verify_compare import VerifyReport
    from updater.pipeline.profile import ProfileReport
    from updater.pipeline.profile_llm.run import ProfileUpdateReport
    from updater.pipeline.query import EmbedReport
    from updater.pipeline.query_file import EmbedFileReport
    from updater.pipeline.versions.promote import PromotionReport
    from updater.report.facts import Facts
    from updater.training.profile.run import UpdaterReport


@dataclass(frozen=True)
class Deployment(Opened):
    """One config and the state that it names.

    Args:
        settings: the config.
        now: the clock of everything that is recorded, in UTC; None for the time of each call.
        progress: called with a label, the units done and the units in all.
    """

    def init(self, model: str | None = None) -> "SetupReport":
        """Create the ledger and the state, and register the feature views; safe to repeat.

        Args:
            model: directory of a trained model that a new state begins with; None for untrained weights.
        """
        from updater.pipeline.init import initialize

        return initialize(self.settings, model)

    def plan(self, ds: date) -> "DryRun":
        """What running the window of landing day `ds` would do; changes nothing."""
        from updater.pipeline.daily.dry_run import plan_window

        return plan_window(self._context(), ds)

    def run(self, ds: date) -> "WindowReport":
        """Run the window of landing day `ds`: detect, encode, refresh, publish, materialize, commit.

        Raises:
            NotLandedError, DataRefusedError: the day has not landed, or cannot be trusted.
            WindowOrderError: `ds` does not follow the newest window.
        """
        from updater.pipeline.daily.window import run_window

        with self._pool(self._writable()) as (context, pool):
            return run_window(context, pool, ds, self._progress())

    def plan_backfill(self, from_date: date, to_date: date, restate: bool = False) -> "BackfillPlan":
        """What `backfill` would do; changes nothing."""
        from updater.pipeline.daily.dry_run import plan_backfill

        return plan_backfill(self._context(), from_date, to_date, restate)

    def backfill(self, from_date: date, to_date: date) -> "list[WindowReport]":
        """Run the missing windows of a range of landing days, oldest first; both dates are inclusive."""
        from updater.pipeline.daily.backfill import backfill

        with self._pool(self._writable()) as (context, pool):
            return backfill(context, pool, from_date, to_date, self._progress())

    def restate(self, from_date: date, to_date: date) -> dict[str, int]:
        """Recompute what rests on partitions of the range that were rewritten after processing.

        Returns users, days and values restated; empty if nothing was rewritten.
        """
        from updater.pipeline.restate.run import restate_range

        with self._pool(self._writable()) as (context, pool):
            return restate_range(context, pool, from_date, to_date, self._progress())

    def status(self, check: bool = False) -> "StatusReport":
        """How fresh the state is, what waits, and how large everything is.

        Args:
            check: compare a sample of online values as well.
        """
        from updater.pipeline.monitor.status import status

        return status(self._context(), check)

    def report(self, html: str | None = None, last: int = 14, *, plan: bool = True, online: bool = False) -> "Facts":
        """What an operator looks at: freshness, windows, drift, alerts, rejected rows, versions, the next day's cost.

        Changes nothing in the state, and names no user.

        Args:
            html: path or fsspec URL of a file that gets this as a page, replaced atomically; None for no page.
            last: how many of the newest windows are looked at.
            plan: plan the next day if it has landed, which takes about as long as the step `detect`.
            online: compare a sample of online values with the offline ones as well.

        Raises:
            ConfigError: the file cannot be written, `last` is not above 0, or the ledger is not initialized.
        """
        from updater.report.facts import collect
        from updater.report.file import write_page

        facts = collect(self._context(), last, plan=plan, online=online)
        if html is not None:
            write_page(facts, html)
        return facts

    def verify(self, sample: int | None = 100) -> "VerifyReport":
        """Compare the state with a rebuild from the lake, and the online store with the offline rows.

        Args:
            sample: number of users; None for all.
        """
        from updater.pipeline.monitor.verify import verify

        return verify(self._context(), sample, self._progress())

    def embed(self, users: Sequence[str], query: str | None = None, scenario: str | None = None) -> "list[EmbedReport]":
        """Embeddings of users, and answers to a `query`, by the live model, as of the newest committed window.

        Args:
            users: source ids, as in the lake; the result has their order.
            query: any question; exclusive with `scenario`.
            scenario: a scenario of the config: its query, after its soft prompt if it has one.

        Raises:
            NotFoundError: a user is unknown or was erased, or the scenario is unknown.
        """
        from updater.pipeline.query import embed_users

        with self._pool(self._context()) as (context, pool):
            return embed_users(context, pool, users, query, scenario, self._progress())

    def embed_to_parquet(
        self, users: Sequence[str], output: str, query: str | None = None, scenario: str | None = None
    ) -> "EmbedFileReport":
        """The same for any number of users, into one Parquet file that appears whole.

        Users who are unknown or erased have no row, and are named in the result.

        Args:
            users: source ids, as in the lake.
            output: path or fsspec URL of the file.
            query: any question; exclusive with `scenario`.
            scenario: a scenario of the config.
        """
        from updater.pipeline.query_file import embed_to_parquet

        with self._pool(self._context()) as (context, pool):
            return embed_to_parquet(context, pool, users, query, scenario, output, self._progress())

    def embed_everybody(self, output: str, query: str | None = None, scenario: str | None = None) -> "EmbedFileReport":
        """The same for everybody who has an event in the buffer; called again after a kill, it goes on where it was.

        Args:
            output: path or fsspec URL of the file.
            query: any question; exclusive with `scenario`.
            scenario: a scenario of the config.

        Raises:
            NotFoundError: nobody has an event, or the scenario is unknown.
        """
        from updater.pipeline.asking.everybody import embed_everybody

        with self._pool(self._context()) as (context, pool):
            return embed_everybody(context, pool, query, scenario, output, self._progress())

    def similar(self, user: str, scenario: str, top: int = 50) -> "SimilarReport":
        """Users whose published embeddings for a scenario have the largest cosine to that of `user`.

        Args:
            user: source id, as in the lake.
            scenario: a scenario of the config.
            top: how many.

        Raises:
            NotFoundError: the user is unknown or was erased, or the scenario is unknown.
        """
        from updater.pipeline.asking.similar import similar_users

        return similar_users(self._context(), user, scenario, top, self._progress())

    def explain(self, user: str, scenario: str, direction: "Sequence[float] | None" = None) -> "Explanation":
        """What moves the embedding of a user: each modality, text and event left out, and the model asked again.

        Args:
            user: source id, as in the lake.
            scenario: a scenario of the config.
            direction: a linear model's coefficients for the embedding's columns; None for the embedding itself.

        Raises:
            NotFoundError: the user is unknown or was erased, or the scenario is unknown.
            ConfigError: the direction does not fit the embedding.
        """
        import numpy as np

        from updater.explanation.direction import check_direction
        from updater.explanation.explain import explain_user

        width, name = self.settings.model.embedding_dim, "the direction"
        along = None if direction is None else check_direction(np.asarray(direction), width, name)
        return explain_user(self._context(), user, scenario, along, name, self._progress())

    def profile(self, user: str) -> "ProfileReport":
        """The textual profile of a user, from the stored events as of the newest committed window.

        Args:
            user: source id, as in the lake.

        Raises:
            NotFoundError: the user is unknown or was erased.
        """
        from updater.pipeline.profile import user_profile

        return user_profile(self._context(), user)

    def update_profiles(self, ds: date | None = None) -> "ProfileUpdateReport":
        """Have the language model of `[profile.language_model]` update the texts of a day's users.

        Args:
            ds: landing day of a committed window; default: the newest one.

        Raises:
            ConfigError: it is not switched on.
            ServiceUnavailableError: the endpoint does not answer.
        """
        from updater.pipeline.profile_llm.run import update_profiles

        return update_profiles(self._writable(), ds, progress=self._progress())

    def train_updater(self, max_cpu_seconds: float | None = None) -> "UpdaterReport":
        """Train a language model that updates textual profiles; called again, it goes on where it was.

        Args:
            max_cpu_seconds: CPU time that this call may train for, in seconds; None for as long as it takes.

        Raises:
            ConfigError, NotLandedError: there is no such model, or nothing to learn from.
        """
        from updater.training.profile.run import train_updater

        return train_updater(self._writable(), max_cpu_seconds, self._progress())

    def erase(self, users: Iterable[str]) -> "ErasureReport":
        """Remove users from everything but the lake, permanently; later rows of theirs are dropped."""
        from updater.pipeline.erase.run import erase

        return erase(self._writable(), list(users), self._progress())

    def find(self, users: Iterable[str]) -> "ErasureProof":
        """Search every file and store for users; after an erasure the result names no place."""
        from updater.pipeline.erase.proof import find

        return find(self._context(), list(users), self._progress())

    def promote(
        self, version: int | None = None, model: str | None = None, from_date: date | None = None
    ) -> "PromotionReport":
        """Make a model version live, after computing and verifying the values that it would have had.

        Args:
            version: number of a version that the state has; exclusive with `model`.
            model: directory of a model that is to become a version first.
            from_date: first landing day of which the version gets all rows; None for the first there is.
        """
        from updater.pipeline.versions.promote import promote, resolve_model

        with self._pool(self._writable()) as (context, pool):
            return promote(context, pool, resolve_model(context, version, model), from_date, self._progress())

    def fidelity(
        self,
        ds: date | None = None,
        users: int | None = 2000,
        version: int | None = None,
        model: str | None = None,
        readers: Collection[str] | None = None,
    ) -> "Fidelity":
        """What can be read back from the embeddings of a committed day; writes a report below the state.

        Args:
            ds: landing day at whose end is asked; None for the newest window.
            users: how many are asked, always the same ones; None for all.
            version: number of a model version that is compared with the live one; exclusive with `model`.
            model: directory of a model that is compared with the live one.
            readers: who reads beside the probe, of `native` and `asked`; None for what costs little.
        """
        from updater.fidelity.run import measure_fidelity

        progress = self._progress()
        with self._pool(self._writable()) as (context, pool):
            return measure_fidelity(
                context, pool, ds, users=users, version=version, model=model, readers=readers, progress=progress
            )
