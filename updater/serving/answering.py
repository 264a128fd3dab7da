"""What answers questions while a server runs: one model in memory, and the state as it is when somebody asks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from updater.pipeline.query import Query, answer
from updater.runtime.deployment import open_context
from updater.runtime.process_pool import open_session
from updater.runtime.threads import one_thread
from updater.settings import Settings


@dataclass(frozen=True)
class Answers:
    """Embeddings and answers for one question, and what they rest on."""

    query: str
    as_of: str
    """Instant (UTC) up to which everything known is in them: the end of the newest committed window."""
    model: str
    trained: bool
    user_ids: list[str]
    embeddings: list[list[float] | None]
    """L2-normalized, float32; None for a user who has no event in the buffer or was erased."""
    answers: list[float | None]
    """As `EmbedReport.answer`; None for the same users, and from a model that was not trained to answer."""


class Answering:
    """Answers one question after the other, on a thread of its own that has the model and the connection to the state.

    Watermark, live model and erased users are read for each question. So a window that is committed and a version
    that becomes live count from the next question on; that one waits until the version's model is loaded.

    Args:
        settings: the config.

    Raises:
        ConfigError: the state is not initialized, or the config no longer fits it.
    """

    def __init__(self, settings: Settings) -> None:
        self._context = open_context(settings)
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="answering")
        """Where `load` and `ask` are to be called."""

    def load(self) -> str:
        """Load the live model; returns its name. Raises ConfigError if its files are not those that were recorded."""
        session = open_session(self._context)
        _ = session.inference
        return session.model_record.name

    def ask(self, user_ids: Sequence[str], query: str) -> Answers:
        """Embeddings and answers of users for a question, in their order.

        Args:
            user_ids: as the feature store has them: the lake's ids, or their pseudonyms. None gives what the next
                answer rests on.
            query: any question.

        Raises:
            NothingCommittedError: no window is committed.
        """
        asked = Query(self._context, query, None)
        wanted = set(user_ids) - self._context.ledger.erased().among(user_ids)
        embeddings: dict[str, list[float]] = {}
        told: dict[str, float | None] = {}
        if wanted:
            session = open_session(self._context, asked.model)
            with one_thread():
                found = answer(self._context, session, asked.window, asked.question, sorted(wanted))
            embeddings = dict(zip(found.users, found.embeddings, strict=True))
            told = dict(zip(found.users, found.told, strict=True))
        return Answers(
            query=query,
            as_of=asked.window.as_of.isoformat(),
            model=asked.model.name,
            trained=asked.model.trained,
            user_ids=list(user_ids),
            embeddings=[embeddings.get(user) for user in user_ids],
            answers=[told.get(user) for user in user_ids],
        )

    def views(self) -> list[str]:
        """Names of all feature views that are served with the live model: what an answer may tell of."""
        return self._context.feature_views()

    def close(self) -> None:
        """Answer no further question."""
        self.thread.shutdown(cancel_futures=True)
