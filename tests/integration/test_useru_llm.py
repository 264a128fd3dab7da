"""Questions and answers by a language model behind a real HTTP endpoint, through to the data set's files."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.factories import bill, event_table, search
from tests.integration.chat_server import TOKENS, Answer, ChatServer, completion, listed, prompt, speak, step
from tests.profiles import MODALITIES, SHOPPER
from updater.domain.declared.generator import GeneratorChoice
from updater.domain.erasure import Erased
from updater.domain.window import day_window, days
from updater.errors import ConfigError, ServiceUnavailableError, UpdaterError
from updater.lake.landing import read_partition
from updater.lake.partitions import day_directory, join
from updater.language_models.chat import Chat
from updater.pipeline.init import create_ledger
from updater.settings import Settings
from updater.state.event_store import EventFile
from updater.state.layout import StateLayout
from updater.training.useru.answers import LogGenerator
from updater.training.useru.dataset import DatedSplit, Recipe, build, read_split
from updater.training.useru.facts.topics import topic_pool
from updater.training.useru.generators import make_generator
from updater.training.useru.language_model.generator import MAX_ATTEMPTS, PROMPTS, LlmGenerator
from updater.training.useru.language_model.replies import Replies

KEY = "sk-very-secret-0123456789"
FIRST, ANCHOR, LAST = date(2024, 3, 1), date(2024, 3, 10), date(2024, 3, 17)
BOUGHT = {
    "customer-ada": ["dairy", "dairy", "wine", "dairy"],
    "customer-bob": ["fuel", "fuel"],
    "customer-cy": ["dairy", "books", "books"],
}
DAIRY = {"customer-ada": "3", "customer-cy": "1"}
POOL = topic_pool(MODALITIES)


def nobody() -> "nullcontext[Erased]":
    """Nobody was erased, and nobody is meanwhile."""
    return nullcontext(Erased())


class Deployed:
    """A landed lake of three users, and what `build` needs of it."""

    def __init__(self, root: Path, make_settings: Callable[..., Settings], url: str) -> None:
        self.root = root
        choice = {"kind": "llm", "url": url, "model": "test-model", "api_key_env": "LLM_KEY", "max_retries": 0}
        self.settings = make_settings(buffer={"days": 10, "num_buckets": 2}, generator=choice)
        self.files: dict[str, list[EventFile]] = {"bill": [], "search": []}
        create_ledger(self.settings)
        purchases = [
            bill(user, f"{n}", f"2024-03-0{n + 1} 18:00:00", category=category, merchant=f"card of {user}")
            for user, categories in BOUGHT.items()
            for n, category in enumerate(categories)
        ]
        searches = [search(user, "s", "2024-03-02 09:00:00", query="opening hours") for user in BOUGHT]
        for name, rows in (("bill", purchases), ("search", searches)):
            for ds in days(FIRST, LAST):
                self._land(name, ds, [row for row in rows if row["event_time"].date() == ds])
        vocabulary = frozenset(name for names in BOUGHT.values() for name in names)
        split = DatedSplit(valid_from=LAST + timedelta(days=1), test_from=LAST + timedelta(days=1))
        pool = topic_pool(self.settings.modalities, [("bill", name) for name in sorted(vocabulary)])
        self.recipe = Recipe(split=split, pool=pool, vocabulary=vocabulary, future_days=7)

    def _land(self, name: str, ds: date, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        source = day_directory(join(self.settings.paths.lake, name), ds)
        Path(source).mkdir(parents=True)
        pq.write_table(event_table(rows), f"{source}/part-000.parquet")
        window, modality = day_window(ds, "UTC"), self.settings.modality(name)
        landed = read_partition(source, modality, window, self.settings.limits, 2, None)
        path = Path(self.settings.paths.state, "events", name, f"{landed.digest}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(landed.events, path)
        self.files[name].append(EventFile(ds, str(path)))

    def generator(self, **choice: Any) -> LlmGenerator:
        settings = replace(self.settings, generator=replace(self.settings.generator, **choice))
        made = make_generator(settings, {"LLM_KEY": f"{KEY}\n"})
        assert isinstance(made, LlmGenerator)
        return made

    def build(self, generator: LlmGenerator, name: str = "useru") -> list[dict[str, Any]]:
        """The rows that the generator wrote."""
        log = self.settings, self.files, (FIRST, LAST), [ANCHOR]
        build(str(self.root / name), *log, generator, self.recipe, no_erasure=nobody)
        rows = read_split(str(self.root / name), "train").to_pylist()
        return [row for row in rows if row["generator"] == generator.version]

    def kept(self) -> list[Path]:
        return sorted(Path(self.settings.paths.state, "training", "llm").rglob("*.parquet"))

    def replies(self) -> list[str]:
        return [reply for path in self.kept() for reply in pq.read_table(path)["reply"].to_pylist()]


@pytest.fixture
def deployed(tmp_path: Path, make_settings: Callable[..., Settings], server: ChatServer) -> Deployed:
    return Deployed(tmp_path, make_settings, server.url)


def test_answers_are_checked_by_the_model_and_then_by_the_log(deployed: Deployed, server: ChatServer) -> None:
    generator = deployed.generator()
    rows = deployed.build(generator)
    assert Counter(row["user_id"] for row in rows) == dict.fromkeys(BOUGHT, 10)
    topics = {topic.name: topic for topic in deployed.recipe.pool}
    for row in rows:
        user = row["user_id"]
        assert row["question"] == topics[row["topic"]].question
        # The model's own reflection mended the number; the log threw out what the model had left in.
        expected = [f"The user bought dairy {DAIRY[user]} times."] if user in DAIRY else []
        expected += ["The user likes fuel."] if "fuel" in BOUGHT[user] else []
        assert row["answer"] == " ".join([*expected, "The user plans ahead."])
        assert row["num_dropped"] == (1 if "fuel" in BOUGHT[user] else 2)
        assert row["claims"] == "[]"
    assert [step(body) for body in server.asked] == ["topic", "question", "draft"] * 3
    assert "test-model" in generator.version
    assert (generator.progress.num_profiles, generator.progress.num_tokens) == (3, 9 * TOKENS)


def test_the_users_id_stays_here(deployed: Deployed, server: ChatServer) -> None:
    deployed.build(deployed.generator())
    assert all("opening hours" in prompt(body) and 'category "' in prompt(body) for body in server.asked)
    sent = json.dumps([server.asked, server.headers, deployed.replies()])
    assert not [user for user in BOUGHT if user in sent]
    assert "2024" not in "".join(map(prompt, server.asked))


def test_a_second_build_asks_nothing_and_writes_the_same(deployed: Deployed, server: ChatServer) -> None:
    rows = deployed.build(deployed.generator())
    asked = len(server.asked)
    generator = deployed.generator()
    assert deployed.build(generator, "again") == rows
    assert (len(server.asked), generator.progress.num_kept, generator.progress.num_tokens) == (asked, 9, 0)
    for path in (deployed.root / "again").rglob("*.parquet"):
        assert path.read_bytes() == (deployed.root / "useru" / path.relative_to(deployed.root / "again")).read_bytes()
    deployed.kept()[0].write_bytes(b"PAR1")
    assert deployed.build(deployed.generator(), "damaged") == rows and len(server.asked) == asked + 1


def test_a_spent_budget_stops_and_the_next_run_goes_on(deployed: Deployed, server: ChatServer) -> None:
    with pytest.raises(
        UpdaterError, match=r"\(400\) is used up: this run finished 1 profiles and used 400 tokens"
    ) as caught:
        deployed.build(deployed.generator(max_tokens_total=4 * TOKENS))
    assert "run it again" in str(caught.value) and len(server.asked) == 4
    with pytest.raises(UpdaterError, match="used 400 tokens in 4 requests"):
        deployed.build(deployed.generator(max_tokens_total=4 * TOKENS))
    assert len(server.asked) == 8
    rows = deployed.build(deployed.generator(max_tokens_total=4 * TOKENS))
    assert len(rows) == 30 and len(server.asked) == 9
    assert len({json.dumps(body) for body in server.asked}) == 9


def test_a_broken_off_build_goes_on(deployed: Deployed, server: ChatServer) -> None:
    server.respond = lambda body: completion(speak(body)) if len(server.answered) < 5 else (503, {}, {})
    with pytest.raises(ServiceUnavailableError, match=r"status 503.*run it again"):
        deployed.build(deployed.generator())
    assert not list((deployed.root / "useru").rglob("_SUCCESS")) and len(deployed.kept()) == 5
    server.respond = lambda body: completion(speak(body))
    assert len(deployed.build(deployed.generator())) == 30
    assert len(server.answered) == len({json.dumps(body) for body in server.answered}) == 9


def test_the_key_is_sent_and_nowhere_else(
    deployed: Deployed, server: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deployed.build(deployed.generator())
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}

    def echoing(status: int) -> None:
        said = {"error": {"message": f"got {server.headers[-1]['Authorization']}\nin vain"}}
        server.respond = lambda _: (status, {}, said)

    errors = []
    for status, error in ((401, ConfigError), (503, ServiceUnavailableError)):
        echoing(status)
        with pytest.raises(error, match=r"got Bearer \*\*\* in vain") as caught:
            deployed.build(deployed.generator(temperature=0.0, max_retries=0), "other")
        errors.append(str(caught.value))
    assert "$LLM_KEY" in errors[0]
    written = b"".join(path.read_bytes() for path in deployed.root.rglob("*") if path.is_file())
    written += "".join(deployed.replies()).encode()
    assert b"test-model" in written and KEY.encode() not in written
    spoken = caplog.text + "".join(errors) + deployed.generator().version + repr(deployed.generator()._chat)
    assert "127.0.0.1" in spoken and KEY not in spoken


def test_the_config_decides_who_writes(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_generator(make_settings()), LogGenerator)
    choice = {"kind": "llm", "url": "http://localhost:1/v1", "model": "m"}
    local = make_generator(make_settings(generator=choice), {})
    other = make_generator(make_settings(generator={**choice, "model": "n"}), {})
    assert local.version.startswith("llm-m-") and other.version.startswith("llm-n-")
    warmer = make_generator(make_settings(generator={**choice, "temperature": 0.9}), {})
    before, warmer_version = local.version, warmer.version
    monkeypatch.setitem(PROMPTS, "answers", PROMPTS["answers"] + "Be brief.\n")
    assert len({before, warmer_version, local.version}) == 3
    settings = make_settings(generator={**choice, "api_key_env": "LLM_KEY"})
    for environ in ({}, {"LLM_KEY": " "}):
        with pytest.raises(ConfigError, match=r"\$LLM_KEY, which is not set"):
            make_generator(settings, environ)
    with pytest.raises(ConfigError, match="characters that no header may hold") as caught:
        make_generator(settings, {"LLM_KEY": "sk-se\ncret"})
    assert "cret" not in str(caught.value)


def drafts_of(server: ChatServer, root: Path) -> tuple[LlmGenerator, list[Any]]:
    choice = GeneratorChoice(kind="llm", url=server.url, model="m")
    generator = LlmGenerator(Chat(choice), Replies(StateLayout(str(root)), nobody), 1_000_000)
    return generator, generator.drafts(SHOPPER, POOL)


@pytest.mark.parametrize("broken", ["topic", "question", "draft"])
def test_a_reply_in_no_form_is_asked_for_again(server: ChatServer, tmp_path: Path, broken: str) -> None:
    def stumbling(body: dict[str, Any]) -> Answer:
        return completion("Sure!" if step(body) == broken and "attempt 2" not in prompt(body) else speak(body))

    server.respond = stumbling
    generator, drafts = drafts_of(server, tmp_path)
    assert len(drafts) == 10 and generator.progress.num_left_out == 0 and len(server.asked) == 4
    assert drafts_of(server, tmp_path)[1] == drafts and len(server.asked) == 4


@pytest.mark.parametrize("broken", ["topic", "question", "draft"])
@pytest.mark.parametrize("reply", ["{", None, '{"items": [{"number": 999, "text": "Not asked."}]}'])
def test_topics_without_a_usable_reply_are_left_out(
    server: ChatServer, tmp_path: Path, broken: str, reply: str | None
) -> None:
    server.respond = lambda body: completion(reply if step(body) == broken else speak(body))
    generator, drafts = drafts_of(server, tmp_path)
    assert drafts == [] and generator.progress.num_left_out == 10
    assert Counter(map(step, server.asked))[broken] == MAX_ATTEMPTS


def test_only_what_is_missing_is_asked_for_again(
    server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def forgetful(body: dict[str, Any]) -> Answer:
        spoken = json.loads(speak(body)) if step(body) != "draft" else None
        if step(body) == "question" and spoken:
            spoken["items"] = spoken["items"][1:]
        return completion(json.dumps(spoken) if spoken else speak(body))

    server.respond = forgetful
    generator, drafts = drafts_of(server, tmp_path)
    assert len(drafts) == 9 and generator.progress.num_left_out == 1
    assert [len(listed(body)) for body in server.asked if step(body) == "question"] == [10, 1, 1]
    assert "1 topics of a profile are left out: 3 replies had no answers" in caplog.text
