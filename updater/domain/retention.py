"""How long the state keeps what windows no longer read, and what follows from that. Pure: dates in, dates out."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from annotated_types import Interval

from updater.domain.values import Checked, DaysOrNone


@dataclass(frozen=True, kw_only=True)
class Retention(Checked, table="retention"):
    """What `updater state compact` may remove. 0 days means that nothing is removed for its age."""

    history_days: DaysOrNone = 400
    """Days back from the newest window whose windows may be computed again, as a restatement does."""
    embedding_days: DaysOrNone = 0
    """Days back from the newest window for which every offline row is kept; before that only each user's newest."""
    rejected_days: DaysOrNone = 90
    """Days for which rejected rows are kept."""
    grace_hours: Annotated[float, Interval(ge=0, le=24 * 36_500)] = 24.0
    """How long a merged file stays for those who have already listed it."""

    def earliest_recomputable(self, watermark: date) -> date | None:
        """First day whose window can be computed again after maintenance at `watermark`; None: every day."""
        return first_kept_month(watermark, self.history_days)

    def full_history(self, watermark: date) -> date | None:
        """First day of which every offline row is kept; None: all."""
        return first_kept_month(watermark, self.embedding_days)

    def rejected(self, watermark: date) -> date | None:
        """First day whose rejected rows are kept; None: all."""
        return watermark - timedelta(days=self.rejected_days - 1) if self.rejected_days else None


def first_kept_month(watermark: date, num_days: int) -> date | None:
    """First day of the month that the `num_days` up to `watermark` reach into: files are merged, and dropped, by
    month. None for 0 days.
    """
    return month(watermark - timedelta(days=num_days - 1)) if num_days else None


def first_stream_day(earliest: date, buffer_days: int) -> date:
    """First landing day of a stream that a window from `earliest` on needs: its changes are against the day before."""
    return month(earliest - timedelta(days=buffer_days))


def month(day: date) -> date:
    """First day of the month of `day`."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """First day of the month after that of `day`."""
    return month(month(day) + timedelta(days=31))
