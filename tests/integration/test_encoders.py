"""Encoders on a lake: what they read of it, and `updater model evaluate --systems`."""

import json
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from tests.deployment import Deployment
from tests.evaluation_lake import TEST, write_evaluation
from tests.factories import MODALITIES, bill, land_rows, search, utc
from updater.cli import main
from updater.domain.buckets import is_held_out
from updater.encoders.log import read_log
from updater.encoders.sequences import FIRST, OTHER, PADDING
from updater.errors import NotLandedError
from updater.evaluation.systems.encoders import encoder_systems, training_anchors
from updater.evaluation.systems.vectors import vector_system
from updater.labels.tasks import read_tasks
from updater.pipeline.daily.intake import prefetch
from updater.pipeline.daily.intake.prefetch import land_and_encode
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

FIRST_DAY, LAST_DAY = date(2024, 3, 1), date(2024, 3, 2)
SHOPS = ("shop", "market", "bakery", "bank", "maps", "chat")
LEARNED = next(f"u{number}" for number in range(100) if not is_held_out(f"u{number}"))
HIDDEN = next(f"u{number}" for number in range(100) if is_held_out(f"u{number}"))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    root = tmp_path_factory.mktemp("log")
    lake = str(root / "lake")
    dairy = [bill(LEARNED, f"b{n}", f"2024-03-01 08:0{n}", amount=2.0 * n, category="dairy") for n in range(3)]
    same_time = [
        bill(LEARNED, f"line-{n}", "2024-03-02 09:00", category="tea", merchant=m) for n, m in enumerate(SHOPS)
    ]
    hidden = [bill(HIDDEN, f"h{n}", f"2024-03-02 10:0{n}", category="rice") for n in range(9)]
    land_rows(lake, "bill", FIRST_DAY, dairy)
    land_rows(lake, "bill", LAST_DAY, [*same_time, *hidden])
    land_rows(lake, "search", FIRST_DAY, [search(LEARNED, "s0", "2024-03-01 23:30", "milk")])
    land_rows(lake, "search", LAST_DAY, [search("u_only_searches", "s1", "2024-03-02 01:00", "bread")])
    made = Deployment.create(root, modalities=MODALITIES[:2], buffer={"days": 5})
    with ProcessPool(made.settings, made.context.now) as pool:
        land_and_encode(made.context, pool, FIRST_DAY, LAST_DAY)
    return made


def test_processes_are_made_ready_while_many_days_are_landed(tmp_path, monkeypatch):
    made = Deployment.create(tmp_path, modalities=MODALITIES[:1], buffer={"days": 5})
    land_rows(made.lake, "bill", FIRST_DAY, [bill(LEARNED, "l1", "2024-03-01 08:00")])
    land_rows(made.lake, "bill", LAST_DAY, [bill(LEARNED, "l2", "2024-03-02 08:00")])
    ready = []
    monkeypatch.setattr(prefetch, "MANY_DAYS", 2)
    monkeypatch.setattr(ProcessPool, "warm_up", lambda pool: ready.append(made.context.event_files("bill", LAST_DAY)))
    for _ in range(2):
        with ProcessPool(made.settings, made.context.now) as pool:
            land_and_encode(made.context, pool, FIRST_DAY, LAST_DAY)
    assert ready == [[]], "before anything is landed, and not again"


def test_a_sequence_is_the_users_stream_events_in_the_order_of_time(deployment):
    log = read_log(deployment.context, [LAST_DAY], [LAST_DAY])
    sequences = log.at[LAST_DAY]
    assert sequences.users.tolist() == sorted([LEARNED, HIDDEN, "u_only_searches"])
    user = sequences.users.tolist().index(LEARNED)
    own = slice(*sequences.offsets_U1[user : user + 2])

    times = [f"2024-03-01 08:0{n}" for n in range(3)] + ["2024-03-01 23:30"] + ["2024-03-02 09:00"] * 6
    seconds = np.array([utc(time).timestamp() for time in times])
    assert sequences.seconds_N[own].tolist() == seconds.tolist()
    assert sequences.modalities_N[own].tolist() == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert sequences.hours_N[own].tolist() == [1 + 8] * 3 + [1 + 23] + [1 + 9] * 6
    gaps = np.log1p(np.diff(seconds, prepend=seconds[0]) / 86_400)
    assert sequences.gaps_N[own] == pytest.approx(gaps, abs=1e-6)
    amounts = [np.arcsinh(2.0 * n) for n in range(3)] + [0.0] + [np.arcsinh(1.0)] * 6
    assert sequences.numbers_NC[own][:, 0] == pytest.approx(amounts, abs=1e-6)
    # Three of the same text are the commonest item; a search has no category.
    assert sequences.items_N[own][:3].tolist() == [FIRST] * 3
    assert sequences.categories_N[own].tolist() == [FIRST + 1] * 3 + [PADDING] + [FIRST] * 6
    assert len(set(sequences.items_N[own].tolist())) == 8 and log.sizes.items == FIRST + 9
    assert log.item_counts.tolist() == [0, 0, 3, *[1] * 8]


def test_lines_of_one_receipt_are_in_no_order_of_their_ids(deployment):
    sequences = read_log(deployment.context, [LAST_DAY], [LAST_DAY]).at[LAST_DAY]
    user = sequences.users.tolist().index(LEARNED)
    lines = sequences.text_rows_N[slice(*sequences.offsets_U1[user : user + 2])][-6:]
    assert len(set(lines.tolist())) == 6
    with ProcessPool(deployment.settings, deployment.context.now) as pool:
        vectors = dict(zip(SHOPS, pool.encode([f"tea at {shop}" for shop in SHOPS]), strict=True))
    read = [next(shop for shop, v in vectors.items() if (v == sequences.texts_TX[row]).all()) for row in lines]
    assert sorted(read) == sorted(SHOPS) and tuple(read) != SHOPS


def test_what_is_an_item_is_decided_on_whom_and_when_is_trained(deployment):
    log = read_log(deployment.context, [LAST_DAY], [FIRST_DAY], max_items=1)
    sequences = log.at[LAST_DAY]
    user, hidden = (sequences.users.tolist().index(name) for name in (LEARNED, HIDDEN))
    own = slice(*sequences.offsets_U1[user : user + 2])
    assert sequences.items_N[own].tolist() == [FIRST] * 3 + [OTHER] * 7
    of_hidden = slice(*sequences.offsets_U1[hidden : hidden + 2])
    assert set(sequences.items_N[of_hidden].tolist()) == set(sequences.categories_N[of_hidden].tolist()) == {OTHER}
    assert log.item_counts.tolist() == [0, 1, 3]


def test_a_day_knows_nothing_of_the_next_one(deployment):
    log = read_log(deployment.context, [FIRST_DAY, LAST_DAY], [LAST_DAY])
    assert log.at[FIRST_DAY].users.tolist() == [LEARNED]
    assert log.at[FIRST_DAY].num_events_U.tolist() == [4]


def test_without_anybody_to_train_on_it_says_so(deployment):
    with pytest.raises(NotLandedError, match="no user who may be trained on has a stream event at 2024-02-20"):
        read_log(deployment.context, [LAST_DAY], [date(2024, 2, 20)])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("evaluate"), training={"future_days": 3, "anchor_every_days": 1})


def test_encoders_are_evaluated_beside_the_others(config, tmp_path):
    args = ["--systems", "recency,gru4rec", "--output", str(tmp_path), "--config", str(config), "--json"]
    done = CliRunner().invoke(main, ["model", "evaluate", *args])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["report"]
    assert list(report["mean"]) == ["recency", "gru4rec"]
    mean = report["mean"]["gru4rec"]
    assert mean["bytes_per_user"] == 4 * 64 and mean["cpu_ms_per_user"] > 0 and mean["vectors_per_user"] == 1
    # How often somebody buys is in the sequence, and hardly in the days since the newest event.
    assert report["tasks"]["buys"]["gru4rec"]["auc"] > report["tasks"]["buys"]["recency"]["auc"] + 0.05


def test_a_wrong_name_is_answered_with_the_right_one(config):
    done = CliRunner().invoke(main, ["model", "evaluate", "--systems", "gru4rek", "--config", str(config)])
    assert done.exit_code == 2 and "did you mean 'gru4rec'?" in done.stderr


def test_whom_nobody_knows_has_zeros(config, monkeypatch):
    settings = load_settings(config, environ={})
    create_ledger(settings)
    context = open_writable(settings)
    with ProcessPool(settings, context.now) as pool:
        made = encoder_systems(context, pool, ["gru4rec"], [TEST[0]])["gru4rec"]()
    known = made.at("any question", TEST[0])
    assert known.values.shape == (len(known.users), 64) and np.abs(known.values).sum(1).min() > 0

    monkeypatch.setattr(
        "updater.evaluation.systems.vectors.recency", lambda settings, scratch, rows: np.ones((len(rows), 1))
    )
    rows = pa.table({"user_id": ["nobody", str(known.users[3])], "anchor": [TEST[0]] * 2})
    task = read_tasks(settings.evaluation.tasks)[0]
    features = np.concatenate(vector_system(settings, "gru4rec", made, None).parts(task, rows), axis=1)
    assert not features[0, :-1].any()
    np.testing.assert_array_equal(features[1, :-1], known.values[3])


def test_encoders_are_trained_up_to_the_first_day_of_validation(config):
    settings = load_settings(config, environ={})
    whole = training_anchors(settings)
    assert {later - earlier for earlier, later in pairwise(whole)} == {timedelta(days=3)}
    training = replace(settings.training, valid_from=whole[1] + timedelta(days=1))
    short = training_anchors(replace(settings, training=training))
    assert short[-1] == training.valid_from and {later - earlier for earlier, later in pairwise(short)} <= {
        timedelta(days=3)
    }
