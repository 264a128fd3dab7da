"""From a deployment to the chains that are trained on and those by which a model is examined."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from updater.domain.window import first_buffer_day
from updater.errors import NotLandedError
from updater.labels.events import Events
from updater.lake import partitions
from updater.profile.language_model.check import Limits
from updater.runtime.deployment import Context, Progress
from updater.settings import Settings
from updater.state.event_store import connect
from updater.training.profile.history.histories import HistoryReader, sample_users
from updater.training.profile.history.stages import StagePlan, Stages, plan_stages
from updater.training.profile.history.windows import Chain, Moment, make_chains, text_limits

SPARE = 30
"""Times as many held-out users are read as are looked at: many have no events to score, or too long a prompt."""


@dataclass(frozen=True, eq=False)
class Collected:
    """Chains of users who are trained on, and of held-out users on later days."""

    plan: StagePlan
    trained: tuple[Chain, ...]
    examined: tuple[Chain, ...]
    limits: Limits


def plan_of(settings: Settings) -> StagePlan:
    """The stages among the days that the lake holds. Raises NotLandedError if they are too few."""
    streams = [m for m in settings.modalities if m.kind == "stream" and not m.optional] or settings.modalities
    landed = [partitions.landed_days(partitions.join(settings.paths.lake, modality.name)) for modality in streams]
    if not all(landed):
        raise NotLandedError(
            f"The lake {settings.paths.lake} holds no landed day of some modality; land the days to train on."
        )
    first, last = max(days[0] for days in landed), min(days[-1] for days in landed)
    return plan_stages(settings.profile_training, first, last)


def days_to_land(context: Context, plan: StagePlan) -> int:
    """Days of modalities that the lake has and no window or training has landed, of those that `collect` reads."""
    settings = context.settings
    first, last = first_buffer_day(plan.first_day, settings.buffer.days), plan.examined.end
    missing = 0
    for modality in settings.modalities:
        begin = first if modality.kind == "stream" else date.min
        known = {record.ds for record in context.ledger.partitions(modality.name, to_date=last)}
        in_lake = partitions.landed_days(partitions.join(settings.paths.lake, modality.name))
        missing += sum(begin <= ds <= last and ds not in known for ds in in_lake)
    return missing


def collect(context: Context, events: Events | None, progress: Progress) -> Collected:
    """Read the chains.

    Args:
        context: the deployment.
        events: lands what is not landed yet; None where nothing may be written.
        progress: called with what is done.

    Raises:
        NotLandedError: the lake's days are too few.
    """
    options, plan = context.settings.profile_training, plan_of(context.settings)
    with connect(context.settings.paths.state) as connection:
        reader = HistoryReader(context, events, connection)
        trained: list[Chain] = []
        for done, stages in enumerate(plan.trained):
            progress("reading histories", done, len(plan.trained) + 1)
            users = sample_users(reader.everyone(stages.start), options.users, held_out=False)
            trained += make_chains(_moments(context, reader, stages, users))
        held_out = sample_users(reader.everyone(plan.examined.start), SPARE * options.examine_users, held_out=True)
        moments = _moments(context, reader, plan.examined, held_out)
        examined = make_chains(moments)
        limits = text_limits(context.settings.profile, moments[0].histories)
    return Collected(plan, tuple(trained), tuple(examined), limits)


def _moments(context: Context, reader: HistoryReader, stages: Stages, users: Sequence[str]) -> list[Moment]:
    days: list[date] = [stages.start, stages.first, stages.second, stages.end]
    return [Moment(reader.read(ds, users), context.settings.profile) for ds in days]
