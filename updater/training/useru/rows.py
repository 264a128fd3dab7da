"""The rows of one bucket's users at an anchor day: about their future, and the generator's about their profile."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

from updater.training.useru.answers import Generator
from updater.training.useru.facts import focus as about_focus
from updater.training.useru.facts import future as about_future
from updater.training.useru.facts.claims import claims_to_json
from updater.training.useru.facts.events import EventReader, Future, Profile, refusal
from updater.training.useru.reflection import Reflector

if TYPE_CHECKING:
    from updater.training.useru.dataset import Recipe

logger = logging.getLogger(__name__)

FUTURE_GENERATOR, FOCUS_GENERATOR = "future-1", "focus-1"


def rows_of_bucket(
    reader: EventReader, anchor: date, bucket: int, generator: Generator, recipe: "Recipe", split: str
) -> tuple[list[dict[str, Any]], int]:
    """The bucket's rows, and how many the guard refused."""
    nothing = reader.no_future(anchor, recipe.future_days)
    focuses = about_focus.shared_questions(
        reader.modalities, recipe.common, recipe.never_asked, recipe.future_days, anchor
    )
    futures = reader.futures(anchor, recipe.future_days, bucket)
    rows: list[dict[str, Any]] = []
    num_refused = 0
    for profile in reader.profiles(anchor, bucket):
        common = {
            "user_id": profile.user_id,
            "anchor_day": anchor,
            "split": split,
            "profile_start": profile.start.astimezone(UTC),
            "profile_end": profile.end.astimezone(UTC),
        }
        future = futures.get(profile.user_id, nothing)
        if reason := refusal(profile, future):
            logger.info("no row about the future of %s after %s: %s", profile.user_id, anchor, reason)
            num_refused += 1
        else:
            rows += [{**common, **row} for row in _future_rows(profile, future, focuses)]
        if refusal(profile) is not None:
            num_refused += 1
        else:
            rows += [{**common, **row} for row in _profile_rows(profile, generator, recipe)]
    return rows, num_refused


def _future_rows(profile: Profile, future: Future, focuses: Sequence[about_focus.Focus]) -> list[dict[str, Any]]:
    """The fixed question about the future, then those about single things in it."""
    window = {
        "num_repaired": 0,
        "num_dropped": 0,
        "future_start": future.start.astimezone(UTC),
        "future_end": future.end.astimezone(UTC),
    }
    cells = about_future.select_cells(future)
    fixed = {
        "generator": FUTURE_GENERATOR,
        "topic": "future",
        "question": about_future.question(future),
        "answer": about_future.answer(future, cells),
        "claims": json.dumps([asdict(cell) for cell in cells], ensure_ascii=False, sort_keys=True),
    }
    single = [
        {
            "generator": FOCUS_GENERATOR,
            "topic": focus.name,
            "question": focus.question,
            "answer": focus.answer(profile, future),
            "claims": json.dumps([asdict(focus)], ensure_ascii=False, sort_keys=True),
        }
        for focus in focuses
    ]
    return [{**window, **row} for row in (fixed, *single)]


def _profile_rows(profile: Profile, generator: Generator, recipe: "Recipe") -> list[dict[str, Any]]:
    reflector = Reflector(profile, recipe.vocabulary)
    answers = map(reflector.reflect, generator.drafts(profile, recipe.pool))
    return [
        {
            "generator": generator.version,
            "topic": answer.topic,
            "question": answer.question,
            "answer": answer.answer,
            "claims": claims_to_json(answer.claims),
            "num_repaired": answer.num_repaired,
            "num_dropped": answer.num_dropped,
        }
        for answer in answers
        if answer is not None
    ]
