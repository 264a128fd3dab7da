"""A user's columns: how active the user is, when, and how regularly, in each modality and over all of them.

They follow from what a config declares. Like the statistics of texts they are read off the buffer relative to the
user's newest event, in float64 and in a fixed order.
"""

# B users, A events of a modality, C columns, W weeks

import numpy as np

from updater.model.batch import Float64, Int64, ModalityBatch, UserBatch
from updater.model.config import ModelConfig
from updater.model.layouts.text_statistics import amounts, local_days, newest_days

PERIODS = (7, 14, 28, 56)
"""Days before the newest event that are looked at, beside the whole buffer."""
RECENT = 28
"""Days over which numeric columns have a mean of their own."""
PARTS_OF_DAY, WEEKDAYS = 4, 7
SECONDS_PER_PART = 21_600
WEEK = 7
NUM_GAPS = 4
NUM_KINDS = 3


def periods(config: ModelConfig) -> tuple[int, ...]:
    """Lengths in days of what is looked at."""
    return (*(days for days in PERIODS if days < config.buffer_days), config.buffer_days)


def num_columns(config: ModelConfig) -> int:
    """Number of columns C."""
    weeks = -(-config.buffer_days // WEEK)
    stream = 3 * len(periods(config)) + 1 + NUM_GAPS + NUM_KINDS + PARTS_OF_DAY + WEEKDAYS
    own = sum((1 if modality.snapshot else stream) + 2 * modality.num_numeric for modality in config.modalities)
    return own + 2 * (weeks + 1) + NUM_GAPS


def user_columns(config: ModelConfig, batch: UserBatch) -> Float64:
    """Columns of B users, not standardized, shape (B, C); counts, amounts and days as logarithms."""
    num_users, longest = batch.num_users, config.buffer_days
    newest_B = newest_days(config, batch)
    columns: list[Float64] = []
    every_owner, every_age = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for modality, part in zip(config.modalities, batch.modalities, strict=True):
        owner_A = part.owners_A
        if modality.snapshot:
            columns.append(np.log1p(np.bincount(owner_A, minlength=num_users))[:, None])
            age_A = np.zeros(len(owner_A), np.int64)
        else:
            # An event may be dated beyond the buffer's end; an age in it has a place.
            age_A = np.clip(newest_B[owner_A] - local_days(part), 0, longest - 1)
            columns += _activity(config, part, owner_A, age_A, num_users)
            every_owner.append(owner_A)
            every_age.append(age_A)
        columns += [_means(part.numeric_AC[rows], owner_A[rows], num_users) for rows in (age_A >= 0, age_A < RECENT)]
    columns += _weeks(np.concatenate(every_owner), np.concatenate(every_age), num_users, longest)
    return np.concatenate(columns, axis=1)


def _activity(config: ModelConfig, part: ModalityBatch, owner_A: Int64, age_A: Int64, num_users: int) -> list[Float64]:
    """The columns of a stream."""
    longest = config.buffer_days
    amount_A, local = amounts(part), local_days(part)
    day_owner, day_age, first = _days(owner_A, age_A, longest)
    columns = []
    for days in periods(config):
        within, day_within = age_A < days, day_age < days
        columns.append(np.bincount(owner_A[within], minlength=num_users))
        columns.append(np.bincount(day_owner[day_within], minlength=num_users))
        columns.append(np.bincount(owner_A[within], amount_A[within], num_users))
    age_B = np.full(num_users, longest)
    np.minimum.at(age_B, owner_A, age_A)
    columns.append(age_B)
    weekdays = (local[first] + 3) % WEEKDAYS  # 1970 began on a Thursday
    columns += list(_table(day_owner, weekdays, num_users, WEEKDAYS))
    part_A = (part.local_A % 86_400 // SECONDS_PER_PART).astype(np.int64)
    distinct = np.unique((owner_A * longest + age_A) * PARTS_OF_DAY + part_A)
    columns += list(_table(distinct // PARTS_OF_DAY // longest, distinct % PARTS_OF_DAY, num_users, PARTS_OF_DAY))
    logarithms = np.log1p(np.stack(columns, axis=1).astype(np.float64))
    return [logarithms, _gaps(day_owner, day_age, num_users), _kinds(part, owner_A, age_A, num_users, longest)]


def _days(owner_A: Int64, age_A: Int64, longest: int) -> tuple[Int64, Int64, Int64]:
    """Distinct days of users, the newest first: the user, the age, and an event of that day."""
    days, first = np.unique(owner_A * longest + age_A, return_index=True)
    return days // longest, days % longest, first


def _table(owner: Int64, group: Int64, num_users: int, num_groups: int) -> Int64:
    """How many of each group a user has, shape (groups, users)."""
    counts: Int64 = np.bincount(group * num_users + owner, minlength=num_groups * num_users)
    return counts.reshape(num_groups, num_users)


def _gaps(day_owner: Int64, day_age: Int64, num_users: int) -> Float64:
    """Days between a user's neighbouring days: mean, deviation, largest and last, shape (B, 4); 0 without any."""
    same = np.flatnonzero(np.diff(day_owner) == 0)
    owner, gap = day_owner[same], np.diff(day_age)[same].astype(np.float64)
    number = np.maximum(np.bincount(owner, minlength=num_users), 1)
    mean = np.bincount(owner, gap, num_users) / number
    deviation = np.sqrt(np.bincount(owner, (gap - mean[owner]) ** 2, num_users) / number)
    largest, last = np.zeros(num_users), np.zeros(num_users)
    np.maximum.at(largest, owner, gap)
    # The newest comes first.
    first_of, first = np.unique(owner, return_index=True)
    last[first_of] = gap[first]
    logarithms: Float64 = np.log1p(np.stack([mean, deviation, largest, last], axis=1))
    return logarithms


def _kinds(part: ModalityBatch, owner_A: Int64, age_A: Int64, num_users: int, longest: int) -> Float64:
    """Distinct texts of a user, those of them on two days or more, and the share of the commonest, shape (B, 3)."""
    pairs, pair_A = np.unique(owner_A * max(len(part.texts_TX), 1) + part.text_rows_A, return_inverse=True)
    owner = pairs // max(len(part.texts_TX), 1)
    num_days = np.bincount(np.unique(pair_A * longest + age_A) // longest, minlength=len(pairs))
    commonest = np.zeros(num_users)
    np.maximum.at(commonest, owner, np.bincount(pair_A, minlength=len(pairs)).astype(np.float64))
    kinds = np.bincount(owner, minlength=num_users)
    again = np.bincount(owner[num_days > 1], minlength=num_users)
    return np.stack([np.log1p(kinds), np.log1p(again), commonest / np.maximum(part.counts_B, 1)], axis=1)


def _means(numeric: Float64, owner: Int64, num_users: int) -> Float64:
    """Mean of each numeric column over a user's events, shape (B, columns); 0 without events."""
    number = np.maximum(np.bincount(owner, minlength=num_users), 1)
    sums = [np.bincount(owner, column, num_users) / number for column in numeric.T]
    return np.stack(sums, axis=1) if sums else np.zeros((num_users, 0))


def _weeks(owner: Int64, age: Int64, num_users: int, longest: int) -> list[Float64]:
    """Over all streams: events and active days of each week, their deviations, and gaps."""
    num_weeks = -(-longest // WEEK)
    day_owner, day_age, _ = _days(owner, age, longest)
    columns = []
    for who, when in ((owner, age), (day_owner, day_age)):
        weeks_BW = np.log1p(_table(who, when // WEEK, num_users, num_weeks).T)
        # Not by numpy's mean, whose order of additions follows the layout.
        mean = sum(weeks_BW.T) / num_weeks
        deviation = np.sqrt(sum((weeks_BW.T - mean) ** 2) / num_weeks)
        columns += [weeks_BW, deviation[:, None]]
    return [*columns, _gaps(day_owner, day_age, num_users)]
