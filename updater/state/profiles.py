"""Rows of the feature views of the textual profiles: the rules', and those that a language model keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from updater.domain import columns
from updater.domain.declared.profile import RULES
from updater.lake import partitions
from updater.profile.clean import num_tokens
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


@dataclass(frozen=True)
class WrittenText:
    """A text that a language model keeps, and what it followed from."""

    user_id: str
    text: str
    """Empty where nothing is left to say, or nothing may be said any more."""
    updater: str
    modalities: Sequence[str]
    facets: Sequence[str]
    """As `modality:value`."""
    parent: str
    """Digest of the text before; empty for a first one."""
    prompt: str
    """Digest of what the model was asked; empty where it was not."""

    @property
    def digest(self) -> str:
        """Digest of the text and of who wrote it."""
        return blake2b(f"{self.updater}\n{self.text}".encode(), digest_size=16).hexdigest()


def written_rows(texts: Sequence[WrittenText], as_of: datetime, created: datetime) -> pa.Table:
    """Rows of `columns.PROFILE_LLM_VIEW`, one per user, sorted."""
    texts = sorted(texts, key=lambda one: one.user_id)
    strings = pa.list_(pa.string())
    return pa.table(
        {
            columns.JOIN_KEY: pa.array([one.user_id for one in texts], pa.string()),
            columns.LLM_TEXT: pa.array([one.text for one in texts], pa.string()),
            columns.LLM_DIGEST: pa.array([one.digest for one in texts], pa.string()),
            columns.LLM_UPDATER: pa.array([one.updater for one in texts], pa.string()),
            columns.LLM_TOKENS: pa.array([num_tokens(one.text) for one in texts], pa.int64()),
            columns.LLM_MODALITIES: pa.array([list(one.modalities) for one in texts], strings),
            columns.LLM_FACETS: pa.array([list(one.facets) for one in texts], strings),
            columns.LLM_PARENT: pa.array([one.parent for one in texts], pa.string()),
            columns.LLM_PROMPT: pa.array([one.prompt for one in texts], pa.string()),
            columns.LLM_AS_OF: pa.repeat(int(as_of.timestamp()), len(texts)),
            **timestamps(len(texts), as_of, created),
        }
    )


def read_written(paths: Sequence[str]) -> list[tuple[int, WrittenText]]:
    """All texts in files of `columns.PROFILE_LLM_VIEW`, each with the instant (seconds) that it is of."""
    rows = (row for path in paths for row in partitions.read_table(path).to_pylist())
    return [(row[columns.LLM_AS_OF], _written(row)) for row in rows]


def _written(row: Mapping[str, Any]) -> WrittenText:
    return WrittenText(
        user_id=row[columns.JOIN_KEY],
        text=row[columns.LLM_TEXT],
        updater=row[columns.LLM_UPDATER],
        modalities=row[columns.LLM_MODALITIES],
        facets=row[columns.LLM_FACETS],
        parent=row[columns.LLM_PARENT],
        prompt=row[columns.LLM_PROMPT],
    )
