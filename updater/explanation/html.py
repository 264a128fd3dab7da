"""An explanation as one page that needs nothing else. Templates make it, and escape every text."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment

from updater.domain.window import minute
from updater.errors import ConfigError
from updater.evaluation.html import page_templates
from updater.explanation.bars import bar_chart, signed
from updater.explanation.explain import ITSELF, MOST_EVENTS, MOST_TEXTS, Effect, Explanation
from updater.lake import partitions

MOST_SHOWN = 20
"""Rows of a table or a picture."""
NOTHING = "–"
IS_NOT = (
    "Not a cause. It says what the model would compute for a user who never had the events, not what the user would "
    "do; the model has learned what goes together.",
    "Not a sum. Effects do not add up to the score or to each other: what two texts both say shows in neither, because "
    "the other one still says it, and what takes both of them shows in each.",
    "Not a comparison of users. A direction's unit is the unit of whoever fitted it; with the embedding itself as the "
    "direction, an effect only says how far the embedding moves away, and no effect is good or bad.",
    "Not about other columns. A model that reads further features or other scenarios' embeddings has further reasons.",
)
MODALITY_HEAD = ("modality", "events", "effect", "moved")
TEXT_HEAD = ("modality", "text", "events", "effect", "moved")
EVENT_HEAD = ("modality", "text", "event", "time (UTC)", "effect", "moved")


def write_page(explanation: Explanation, path: str) -> None:
    """Write the page to a path or fsspec URL, whole. Raises ConfigError if it cannot be written."""
    page = render(explanation)
    try:
        with partitions.write_file(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror or error}); name another file.") from None


def render(explanation: Explanation) -> str:
    """The page."""
    e = explanation
    page: str = (
        _templates()
        .get_template("explanation.html.j2")
        .render(
            title=f"What moves the embedding of {e.user_id} for {e.scenario}",
            e=e,
            as_of=minute(e.as_of),
            itself=e.direction == ITSELF,
            modality_chart=bar_chart([(one.modality, one.effect) for one in e.modalities]),
            text_chart=bar_chart([(f"{one.modality}: {one.text}", one.effect) for one in e.texts[:MOST_SHOWN]]),
            modalities=[[one.modality, f"{one.num_events:,}", *_numbers(one)] for one in e.modalities],
            texts=[
                [one.modality, one.text or NOTHING, f"{one.num_events:,}", *_numbers(one)]
                for one in e.texts[:MOST_SHOWN]
            ],
            events=[
                [
                    one.modality,
                    one.text or NOTHING,
                    one.event_id,
                    minute(one.event_time) if one.event_time else NOTHING,
                    *_numbers(one),
                ]
                for one in e.events[:MOST_SHOWN]
            ],
            counts=counts(e, MOST_SHOWN),
        )
    )
    return page


def counts(e: Explanation, shown: int) -> list[str]:
    """What was left out, and how much of it is shown."""
    sentences = []
    for name, found, total, most, chosen in (
        ("texts", e.texts, e.num_texts, MOST_TEXTS, "those with most events"),
        ("events", e.events, e.num_events, MOST_EVENTS, "the newest"),
    ):
        if total <= shown:
            sentences.append(f"All {total:,} {name} are shown.")
            continue
        said = f"Of {total:,} {name}"
        if total > most:
            said += f", {len(found):,} were left out, {chosen}, and of these"
        sentences.append(f"{said} the {min(shown, len(found)):,} with the largest effects are shown.")
    return sentences


def _numbers(one: Effect) -> Sequence[str]:
    return signed(one.effect), f"{one.moved:.4f}"


@cache
def _templates() -> Environment:
    return page_templates(
        "updater.explanation",
        IS_NOT=IS_NOT,
        MODALITY_HEAD=MODALITY_HEAD,
        TEXT_HEAD=TEXT_HEAD,
        EVENT_HEAD=EVENT_HEAD,
    )
