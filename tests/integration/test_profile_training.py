"""Training of a profile updater on a lake: what it reads, that rewards are learned, and that a run can be resumed.

The model is tiny, random and speaks in whole lines (see `tests.updater_training`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import updater
from tests.factories import bill
from tests.updater_training import (
    CONFIG,
    DAYS,
    FIRST,
    TRAINING,
    MakeSettings,
    collected,
    context_of,
    deployment,
    land,
    liked,
    make,
    make_line_model,
    user_id,
)
from updater.cli import main
from updater.domain.buckets import is_held_out
from updater.domain.declared.profile_training import ProfileTraining
from updater.language_models.local import LocalSpeaker
from updater.model.sources import file_digest
from updater.pipeline.init import create_ledger
from updater.profile.language_model.prompt import system_prompt, user_prompt
from updater.runtime.deployment import Progress, no_progress
from updater.runtime.threads import one_thread
from updater.training.profile import run
from updater.training.profile.phases.policy import Policy, open_policy
from updater.training.profile.phases.reinforced import reinforce
from updater.training.profile.phases.supervised import supervise
from updater.training.profile.phases.trainers import Budget
from updater.training.profile.run import train_updater
from updater.training.profile.texts.candidates import candidates
from updater.training.profile.texts.dataset import make_training_updates
from updater.training.profile.texts.gather import gather
from updater.training.useru.language_model.replies import SCHEMA


def test_what_happens_or_lands_later_changes_nothing_of_what_is_asked(make_settings: MakeSettings) -> None:
    settings = make(make_settings)
    plan = collected(settings).plan
    [stages] = plan.trained
    seen = collected(settings).trained
    assert {chain.first.user_id for chain in seen} == {
        user_id(user) for user in range(40) if not is_held_out(user_id(user))
    }
    first = [(chain.first.question, chain.first.events) for chain in seen]
    second = [chain.second(None) for chain in seen]
    # Everything from the end of the first stage on is another: whom, what, and what lands late of before.
    later = {
        FIRST + timedelta(days=offset): [
            bill(user_id(user), f"x{user}-{offset}", f"{FIRST + timedelta(days=offset)} 10:00:00", category="gin")
            for user in range(40)
        ]
        for offset in range(DAYS)
        if FIRST + timedelta(days=offset) > stages.first
    }
    late = [bill(user_id(user), f"late{user}", f"{stages.first} 09:00:00", category="gin") for user in range(40)]
    later[stages.first + timedelta(days=1)] += late
    other = make_settings("other", **CONFIG, profile_training=TRAINING)
    land(other.paths.lake, later)
    changed = {chain.first.user_id: chain for chain in collected(other).trained}
    assert [changed[chain.first.user_id].first.question for chain in seen] == [question for question, _ in first]
    assert all(event.rejected != "gin" for chain in changed.values() for event in chain.first.events)
    assert all(event.chosen == "gin" for chain in changed.values() for event in chain.first.events)
    # And the second update, which is asked at the end of that day, knows.
    assert all(changed[update.user_id].second(None).question != update.question for update in second)


def test_chains_ask_about_the_next_stage_and_follow_on_what_was_written(make_settings: MakeSettings) -> None:
    found = collected(make(make_settings))
    chain = found.trained[0]
    user = int(chain.first.user_id[1:])
    assert chain.first.question.former.startswith("bill: ")
    assert liked(user) in {event.chosen for event in chain.first.events}
    assert len(chain.first.events) == 3  # a day's purchases
    stayed = chain.second(None)
    assert stayed.question.former == chain.first.question.former
    made = make_training_updates([chain], found.limits, lambda question: question.former, lambda update: True)
    went_on = chain.second(made.texts[0].candidate)
    assert went_on.question.former == made.texts[0].candidate.text
    assert went_on.events == stayed.events
    # Held-out users alone are looked at, after all that is trained on.
    assert {is_held_out(one.first.user_id) for one in found.examined} == {True}
    assert found.plan.trained[-1].end <= found.plan.examined.first


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_both_phases_learn(tmp_path: Path) -> None:
    """A toy on which rewards can rise, and do: of ten lines one is worth 1, and the others nothing."""
    lines = [f"line {number}" for number in range(10)]
    options = ProfileTraining(
        supervised_steps=12,
        supervised_learning_rate=0.05,
        reinforced_steps=25,
        reinforced_learning_rate=0.03,
        group=8,
        lora_rank=0,
        max_reply_tokens=1,
    )
    prompts = ["line 1\nline 2", "line 3"]
    name = str(make_line_model(tmp_path / "model", lines))

    def rewards(number: int, replies: Sequence[str], policy: Policy) -> list[float]:
        return [float(reply == lines[7]) for reply in replies]

    found = reinforce(open_policy(name), prompts, rewards, options, tmp_path / "rl", Budget(), no_progress)
    mean = [step["reward"] for step in found.numbers]
    assert found.steps == options.reinforced_steps
    assert sum(mean[:5]) / 5 < 0.5
    assert sum(mean[-5:]) / 5 > 0.8
    assert found.policy.draw(prompts, 1) == [lines[7]] * 2

    pairs = [(prompts[0], lines[4]), (prompts[1], lines[5])]
    taught = supervise(open_policy(name), pairs, options, tmp_path / "sft", Budget(), no_progress)
    losses = [step["loss"] for step in taught.numbers]
    assert losses[-1] < 0.5 * losses[0]
    assert taught.policy.draw(prompts, 3) == [lines[4], lines[5]]


def test_a_run_leaves_a_model_that_the_served_path_opens_and_says_what_was_seen(
    make_settings: MakeSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = deployment(make_settings, tmp_path)
    context = context_of(settings)
    capfd.readouterr()
    report = train_updater(context)
    assert report.finished and report.model is not None
    assert report.steps == {"supervised": 3, "by rewards": 3}
    assert [*report.seen] == ["before training", "after the phase supervised", "after the phase by rewards"]
    assert {seen.updates for seen in report.seen.values()} == {4}
    assert len(report.rewards) == 3
    said = capfd.readouterr()
    assert said.out == said.err == ""

    model = Path(report.model)
    assert sorted(path.name for path in model.iterdir()) == sorted(
        ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    )
    card = (model / "README.md").read_text()
    assert "3 steps supervised, 3 steps by rewards" in card
    assert "It is small and was trained briefly." in card
    assert not list(model.parent.glob(".*"))

    # Nobody who is held out was learned from, and no prompt says whom it is about.
    [texts] = (tmp_path / "one" / "state" / "training" / "runs").glob("*/texts.parquet")
    rows = pq.read_table(texts).to_pylist()
    assert len(rows) == report.texts
    assert not any(is_held_out(row["user_id"]) for row in rows)
    assert not any(re.search(r"u\d{3}", row["prompt"]) for row in rows)

    # The served path asks with the same words, and opens the model.
    policy, speaker = open_policy(report.model), LocalSpeaker(report.model, 4)
    question = collected(settings).examined[0].first.question
    reply = speaker.ask(speaker.request(system_prompt(question.budget_tokens), user_prompt(question))).text
    assert policy.draw([policy.prompt(question)], 4) == [reply]

    # From Python it is the same; run again, it finds the run done.
    assert replace(updater.open(settings.source), now=context.now).train_updater() == report
    before = file_digest(model / "model.safetensors"), (model / "README.md").stat().st_mtime_ns
    assert train_updater(context) == report
    assert (file_digest(model / "model.safetensors"), (model / "README.md").stat().st_mtime_ns) == before


def test_a_configured_model_is_asked_once_for_candidates(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make(make_settings)
    update = collected(settings).trained[0].first
    with candidates(settings) as ask:
        assert ask is None
    model = make_line_model(tmp_path / "model", ["one", "two"])
    chosen = {**CONFIG["profile"], "enabled": True, "language_model": {"enabled": True, "model": str(model)}}
    configured = make_settings("one", **{**CONFIG, "profile": chosen}, profile_training=TRAINING)
    with candidates(configured) as ask:
        assert ask is not None
        reply = ask(update.user_id, update.question)
        [kept] = Path(settings.paths.state).glob("training/llm/*/*.parquet")
        [row] = pq.read_table(kept).to_pylist()
        assert (row["user_id"], json.loads(row["reply"])) == (update.user_id, reply)
        pq.write_table(pa.Table.from_pylist([{**row, "reply": '"kept"'}], SCHEMA), kept)
        assert ask(update.user_id, update.question) == "kept"
    # A look asks nobody.
    context = context_of(configured)
    with one_thread():
        policy = open_policy(str(model))
        kept.unlink()
        assert gather(context, None, policy, no_progress).made.texts
    assert not list(Path(settings.paths.state).glob("training/llm/*/*"))


class Killed(BaseException):
    """As a kill, the training does not catch it."""


def killed(*_: object) -> None:
    raise Killed


def kill_at(label: str, step: int) -> Progress:
    def progress(said: str, done: int, total: int) -> None:
        if said == label and done == step:
            raise Killed

    return progress


def test_a_killed_and_a_stopped_run_go_on_to_the_same_bytes(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_updater(context_of(deployment(make_settings, tmp_path)))
    settings = deployment(make_settings, tmp_path, "killed")
    context = context_of(settings)
    for label in ("supervised training", "training by rewards"):
        with pytest.raises(Killed):
            train_updater(context, progress=kill_at(label, 2))
        # After the last checkpoint, before the phase's model is there.
        if label == "supervised training":
            with monkeypatch.context() as patch, pytest.raises(Killed):
                patch.setattr(run, "save_policy", killed)
                train_updater(context)
    runs = tmp_path / "killed" / "state" / "training" / "runs"
    [half] = runs.glob("*/by-rewards")
    # What a kill in the middle of writing a checkpoint leaves.
    (half / "checkpoint-9").mkdir()
    stopped = train_updater(context, max_cpu_seconds=1e-9)
    assert not (half / "checkpoint-9").exists()
    assert not stopped.finished and stopped.model is None
    assert stopped.steps == {"supervised": 3, "by rewards": 2}
    done = train_updater(context)
    assert done.finished and done.model is not None and whole.model is not None
    assert done.seen == whole.seen
    assert done.rewards == whole.rewards
    assert not half.exists()
    for name in ("model.safetensors", "README.md", "config.json"):
        assert file_digest(Path(done.model) / name) == file_digest(Path(whole.model) / name), name


def test_a_dry_run_says_what_it_costs_and_writes_nothing(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = deployment(make_settings, tmp_path)
    state = Path(settings.paths.state)
    before = sorted(str(path) for path in state.rglob("*"))
    command = ["profile", "train", "--dry-run", "--json", "--config", str(settings.source)]
    found = CliRunner().invoke(main, command, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout)
    assert plan["days_to_land"] == 0
    assert plan["steps"] == [3, 3]
    assert plan["texts"] > 0 and plan["cpu_seconds"] is not None
    assert plan["examined_days"] == [str(date(2024, 3, 7)), str(date(2024, 3, 9))]
    assert sorted(str(path) for path in state.rglob("*")) == before
    shown = CliRunner().invoke(main, [*command[:3], *command[4:]], catch_exceptions=False)
    assert "steps    3 supervised, 3 by rewards" in shown.output

    unlanded = make(make_settings, "unlanded", model=settings.profile_training.model)
    create_ledger(unlanded)
    command[-1] = str(unlanded.source)
    assert json.loads(CliRunner().invoke(main, command).stdout)["days_to_land"] > 0
