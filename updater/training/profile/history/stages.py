"""Stages: which days a chain of updates takes in, and which days it is scored on.

A chain has two updates. The first takes in the stage that ends with `first` and is scored on the next stage; the second
takes that one in and is scored on the stage after it. So a chain knows three days on which it looks around:

    start ──Δ1── first ──Δ2── second ──Δ3── end
           update 1     scores 1,
                        update 2     scores 2
"""

from dataclasses import dataclass
from datetime import date, timedelta

from updater.domain.declared.profile_training import ProfileTraining
from updater.errors import NotLandedError


@dataclass(frozen=True)
class Stages:
    """The last days of a chain's stages; knowledge is taken at their ends."""

    start: date
    first: date
    second: date
    end: date

    @classmethod
    def until(cls, end: date, stage_days: int) -> "Stages":
        """The stages that end with `end`."""
        start, first, second = (end - timedelta(days=stage_days * back) for back in (3, 2, 1))
        return cls(start, first, second, end)


@dataclass(frozen=True)
class StagePlan:
    """Chains to train on, and the one on whose scored days the model is examined; no day of these is trained on."""

    trained: tuple[Stages, ...]
    """Oldest first."""
    examined: Stages

    @property
    def first_day(self) -> date:
        """Last day of the oldest parent texts."""
        return self.trained[0].start


def plan_stages(options: ProfileTraining, first_landed: date, last_landed: date) -> StagePlan:
    """Chains that end before the examined stages begin.

    Raises:
        NotLandedError: the landed days do not hold so many stages.
    """
    last = min(last_landed, options.until or last_landed)
    examined = Stages.until(last, options.stage_days)
    newest = examined.first
    ends = [newest - timedelta(days=options.stage_days * back) for back in range(options.chains)]
    trained = tuple(Stages.until(end, options.stage_days) for end in reversed(ends))
    if trained[0].start < first_landed:
        needed = (last - trained[0].start).days + 1
        raise NotLandedError(
            f"Training of profiles needs the {needed} days up to {last}, and the first landed one is {first_landed}; "
            "land more days, or lower profile_training.chains or profile_training.stage_days."
        )
    return StagePlan(trained, examined)
