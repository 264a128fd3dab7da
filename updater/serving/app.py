"""The application: `POST /embed` answers a question about users, `GET /health` says what from."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from updater.errors import NothingCommittedError, UpdaterError
from updater.pipeline.query import EmbedReport
from updater.serving.answering import Answering, Answers
from updater.serving.requests import Asked, LimitedBody, what_is_wrong

if TYPE_CHECKING:
    from updater.store.repository.guard import Guard

Result = TypeVar("Result")

MOST_WAITING = 64
"""Questions that are being answered or wait for it; the next one is refused with 503."""
AGAIN = {"Retry-After": "1"}
ALL_VIEWS = "A free question may be about anything, so who asks needs the right to read every feature view"
logger = logging.getLogger(__name__)


def application(answering: Answering, guard: "Guard | None") -> FastAPI:
    """The application over what answers.

    Args:
        answering: answers; closed when the application ends.
        guard: checks who asks and what they may read; None if everybody who reaches the server may ask.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        answering.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(LimitedBody)
    num_waiting = 0

    async def in_turn(work: Callable[..., Result], *arguments: Any) -> Result:
        """Call it on the thread that answers, after those who wait already."""
        nonlocal num_waiting
        if num_waiting >= MOST_WAITING:
            raise HTTPException(503, f"{MOST_WAITING} questions wait already; ask again in a moment.", AGAIN)
        num_waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(answering.thread, work, *arguments)
        finally:
            num_waiting -= 1

    @app.post("/embed", dependencies=[Depends(guard.who_asks)] if guard else [], response_model=None)
    async def embed(asked: Asked) -> JSONResponse:
        if guard is not None:
            refusal = await run_in_threadpool(lambda: guard.refusal(answering.views()))
            if refusal is not None:
                raise HTTPException(403, f"{ALL_VIEWS} ({refusal}).")
        began = time.perf_counter()
        users = asked.user_ids or [asked.user_id or ""]
        answers = await in_turn(answering.ask, users, asked.query)
        logger.info(
            "answered for %d of %d users as of %s by %s, %.3f s",
            sum(embedding is not None for embedding in answers.embeddings),
            len(users),
            answers.as_of,
            answers.model,
            time.perf_counter() - began,
        )
        return JSONResponse(_of_one(answers) if asked.user_ids is None else asdict(answers))

    @app.get("/health")
    async def health() -> JSONResponse:
        found = await run_in_threadpool(answering.ask, [], "?")
        return JSONResponse({"status": "ok", "as_of": found.as_of, "model": found.model})

    _explain_errors(app)
    return app


def _explain_errors(app: FastAPI) -> None:
    """Let every answer that is none be `{"detail": one sentence}`."""

    @app.exception_handler(RequestValidationError)
    async def cannot_be_read(_: Request, error: RequestValidationError) -> JSONResponse:
        return _refused(422, what_is_wrong(error.errors()[0]))

    @app.exception_handler(UpdaterError)
    async def cannot_answer(_: Request, error: UpdaterError) -> JSONResponse:
        # The whole sentence may name paths and servers, and who reads it may be anybody.
        logger.warning("%s: %s", type(error).__name__, error)
        if isinstance(error, NothingCommittedError):
            return _refused(503, "No window is committed yet, so nothing is known.")
        status = 503 if error.retryable else 500
        return _refused(status, f"No answer is possible now ({type(error).__name__}); the server's log says why.")

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _refused(500, f"The server failed ({type(error).__name__}); its log says where.")


def _of_one(answers: Answers) -> dict[str, Any]:
    """The only user's answer, as `updater user embed --json` prints it. Raises HTTPException if there is none."""
    [user], [embedding], [told] = answers.user_ids, answers.embeddings, answers.answers
    if embedding is None:
        raise HTTPException(404, f"User {user!r} has no event in the buffer as of {answers.as_of}, or was erased.")
    return asdict(
        EmbedReport(user, answers.query, None, answers.as_of, answers.model, answers.trained, embedding, told)
    )


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"detail": sentence}, status)
