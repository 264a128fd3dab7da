"""A language model's texts as a part of the state: run twice, killed, erased, merged, forbidden, by command."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.deployment import NOW, Deployment
from tests.factories import bill, land_rows, search
from tests.integration.chat_server import Answer, completion, prompt
from tests.integration.kept_texts import ANN, CAT, DAYS, SHAPE, Deployed, clauses, facets, follow, land
from tests.integration.kept_texts import deployed as deployed
from tests.integration.kept_texts import saved as saved
from tests.small_models import make_reader
from updater.cli import main
from updater.domain.columns import PROFILE_LLM_VIEW
from updater.domain.declared.access import Permission
from updater.errors import ConfigError, NothingCommittedError, WindowOrderError
from updater.pipeline.compact.run import maintain
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.profile_llm.run import update_profiles
from updater.runtime import crash_points
from updater.store.repository.features import permissions


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.update()
    written, asked = deployed.written(), len(deployed.server.asked)
    again = deployed.update()
    assert (again.already_done, again.asked, again.accepted) == (2, 0, 0)
    # As a run leaves it that was killed between the replies and the rows.
    shutil.rmtree(deployed.deployment.state / "offline" / PROFILE_LLM_VIEW / f"ds={DAYS[1]}")
    deployed.server.respond = lambda body: completion("other")
    third = deployed.update()
    assert (third.kept, third.asked, third.accepted) == (2, 0, 2)
    assert deployed.written() == written and len(deployed.server.asked) == asked


POINTS = [f"{when}:{write}" for write in crash_points.PROFILE_WRITES for when in ("before", "after")]


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize(
    "point", [f"{when}:{write}" for write in crash_points.PROFILE_WRITES for when in ("before", "after")]
)
def test_killed_anywhere_and_run_again_it_is_as_if_it_had_not_been(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    deployed.server.respond = follow
    reached = []

    def reach(here: str) -> None:
        reached.append(here)
        # The first load brings online what a killed run left; the second one is this run's.
        if here == point and reached.count(here) == (2 if "materialized" in point else 1):
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reach", reach)
        with pytest.raises(Killed):
            deployed.update()
    deployed.update()
    assert {*deployed.rows()} == {ANN, CAT}
    assert deployed.online(PROFILE_LLM_VIEW, "llm_profile_text", CAT) == [deployed.rows()[CAT]["llm_profile_text"]]
    if "replies" not in point:
        assert len(deployed.server.asked) == 2


@pytest.mark.campaign
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_leaves_what_the_next_one_makes_whole(deployed: Deployed, point: str) -> None:
    """By the kernel, at every write; the model words its answers otherwise each time, so a second answer would show."""
    words = cycle(["often", "mostly", "usually", "regularly"])

    def moody(body: dict[str, Any]) -> Answer:
        word = next(words)
        return clauses(*((f'{one["source"]} {word} "{one["value"]}"', [one["id"]]) for one in facets(body)))

    def run(**variables: str) -> int:
        command = [sys.executable, "-m", "updater.cli", "profile", "update"]
        return subprocess.run(
            command, env={**os.environ, **own, **variables}, check=False, capture_output=True
        ).returncode

    deployed.server.respond = moody
    config = str(deployed.deployment.settings.source)
    own = {"UPDATER_CONFIG": config, "UPDATER_PROFILE__LANGUAGE_MODEL__URL": deployed.server.url}
    # The first load brings online what a run before left; the second one is this run's.
    assert run(UPDATER_CRASH_POINT=f"{point}:2" if "materialized" in point else point) == -signal.SIGKILL
    kept = {row["request"]: row["reply"] for row in deployed.replies()}
    assert run() == 0
    replies = {row["request"]: row["reply"] for row in deployed.replies()}
    assert kept.items() <= replies.items() and len(replies) == 2
    rows = deployed.rows()
    assert {*rows} == {ANN, CAT}
    for user, row in rows.items():
        [reply] = [one["reply"] for one in deployed.replies() if one["user_id"] == user]
        assert row["llm_profile_text"].split()[1] in reply
        assert deployed.online(PROFILE_LLM_VIEW, "llm_profile_text", user) == [row["llm_profile_text"]]


def test_an_erasure_takes_texts_prompts_and_replies(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.update()
    other = deployed.rows()[CAT]
    erase(deployed.deployment.context, [ANN])
    assert not find(deployed.deployment.context, [ANN]).places
    assert deployed.rows() == {CAT: other} and deployed.recorded() == {CAT}
    assert deployed.online(PROFILE_LLM_VIEW, "llm_profile_text", ANN) == [None]
    assert deployed.update().accepted == 0


def test_who_is_erased_while_the_model_thinks_is_not_written(deployed: Deployed) -> None:
    def respond(body: dict[str, Any]) -> Answer:
        erase(deployed.deployment.context, [ANN])
        return follow(body)

    deployed.change(concurrency=1)
    deployed.server.respond = respond
    deployed.update()
    assert {*deployed.rows()} == deployed.recorded() == {CAT}
    assert not find(deployed.deployment.context, [ANN]).places


def test_a_column_that_is_forbidden_later_leaves_the_texts_and_the_prompts(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.update()
    settings = deployed.deployment.settings
    deployed.deployment.settings = replace(settings, profile=replace(settings.profile, forbidden_columns=("query",)))
    deployed.deployment.run([DAYS[2]])
    asked = len(deployed.server.asked)
    report = deployed.update()
    assert (report.accepted, report.withdrawn) == (1, 1)
    assert "gold" not in json.dumps([prompt(body) for body in deployed.server.asked[asked:]])
    texts = {user: row["llm_profile_text"] for user, row in deployed.rows(DAYS[2]).items()}
    assert texts == {ANN: 'Buys often "dairy". Buys often "bakery".', CAT: ""}
    assert deployed.online(PROFILE_LLM_VIEW, "llm_profile_text", CAT) == [""]
    assert deployed.update().withdrawn == 0


def test_a_chain_only_goes_on(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.update()
    written = deployed.written()
    assert deployed.update(DAYS[0]).overtaken_by == str(DAYS[1])
    assert deployed.written() == written
    with pytest.raises(WindowOrderError, match="not committed"):
        deployed.update(DAYS[2])


def test_the_same_users_are_asked_about_where_there_are_too_many(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.change(max_users=1)
    report = deployed.update()
    assert (report.users, report.left_out, report.accepted) == (1, 1, 1)
    assert deployed.update().already_done == 1


@pytest.mark.campaign
def test_merged_texts_are_parents_and_a_merged_day_takes_no_more(deployed: Deployed) -> None:
    deployed.server.respond = follow
    deployed.update()
    later = [DAYS[2] + timedelta(days=number) for number in range(8)]
    for ds in later:
        land(deployed.deployment.lake, ds)
        deployed.deployment.run([ds])
        deployed.update()
    maintain(replace(deployed.deployment, now=NOW + timedelta(days=400)).context)
    state = deployed.deployment.state
    assert list(state.glob(f"offline/{PROFILE_LLM_VIEW}/span=*/*.parquet"))
    assert deployed.update().already_done == 1
    [before] = deployed.online(PROFILE_LLM_VIEW, "llm_profile_digest", ANN)
    last = later[-1] + timedelta(days=1)
    land(deployed.deployment.lake, last)
    deployed.deployment.run([last])
    deployed.update()
    assert deployed.rows(last)[ANN]["llm_profile_parent_digest"] == before


def test_nothing_is_done_that_was_not_asked_for(deployed: Deployed, tmp_path: Path) -> None:
    deployed.change(enabled=False)
    with pytest.raises(ConfigError, match=r"profile.language_model.enabled is false"):
        deployed.update()
    with pytest.raises(NothingCommittedError):
        update_profiles(Deployment.create(tmp_path, **SHAPE).context)
    assert not deployed.server.asked


def test_a_view_that_is_not_registered_costs_no_request(deployed: Deployed, tmp_path: Path) -> None:
    without = {**SHAPE, "profile": {"enabled": True}}
    made = Deployment.create(tmp_path, **without)
    land_rows(made.lake, "bill", DAYS[0], [bill(ANN, "a", f"{DAYS[0]} 10:00")])
    land_rows(made.lake, "search", DAYS[0], [search(ANN, "a", f"{DAYS[0]} 10:00")])
    made.run(DAYS[:1])
    made.settings = replace(made.settings, profile=deployed.deployment.settings.profile)
    with pytest.raises(ConfigError, match="updater init"):
        update_profiles(made.context)
    assert not deployed.server.asked


def test_the_key_is_read_from_the_environment_only(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed.server.respond = follow
    deployed.change(api_key_env="LLM_KEY")
    monkeypatch.delenv("LLM_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"profile.language_model.api_key_env names \$LLM_KEY, which is not set"):
        deployed.update()
    monkeypatch.setenv("LLM_KEY", "sk-secret")
    deployed.update()
    assert {headers["Authorization"] for headers in deployed.server.headers} == {"Bearer sk-secret"}


def test_a_local_model_is_asked_without_a_network(deployed: Deployed, tmp_path: Path) -> None:
    """A model of two layers with random weights, untrained: what it says is never of the form, and always the same."""
    directory = make_reader(tmp_path / "reader", context=4096)
    rules = deployed.rules()
    deployed.change(url="", model=str(directory), max_new_tokens=8)
    report = deployed.update()
    assert report.updater.startswith("llm:reader-")
    assert (report.asked, report.rejected) == (2, {"unreadable": 2})
    first = {row["user_id"]: row["reply"] for row in deployed.replies()}
    assert all(first.values())
    shutil.rmtree(deployed.deployment.state / "profiles")
    deployed.update()
    assert {row["user_id"]: row["reply"] for row in deployed.replies()} == first
    assert deployed.rules() == rules and not deployed.server.asked
    # A context that the rules alone fill costs each user a text, and says why in the end.
    deployed.change(model=str(make_reader(tmp_path / "short", context=64)))
    assert deployed.update().failed == 2


def test_the_command_line_says_what_was_done_and_shows_both_texts(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed.server.respond = follow
    monkeypatch.setenv("UPDATER_CONFIG", str(deployed.deployment.settings.source))
    monkeypatch.setenv("UPDATER_PROFILE__LANGUAGE_MODEL__URL", deployed.server.url)
    done = CliRunner().invoke(main, ["profile", "update"])
    assert done.exit_code == 0, done.output
    assert "users     2 changed on 2024-03-02" in done.output and "2 accepted" in done.output
    shown = CliRunner().invoke(main, ["user", "profile", "--user-id", CAT])
    assert "updater  rules@4," in shown.output and "updater  llm:m@" in shown.output
    assert deployed.rows()[CAT]["llm_profile_text"] in shown.output.replace("\n", " ")
    deployed.server.respond = lambda body: (200, {}, "garbage")
    monkeypatch.setenv("UPDATER_PROFILE__LANGUAGE_MODEL__MODEL", "other")
    again = CliRunner().invoke(main, ["profile", "update", "--ds", str(DAYS[0])])
    assert "2024-03-02 has texts already" in again.output and again.exit_code == 0


def test_readers_of_the_domain_profile_may_read_it_and_nobody_else(deployed: Deployed) -> None:
    settings = deployed.deployment.settings
    roles = tuple(Permission(domain=name, roles=(name,)) for name in ("risk", "marketing", "profile"))
    made = permissions(replace(settings, permissions=roles))
    patterns = {name: made[name].name_patterns for name in made if name.startswith("read_profile")}
    assert patterns == {
        "read_profile_services": [r"profile_v\d+", r"profile_llm_v\d+"],
        "read_profile_views": [r"user_text_profile_v\d+", r"user_text_profile_llm_v\d+"],
    }
    assert not [name for name in made["read_risk_views"].name_patterns if "profile" in name]
