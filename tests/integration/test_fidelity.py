"""What can be read back, measured on a deployment that ran real windows: parity 0 and locality to the bit."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

import updater
from tests.deployment import NOW
from tests.fidelity_lake import DAYS, FIRST, write_lake
from tests.small_models import make_reader
from updater.cli import main
from updater.errors import NothingCommittedError, VerificationError, WindowOrderError
from updater.evaluation.systems.vectors import UserVectors
from updater.fidelity import scoring
from updater.fidelity.gate import raise_if_lost, raise_if_wrong
from updater.fidelity.llm.joined import event_lines
from updater.fidelity.outcome import Fidelity
from updater.fidelity.questions.make import make_questions
from updater.fidelity.questions.wording import counts_events, parts
from updater.fidelity.readers.anchored import anchored_options, phrase
from updater.fidelity.readers.asked import NO_OPTION, Asked
from updater.fidelity.readers.native import answer_natively
from updater.fidelity.readers.options import Phrases
from updater.fidelity.readers.probe import prior
from updater.fidelity.run import measure_fidelity
from updater.fidelity.systems.stored import buffered
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.model.inference import InferenceModel
from updater.model.layers.own_answers import OwnAnswers
from updater.pipeline.daily.window import run_window
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.runtime.deployment import WritableContext, open_writable
from updater.runtime.process_pool import ProcessPool
from updater.runtime.session import Session
from updater.settings import Settings, load_settings
from updater.users.event_batches import user_batch

pytest.importorskip("jinja2")

LAST = FIRST + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A state after three windows."""
    settings = load_settings(write_lake(tmp_path_factory.mktemp("fidelity")), environ={})
    model = create_model(create_config(settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model.answers = torch.nn.Linear(16, 8)
        model.own_answers = OwnAnswers(16, 8, num_answers=5)
    directory = tmp_path_factory.mktemp("live")
    save_model(model, directory)
    initialize(settings, str(directory))
    context = open_writable(settings, NOW)
    with ProcessPool(settings, NOW) as pool:
        with pytest.raises(NothingCommittedError):
            measure_fidelity(context, pool)
        for offset in range(DAYS):
            run_window(context, pool, FIRST + timedelta(days=offset))
    return settings


@pytest.fixture(scope="module")
def candidate(deployed: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model for the same config."""
    directory = tmp_path_factory.mktemp("candidate")
    save_model(create_model(create_config(deployed), seed=99), directory)
    return directory


def planted(table) -> UserVectors:
    """A vector in which every right answer stands."""
    users = sorted(set(table["user_id"].to_pylist()))
    answers = {(row["user_id"], row["subtask"], row["slot"]): row["options"][row["gold"]] for row in table.to_pylist()}
    columns = sorted({(subtask, slot, gold) for (_, subtask, slot), gold in answers.items()})
    values = [[answers.get((user, subtask, slot)) == gold for subtask, slot, gold in columns] for user in users]
    return UserVectors(np.array(users), np.array(values, float))


@pytest.fixture(scope="module")
def found(deployed: Settings, candidate: Path, tmp_path_factory: pytest.TempPathFactory) -> Fidelity:
    """The newest window, measured with a candidate and with a system that knows all answers."""
    output = str(tmp_path_factory.mktemp("report"))
    with pytest.MonkeyPatch.context() as patch, ProcessPool(deployed, NOW) as pool:
        # A lake of this size has fewer questions than a number needs.
        patch.setattr(scoring, "FEWEST_QUESTIONS", 30)
        context = open_writable(deployed, NOW)
        return measure_fidelity(
            context,
            pool,
            model=str(candidate),
            output=output,
            readers=("native", "asked"),
            external={"planted": planted},
        )


def test_daily_updates_equal_a_rebuild(found: Fidelity) -> None:
    parity = found.report["parity"]
    assert parity["users"] > 80
    assert (parity["holds"], parity["different"], parity["largest"], parity["agreement"]) == (True, 0, 0.0, 1.0)
    assert set(parity["difference"].values()) == {0.0}
    assert found.wrong == []
    raise_if_wrong(found.report_file)


def test_what_was_not_touched_stays_to_the_bit(found: Fidelity) -> None:
    local = found.report["locality"]
    assert local["pairs"] > 80 and local["questions"] > 50
    assert (local["holds"], local["different"], local["changed"]) == (True, 0, 0)


def test_every_system_is_asked_and_the_right_ones_are_at_the_ends(found: Fidelity) -> None:
    macro = found.report["macro"]
    assert list(macro) == [
        *("published", "candidate", "rebuilt", "stale", "text", "counts", "last_8", "last_32", "last_128"),
        *("shuffled", "random", "asked", "asked_counts", "asked_text", "native", "planted", "prior"),
    ]
    assert macro["planted"]["acc"] > max(one["acc"] for name, one in macro.items() if name != "planted")
    assert macro["published"] == macro["rebuilt"]
    assert macro["prior"]["lift"] == 0.0
    for name in ("shuffled", "random"):
        assert macro[name]["low"] < macro["prior"]["acc"]
    assert macro["counts"]["acc"] > macro["prior"]["acc"]
    # Whoever counts the option itself answers what is asked of counts.
    assert macro["asked_counts"]["acc"] > macro["counts"]["acc"]
    assert found.report["subtasks"]["LI"]["asked_counts"]["acc"] > 0.85
    columns = found.report["columns"]
    assert [columns[name] for name in ("published", "asked", "asked_counts")] == [2 * 8, 8, 4]


def test_the_gate_looks_at_the_live_model(found: Fidelity, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found.report["candidate"]
    assert found.report["differences"]["candidate-published"]["macro"]["n"] > 0
    assert found.lost == []
    raise_if_lost(found.report_file)
    report = json.loads(Path(found.report_file).read_text())
    assert report == json.loads(json.dumps(found.report))


def test_the_model_itself_answers_as_it_is_asked_one_by_one(deployed: Settings) -> None:
    context = open_writable(deployed, NOW)
    table = make_questions(context, LAST).table
    asked, rows = Asked.of(table), table.to_pylist()
    users = asked.users.tolist()
    with Session(context) as session:
        events, model = buffered(context, session, context.window(LAST), users), session.model
        answers = answer_natively(asked, model, events)
        by_prior, known, compared, by_user = prior(asked).choice_Q, InferenceModel(model), 0, 0
        for number, row in enumerate(rows):
            if row["train"]:
                assert answers.choice_Q[number] == NO_OPTION
                continue
            if counts_events(row["slot"]) or row["subtask"] == "IT":
                assert answers.choice_Q[number] == by_prior[number]
                continue
            if number % 7:
                continue
            right = [each["options"][each["gold"]] for each in rows if each["train"] and each["slot"] == row["slot"]]
            person, scores = user_batch(events, np.array([users.index(row["user_id"])])), []
            for option in row["options"]:
                queries = [phrase(row["modality"], part) for part in parts(option)]
                readings = model.train_forward(person, queries)
                logits = model.own_answers(readings, model.question_vectors(queries)).detach()[0, :, 0]
                np.testing.assert_allclose(known.answers(person, queries)[0, :, 0], logits, atol=1e-4)
                scores.append(float(logits.mean()) + np.log(0.5 + right.count(option)))
            best = sorted(scores)[-2:]
            if best[1] - best[0] > 1e-3:
                assert scores.index(best[1]) == answers.choice_Q[number]
                compared, by_user = compared + 1, by_user + (answers.choice_Q[number] != by_prior[number])
    assert compared > 10 and by_user > 0
    unanswered = [not row["train"] and (counts_events(row["slot"]) or row["subtask"] == "IT") for row in rows]
    assert answers.num_fallback == sum(unanswered)


def test_a_model_that_keeps_only_the_map_to_other_questions_is_read_by_it(deployed: Settings) -> None:
    context = open_writable(deployed, NOW)
    window = context.window(LAST)
    table = make_questions(context, LAST).table
    asked = Asked.of(table)
    users = asked.users.tolist()
    with Session(context) as session:
        events = buffered(context, session, window, users)
        model = session.model
        model.own_answers = None
        answers = answer_natively(asked, model, events)
        compared = 0
        for number, row in enumerate(table.to_pylist()):
            if row["train"] or number % 7 or counts_events(row["slot"]):
                continue
            user = np.array([users.index(row["user_id"])])
            anchor = model.embed(user_batch(events, user), [row["text"]])[0, 0]
            scores = []
            for option in row["options"]:
                phrases = [phrase(row["modality"], part) for part in parts(option)]
                told = model.answers(model.question_vectors(phrases)).detach().numpy().mean(axis=0)
                scores.append(float(anchor @ told))
            best = sorted(scores)[-2:]
            if best[1] - best[0] > 1e-5:
                assert scores.index(best[1]) == answers.choice_Q[number]
                compared += 1
    assert compared > 10
    assert set(answers.choice_Q[asked.train_Q]) == {NO_OPTION}


def test_options_are_asked_about_as_one_would_ask_the_model(deployed: Settings) -> None:
    context = open_writable(deployed, NOW)
    asked = Asked.of(make_questions(context, LAST, users=20).table)
    phrases = Phrases.of(asked)
    with Session(context) as session:
        events = buffered(context, session, context.window(LAST), asked.users.tolist())
        under = anchored_options(asked, phrases, InferenceModel(session.model), events)
        users, said = phrases.pairs(asked)
        assert len(users) > 100
        for pair in range(0, len(users), 23):
            modality, _, value = phrases.known[said[pair]]
            one = session.model.embed(user_batch(events, users[pair : pair + 1]), [phrase(modality, value)])[0, 0]
            np.testing.assert_allclose(under(users[pair : pair + 1], said[pair : pair + 1])[0], one, atol=1e-5)


def test_a_model_that_was_not_trained_on_answers_is_not_asked(deployed: Settings) -> None:
    asked = Asked.of(make_questions(open_writable(deployed, NOW), LAST).table)
    assert answer_natively(asked, create_model(create_config(deployed)), []) is None


def test_a_row_that_moved_is_found(deployed: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from updater.fidelity import run

    real = run.published

    def moved(*arguments) -> UserVectors:
        vectors = real(*arguments)
        vectors.values[0, 0] += 0.5
        return vectors

    monkeypatch.setattr(run, "published", moved)
    with ProcessPool(deployed, NOW) as pool:
        wrong = measure_fidelity(open_writable(deployed, NOW), pool, users=40, output=str(tmp_path))
    assert wrong.report["parity"]["different"] == 1
    with pytest.raises(VerificationError, match="differ from a rebuild"):
        raise_if_wrong(wrong.report_file)


def test_the_first_window_has_no_day_before_it(deployed: Settings) -> None:
    first = replace(updater.open(deployed.source), now=NOW).fidelity(FIRST, users=30)
    assert first.report["freshness"] is None and first.report["locality"] is None
    assert first.report["parity"]["holds"]
    assert "stale" not in first.report["macro"]


def test_a_language_model_reads_on_request(deployed: Settings, tmp_path: Path) -> None:
    reader = make_reader(tmp_path / "reader")
    arguments = ["model", "fidelity", "--config", str(deployed.source), "--users", "60", "--output", str(tmp_path)]
    few = ["--llm-model", str(reader), "--llm-steps", "1", "--llm-questions", "6", "--llm-newest", "2"]
    done = CliRunner().invoke(main, [*arguments, "--reader", "native", "--reader", "llm", *few])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "report.json").read_text())["llm"]
    assert (told["asked"], told["steps"], told["newest"]) == (6, 1, 2)
    assert told["reason"] in (tmp_path / "report.html").read_text().replace("&#39;", "'")
    assert "answers from" in done.stdout and "asked" not in json.loads((tmp_path / "report.json").read_text())["macro"]


def test_a_line_of_text_for_each_event(deployed: Settings) -> None:
    context = open_writable(deployed, NOW)
    with Session(context) as session:
        window = context.window(LAST)
        lines = event_lines(context, session.connection, window, ["u002", "u005"])
        events = buffered(context, session, window, ["u002", "u005"])
    assert set(lines) == {"u002", "u005"}
    assert len(lines["u002"]) == sum(int(event.summarize(np.arange(2)).num_events_B[0]) for event in events)
    assert lines["u002"] == sorted(lines["u002"])
    assert all(" bill: " in line or " visit: page " in line for line in lines["u002"])


def test_the_command_is_repeatable_and_names_the_windows(deployed: Settings, candidate: Path) -> None:
    arguments = ["model", "fidelity", "--config", str(deployed.source), "--users", "30"]
    done = CliRunner().invoke(main, [*arguments, "--ds", str(LAST), "--json"])
    assert done.exit_code == 0, done.output
    report = Path(json.loads(done.stdout)["report_file"])
    assert report == Path(deployed.paths.state, "evaluation", "fidelity", f"ds={LAST}", "report.json")
    written = report.read_bytes()
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0, again.output
    assert "Nothing is wrong" in again.stdout and "report.html" in again.stdout
    assert report.read_bytes() == written
    late = CliRunner().invoke(main, [*arguments, "--ds", "2024-03-09"])
    assert late.exit_code == WindowOrderError.exit_code
    both = CliRunner().invoke(main, [*arguments, "--model", str(candidate), "--version", "1"])
    assert both.exit_code == 2


def test_an_erased_user_is_not_asked(deployed: Settings, tmp_path: Path) -> None:
    context: WritableContext = open_writable(deployed, NOW)
    erase(context, ["u001"])
    with ProcessPool(deployed, NOW) as pool:
        measure_fidelity(open_writable(deployed, NOW), pool, users=None, output=str(tmp_path))
    for path in [*tmp_path.rglob("*"), *Path(deployed.paths.state, "evaluation").rglob("*")]:
        if path.suffix == ".parquet":
            assert "u001" not in pq.read_table(path)["user_id"].to_pylist()
        elif path.is_file():
            assert b"u001" not in path.read_bytes()
