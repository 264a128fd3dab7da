"""What may be asked over HTTP: the body of a request, its limits, and what is wrong with one in a sentence."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_USERS = 256
"""Users of one request: they are one batch, and everybody who asks next waits for it."""
MOST_CHARACTERS = 2_000
"""Of a question."""
MOST_ID_CHARACTERS = 1_024
MOST_BYTES = 1 << 20
"""Of a body."""
EXAMPLE = '{"user_id": "1018", "query": "Will this user buy milk?"}'
HEADER = "Content-Type: application/json"

UserId = Annotated[str, StringConstraints(min_length=1, max_length=MOST_ID_CHARACTERS)]


class Asked(BaseModel):
    """A question about one user or several."""

    model_config = ConfigDict(strict=True, extra="forbid")

    query: Annotated[str, StringConstraints(max_length=MOST_CHARACTERS)]
    """Any question."""
    user_id: UserId | None = None
    """The user, as the feature store has the id."""
    user_ids: Annotated[list[UserId], Field(min_length=1, max_length=MOST_USERS)] | None = None
    """Several users, in the place of one."""

    @field_validator("query")
    @classmethod
    def _says_something(cls, query: str) -> str:
        if not query.strip():
            raise ValueError("is empty")
        return query

    @model_validator(mode="after")
    def _names_users(self) -> "Asked":
        if (self.user_id is None) == (self.user_ids is None):
            raise ValueError("give either user_id or user_ids")
        return self


def what_is_wrong(problem: dict[str, Any]) -> str:
    """A problem that pydantic found in a request, as a sentence that repeats nothing of the request."""
    place = ".".join(str(part) for part in problem["loc"][1:])
    found = problem["msg"].removeprefix("Value error, ")
    said = f"{place}: {found}" if place else found
    return f"The request cannot be read ({said}); send JSON such as {EXAMPLE}, with the header {HEADER}."


class LimitedBody:
    """Refuses a body of more than `MOST_BYTES` while it comes in, with 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > MOST_BYTES:
                raise HTTPException(
                    413, f"The request has more than {MOST_BYTES:,} bytes; ask about fewer users at once."
                )
            return message

        await self._app(scope, counted, send)
