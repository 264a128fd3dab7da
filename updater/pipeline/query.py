"""An embedding for any question, from the stored state: no window is run, nothing is written, Feast is not touched."""

from dataclasses import dataclass

import numpy as np

from updater.domain.buckets import bucket_of
from updater.domain.scenario import Scenario
from updater.errors import ConfigError, NothingCommittedError
from updater.lake.pseudonyms import known_id
from updater.pipeline.daily.bucket_values import read_buffer
from updater.runtime.deployment import Context
from updater.runtime.session import Session
from updater.runtime.threads import one_thread
from updater.users.event_batches import user_batch


@dataclass(frozen=True)
class EmbedReport:
    """One embedding, and what it rests on."""

    user_id: str
    """As the state knows the user: the lake's id, or its pseudonym."""
    query: str
    scenario: str | None
    as_of: str
    """Instant (UTC) up to which everything known is in it: the end of the newest committed window."""
    model: str
    trained: bool
    embedding: list[float]
    """L2-normalized, float32."""


def embed_user(context: Context, user_id: str, query: str | None, scenario: str | None) -> EmbedReport:
    """Ask the live model a question about a user, as of the newest committed window.

    Args:
        context: the deployment.
        user_id: as the lake has it.
        query: any question.
        scenario: instead of a question, a scenario of the config: its query, after its soft prompt if it has one. For
            a user that the newest window changed this is the published embedding, to the bit.

    Raises:
        ConfigError: the user has no events or was erased, the scenario does not exist, or not exactly one of `query`
            and `scenario` is given.
        NothingCommittedError: no window is committed.
    """
    settings = context.settings
    if (query is None) == (scenario is None) or not (query or scenario or "").strip():
        raise ConfigError("Ask one question: give --query, or --scenario for the query of a scenario.")
    chosen = _scenario(context, scenario) if scenario is not None else None
    watermark = context.ledger.watermark()
    if watermark is None:
        raise NothingCommittedError("No window is committed yet, so nothing is known; run `updater run --ds …`.")
    window = context.window(watermark)
    session = Session(context)
    user = known_id(settings, user_id)
    if user in context.ledger.erased():
        raise ConfigError(f"User {user!r} was erased and stays out of the state, so there is nothing to ask about.")
    with one_thread():
        buffered = read_buffer(context, session, window, [bucket_of(user, settings.buffer.num_buckets)], [user])
        everyone = np.arange(1)
        summaries = [events.summarize(everyone) for events in buffered.events]
        if not any(summary.num_events_B[0] for summary in summaries):
            raise ConfigError(
                f"User {user!r} has no stream event in the {settings.buffer.days} days up to {window} and no snapshot; "
                "check the id, or run the windows that have its rows."
            )
        batch = user_batch(buffered.events, summaries, everyone)
        if chosen is None:
            values = session.inference.embed(batch, [query or ""])[0, 0]
        else:
            # An embedding's last bits depend on the set of questions of its pass, so these are those of a window.
            queries, names = [s.query for s in settings.scenarios], [s.name for s in settings.scenarios]
            values = session.inference.embed(batch, queries, names)[0, settings.scenarios.index(chosen)]
    record = session.model_record
    return EmbedReport(
        user_id=user,
        query=chosen.query if chosen else query or "",
        scenario=scenario,
        as_of=window.as_of.isoformat(),
        model=record.name,
        trained=record.trained,
        embedding=values.tolist(),
    )


def _scenario(context: Context, name: str) -> Scenario:
    for scenario in context.settings.scenarios:
        if scenario.name == name:
            return scenario
    known = ", ".join(scenario.name for scenario in context.settings.scenarios)
    raise ConfigError(f"Scenario {name!r} is not in {context.settings.source}; there are {known}.")
