"""Rows of the feature view of the textual profile."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from updater.domain import columns
from updater.domain.profile import RULES
from updater.profile.profile import Profile
from updater.state.embeddings import timestamps


def profile_rows(users: Sequence[str], profiles: Sequence[Profile], as_of: datetime, created: datetime) -> pa.Table:
    """Rows of `columns.PROFILE_VIEW`: one per user, whose `profiles` are in the same order."""
    num_users = len(users)
    return pa.table(
        {
            columns.JOIN_KEY: pa.array(users, pa.string()),
            **profile_columns(profiles),
            columns.PROFILE_AS_OF: pa.repeat(int(as_of.timestamp()), num_users),
            **timestamps(num_users, as_of, created),
        }
    )


def profile_columns(profiles: Sequence[Profile]) -> dict[str, pa.Array]:
    """The features that follow from a user's events alone: what a rebuild has to give again."""
    return {
        columns.PROFILE_TEXT: pa.array([profile.text for profile in profiles], pa.string()),
        columns.PROFILE_DIGEST: pa.array([profile.digest for profile in profiles], pa.string()),
        columns.PROFILE_UPDATER: pa.repeat(RULES, len(profiles)),
        columns.PROFILE_TOKENS: pa.array([profile.num_tokens for profile in profiles], pa.int64()),
        columns.PROFILE_MODALITIES: pa.array([list(profile.modalities) for profile in profiles], pa.list_(pa.string())),
        columns.PROFILE_NEWEST_EVENT_AT: pa.array([profile.newest_event for profile in profiles], pa.int64()),
        columns.PROFILE_FORESIGHT: pa.array([profile.foresight for profile in profiles], pa.float64()),
        columns.PROFILE_FORESIGHT_QUESTIONS: pa.array([profile.questions for profile in profiles], pa.int64()),
    }
