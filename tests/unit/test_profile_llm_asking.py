"""How a language model is asked about many users: who waits, and who does not."""

from collections.abc import Mapping
from typing import Any

from updater.errors import ConfigError, ServiceUnavailableError
from updater.language_models.speaker import Reply
from updater.pipeline.profile_llm.asking import MAX_FAILURES, Asker


class Model:
    """Answers with what it is asked, or fails as it is told."""

    model = "m"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def request(self, system: str, user: str) -> dict[str, Any]:
        return {"system": system, "user": user}

    def ask(self, request: Mapping[str, Any]) -> Reply:
        self.asked.append(request["user"])
        match request["user"]:
            case "busy":
                raise ServiceUnavailableError("no reply")
            case "too long":
                raise ConfigError("refused")
        return Reply(request["user"], 1)

    def close(self) -> None:
        """Nothing is open."""


def ask(model: Model, *users: str) -> tuple[Asker, list[str | None]]:
    asker = Asker(model, 1)
    return asker, asker.ask([model.request("s", user) for user in users])


def test_one_failure_costs_its_user_and_nobody_else() -> None:
    asker, replies = ask(Model(), "a", "busy", "too long", "b", "busy", "busy", "c")
    assert replies == ["a", None, None, "b", None, None, "c"]
    assert (asker.num_asked, asker.num_failed, asker.has_given_up) == (3, 4, False)


def test_after_three_failures_in_a_row_nobody_else_waits() -> None:
    model = Model()
    asker, replies = ask(model, "a", *["busy"] * 5, "b")
    assert replies == ["a", *[None] * 6]
    assert model.asked == ["a", *["busy"] * MAX_FAILURES]
    assert asker.has_given_up and isinstance(asker.last_error, ServiceUnavailableError)
    assert asker.ask([model.request("s", "c")]) == [None]
