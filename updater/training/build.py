"""UserU for a deployment: which anchor days, landed and encoded ahead of their windows, and the rows of each."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial

from updater.errors import ConfigError, NotLandedError
from updater.lake import partitions
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.runtime.deployment import Context, Progress, WritableContext, no_progress, open_context
from updater.runtime.process_pool import ProcessPool
from updater.runtime.state_lock import no_erasure_meanwhile
from updater.settings import Settings
from updater.state.event_store import connect
from updater.state.layout import StateLayout
from updater.training.useru.dataset import Built, DatedSplit, Recipe, build
from updater.training.useru.facts.events import EventReader
from updater.training.useru.facts.topics import topic_pool
from updater.training.useru.generators import make_generator

GROUPS_PER_PROCESS = 4
"""An anchor day's buckets are dealt out in so many groups for each process, so that all are busy to the end."""


@dataclass(frozen=True)
class BuildPlan:
    """What training reads: the lake's days from `first` to `last`, and the last days of its profiles."""

    first: date
    last: date
    anchors: tuple[date, ...]
    """UserU's."""
    split: DatedSplit
    every: tuple[date, ...]
    """All whose futures end by `last`."""

    def trained(self, future_days: int) -> list[date]:
        """The anchor days of dense training: their futures end by the first day of the next split, which is the last
        one that its first profiles know.
        """
        return [anchor for anchor in self.every if anchor + timedelta(days=future_days) <= self.split.valid_from]

    def validated(self, future_days: int) -> list[date]:
        """The first day of the validation split, if its future ends by the first day of the next one; else none."""
        first, end = self.split.valid_from, self.split.valid_from + timedelta(days=future_days)
        return [first] if end <= min(self.last, self.split.test_from) else []


def plan_build(settings: Settings) -> BuildPlan:
    """Choose anchor days among the landed ones.

    Raises:
        NotLandedError: the lake holds no day, or too few for one profile and its future.
    """
    options = settings.training
    lake = settings.paths.lake
    streams = [m for m in settings.modalities if m.kind == "stream" and not m.optional] or settings.modalities
    landed = [partitions.landed_days(partitions.join(lake, modality.name)) for modality in streams]
    if not all(landed):
        raise NotLandedError(f"The lake {lake} holds no landed day of some modality; land the days to train on.")
    first, last = max(found[0] for found in landed), min(found[-1] for found in landed)
    last = min(last, options.until or last)
    begin = options.first_anchor or first + timedelta(days=settings.buffer.days - 1)
    anchors = options.anchors(begin, last)
    if not anchors:
        raise NotLandedError(
            f"The landed days {first} to {last} hold no profile of {settings.buffer.days} days with a future of "
            f"{options.future_days}; land more days, or set training.first_anchor, training.future_days; "
            "a new state can have fewer buffer.days."
        )
    after = last + timedelta(days=1)
    test_from = options.test_from or after
    split = DatedSplit(options.valid_from or test_from, test_from)
    kept = tuple(anchor for anchor in anchors if split.of(anchor, options.future_days))
    return BuildPlan(first, last, kept, split, tuple(anchors))


def data_root(settings: Settings) -> str:
    """Where UserU lies."""
    return StateLayout(settings.paths.state).training_data()


def build_data(context: WritableContext, pool: ProcessPool, progress: Progress = no_progress) -> list[Built]:
    """Land and encode what training reads; for the paper's objective also write UserU's rows, some buckets of an anchor
    day in each process.

    Run again, it makes only what is missing or was made by another recipe.

    Returns:
        UserU's anchor days; none for the dense objective, which counts its answers when it trains.

    Raises:
        NotLandedError, DataRefusedError, ConfigError: see `plan_build` and `land_and_encode`.
    """
    settings = context.settings
    plan = plan_build(settings)
    land_and_encode(context, pool, plan.first, plan.last, progress)
    if settings.training.objective == "dense":
        return []
    recipe = make_recipe(context, plan)
    # A language model's token budget and replies are one process's business.
    if settings.generator.kind == "llm":
        return [
            built for anchor in plan.anchors for built in build_anchors(settings, context.now, plan, recipe, [anchor])
        ]
    size = -(-settings.buffer.num_buckets // (pool.num_processes * GROUPS_PER_PROCESS))
    buckets = range(settings.buffer.num_buckets)
    groups = [buckets[start : start + size] for start in buckets[::size]]
    jobs = [(settings, context.now, plan, recipe, [anchor], group) for anchor in plan.anchors for group in groups]
    made: dict[date, Built] = {}
    progress("building training data", 0, len(jobs))
    for done, (_, built) in enumerate(pool.map(build_anchors, jobs), start=1):
        for part in built:
            made[part.anchor] = _sum(made.get(part.anchor), part)
        num_rows = sum(each.num_rows for each in made.values())
        progress(f"building training data ({num_rows:,} pairs)", done, len(jobs))
    return [made[anchor] for anchor in sorted(made)]


def make_recipe(context: Context, plan: BuildPlan) -> Recipe:
    """Topics and names from what had landed by the first anchor, so that nothing of the future decides on them."""
    settings, options = context.settings, context.settings.training
    files = context.all_event_files(plan.last)
    with connect(settings.paths.state) as connection:
        categories = EventReader(connection, settings, files).categories(plan.anchors[0])
    streams = {m.name for m in settings.modalities if m.kind == "stream"}
    common = [kind for kind in categories if kind[0] in streams]
    return Recipe(
        split=plan.split,
        pool=topic_pool(settings.modalities, common[: options.topic_categories]),
        vocabulary=frozenset(category for _, category in categories),
        common=tuple(common[: options.focus_categories]),
        never_asked=frozenset(_pair(settings, text) for text in options.never_asked),
        future_days=options.future_days,
        users_share=options.users_share,
    )


def build_anchors(
    settings: Settings,
    now: datetime,
    plan: BuildPlan,
    recipe: Recipe,
    anchors: Sequence[date],
    buckets: Sequence[int] = (),
) -> list[Built]:
    """Write the rows of `anchors` and of some buckets, or all; runs in a worker process."""
    context = open_context(settings, now)
    files, landed = context.all_event_files(plan.last), (plan.first, plan.last)
    hold = partial(no_erasure_meanwhile, context)
    with closing(make_generator(settings)) as generator:
        return build(data_root(settings), settings, files, landed, anchors, generator, recipe, buckets, no_erasure=hold)


def _sum(known: Built | None, part: Built) -> Built:
    if known is None:
        return part
    return replace(known, num_rows=known.num_rows + part.num_rows, num_refused=known.num_refused + part.num_refused)


def never_asked(settings: Settings) -> frozenset[str]:
    """Values that no question of training names, whatever column or modality they occur in."""
    return frozenset(_pair(settings, text)[1] for text in settings.training.never_asked)


def _pair(settings: Settings, text: str) -> tuple[str, str]:
    modality, separator, category = text.partition(":")
    if not separator:
        raise ConfigError(f"training.never_asked has {text!r}; write modality:category.")
    return settings.modality(modality).name, category
