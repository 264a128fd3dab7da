"""The textual profile in a real state: read through Feast, verified, erased, merged, restated, and kept by versions."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import updater
from tests.deployment import NOW, Deployment, tree, write_config
from tests.factories import bill, land_rows, search
from updater.cli import main
from updater.domain.columns import PROFILE_VIEW
from updater.errors import ConfigError, NotFoundError
from updater.model.checkpoint import create_model, save_model
from updater.model.config import create_config
from updater.pipeline.compact.run import maintain
from updater.pipeline.erase.proof import find
from updater.pipeline.erase.run import erase
from updater.pipeline.init import initialize
from updater.pipeline.monitor.verify import verify
from updater.pipeline.profile import user_profile
from updater.pipeline.profile_utility import profile_utility
from updater.pipeline.restate.run import restate_range
from updater.pipeline.versions.promote import promote
from updater.pipeline.versions.registry import prune_version, register_model
from updater.profile.clustered import Share
from updater.runtime.process_pool import ProcessPool
from updater.settings import load_settings
from updater.store.access import historical_rows, online_rows
from updater.store.repository.connecting import open_store
from updater.store.repository.features import permissions

FIRST = date(2024, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
MODALITIES: list[dict[str, Any]] = [
    # The category is no part of the text, so only what counts profiles sees it.
    {"name": "bill", "text": "at {merchant}", "numeric": ["amount"], "category": "category", "max_events": 3},
    {"name": "search", "text": "{query}", "max_events": 3},
]
SHAPE: dict[str, Any] = {
    "modalities": MODALITIES,
    "buffer": {"days": 3, "num_buckets": 2},
    "profile": {"enabled": True, "in_domains": True},
}


def land(lake: str, ds: date, category: str = "dairy", name: str = "part-000.parquet") -> None:
    """Two events of each modality for ann on every day, for bob on the first one only, for cat on the second."""
    users = {DAYS[0]: ["ann", "bob"], DAYS[1]: ["ann", "cat"]}.get(ds, ["ann"])
    hours = [f"{ds} {hour}:00" for hour in (10, 11)]
    bills = [bill(user, f"{ds}-{time}", time, category=category) for user in users for time in hours]
    land_rows(lake, "bill", ds, bills, name=name)
    land_rows(lake, "search", ds, [search(user, f"{ds}-{time}", time) for user in users for time in hours])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """All days but the last are done; copies of lake and state lie beside them."""
    root = tmp_path_factory.mktemp("finished")
    made = Deployment.create(root, **SHAPE)
    for number, ds in enumerate(DAYS):
        land(made.lake, ds, "bakery" if number == 2 else "dairy")
    made.run(DAYS[:-1])
    for name in ("lake", "state"):
        shutil.copytree(root / name, root / "saved" / name)
    return made


@pytest.fixture
def made(finished: Deployment) -> Iterator[Deployment]:
    """`finished`, put back where the registry says that it is."""
    root = finished.state.parent
    for name in ("lake", "state"):
        shutil.rmtree(root / name)
        shutil.copytree(root / "saved" / name, root / name)
    yield finished
    write_config(root, **SHAPE)


def rows_of(made: Deployment, user: str) -> list[dict[str, Any]]:
    found = [row for ds in DAYS for row in made.offline_rows(PROFILE_VIEW, ds) if row["user_id"] == user]
    return sorted(found, key=lambda row: (row["event_timestamp"], row["created_timestamp"]))


def check(made: Deployment, users: int) -> None:
    report = verify(made.context, None)
    assert (report.differences, report.profiles) == ([], users)


ANN = 'bill: regularly "dairy"; recently "bakery". search: regularly "milk".'


def test_what_was_served_is_what_a_point_in_time_join_gives(made: Deployment) -> None:
    store = open_store(made.settings)
    names = ["profile_text", "profile_digest", "profile_updater", "profile_tokens", "profile_modalities"]
    names += ["profile_foresight_7d_questions"]
    online = online_rows(store, ["ann", "bob", "nobody"], "profile_v1")
    ends = [made.context.window(ds).as_of for ds in DAYS[:3]]
    asked = pd.DataFrame({"user_id": ["ann"] * 3 + ["bob"], "event_timestamp": [*ends, ends[-1]]})
    offline = historical_rows(store, asked, "profile_v1")
    assert offline["profile_text"].tolist()[0] == 'bill: recently "dairy". search: recently "milk".'
    for name in names:
        joined = [list(value) if name == "profile_modalities" else value for value in offline[name]]
        assert online[name][:2] == [joined[2], joined[3]], name
        assert online[name][2] is None
    # Bakery was new on the last day, and nothing else could be asked of ann; of bob nothing at all.
    assert (online["profile_foresight_7d"], offline["profile_foresight_7d"].tolist()[2]) == ([0.0, None, None], 0.0)
    assert online["profile_modalities"][0] == ["bill", "search"]
    assert online["profile_updater"][0] == "rules@4"
    newest = pd.Timestamp(f"{DAYS[2]} 11:00", tz="UTC").timestamp()
    assert online["profile_newest_event_at"][0] == newest
    assert "profile_text" in online_rows(store, ["ann"], "risk_v1")


def test_a_user_whose_events_have_left_has_an_empty_profile_online_and_offline(made: Deployment) -> None:
    made.run(DAYS[3:])
    row = rows_of(made, "bob")[-1]
    assert (row["profile_text"], row["profile_modalities"]) == ("No events are known.", [])
    check(made, 3)


def test_verification_finds_a_falsified_profile(made: Deployment) -> None:
    check(made, 3)
    path = next(path for path in made.state.glob(f"offline/{PROFILE_VIEW}/ds={DAYS[2]}/*.parquet"))
    table = pq.ParquetFile(path).read()
    position = table.schema.get_field_index("profile_text")
    forged = [text.replace("dairy", "whisky") for text in table["profile_text"].to_pylist()]
    pq.write_table(table.set_column(position, table.schema.field(position), pa.array(forged)), path)
    differences = verify(made.context, None).differences
    assert any("profile_text of user 'ann' differs from its rebuild" in line for line in differences)


def test_an_erased_user_is_nowhere_and_the_others_are_as_before(made: Deployment) -> None:
    before = rows_of(made, "ann")
    erase(made.context, ["bob"])
    assert rows_of(made, "bob") == []
    assert rows_of(made, "ann") == before
    assert find(made.context, ["bob"]).places == []
    assert online_rows(open_store(made.settings), ["bob"], "profile_v1")["profile_text"] == [None]
    with pytest.raises(NotFoundError, match="erased"):
        user_profile(made.context, "bob")
    check(made, 2)


def test_merged_files_give_the_same_profiles(made: Deployment) -> None:
    store, windows = open_store(made.settings), [made.context.window(ds).as_of for ds in DAYS[:3]]
    asked = pd.DataFrame({"user_id": ["ann"] * 3, "event_timestamp": windows})
    before = historical_rows(store, asked, "profile_v1")["profile_text"].tolist()
    later = replace(made, now=NOW + timedelta(days=400))
    days = [DAYS[3] + timedelta(days=number) for number in range(5)]
    for ds in days:
        land(made.lake, ds)
    later.run(days)
    maintain(later.context)
    assert list(made.state.glob(f"offline/{PROFILE_VIEW}/span=*/*.parquet"))
    assert historical_rows(store, asked, "profile_v1")["profile_text"].tolist() == before
    check(later, 3)


def test_a_rewritten_day_is_restated(made: Deployment) -> None:
    land(made.lake, DAYS[1], "fish")
    later = replace(made, now=NOW + timedelta(days=1))
    context = later.context
    with ProcessPool(made.settings, context.now) as pool:
        restate_range(context, pool, DAYS[0], DAYS[2])
    texts = [row["profile_text"] for row in rows_of(made, "ann") if row["event_timestamp"].date() == DAYS[2]]
    assert len(texts) == 2, "what was served stays on record"
    assert "fish" not in texts[0]
    assert "fish" in texts[1]
    check(later, 3)


def test_a_correction_of_the_category_alone_is_a_change(made: Deployment) -> None:
    corrected = [bill("bob", f"{FIRST}-{FIRST} {hour}:00", f"{FIRST} {hour}:00", category="fish") for hour in (10, 11)]
    land_rows(made.lake, "bill", DAYS[3], corrected, name="part-001.parquet")
    made.run([DAYS[3]])
    check(made, 3)


def test_another_model_version_leaves_profiles_alone(made: Deployment, tmp_path: Path) -> None:
    before = rows_of(made, "ann")
    save_model(create_model(create_config(made.settings), 99), tmp_path / "model")
    context = made.context
    record = register_model(context, tmp_path / "model", "other", trained=True)
    with ProcessPool(made.settings, context.now) as pool:
        promote(context, pool, record, None)
    prune_version(context, 1)
    assert rows_of(made, "ann") == before
    assert online_rows(open_store(made.settings), ["ann"], "profile_v1")["profile_text"] == [ANN]
    check(made, 3)


def test_profiles_by_another_recipe_reach_everybody_in_the_next_window(made: Deployment) -> None:
    root = made.settings.source.parent
    profile = {**SHAPE["profile"], "forbidden_columns": ["search:query"]}
    again = replace(made, settings=load_settings(write_config(root, **{**SHAPE, "profile": profile}), environ={}))
    initialize(again.settings)
    [report] = again.run([DAYS[3]])
    assert (report.changed_users, report.prefixes) == (2, 3)
    assert {row["user_id"] for row in made.offline_rows(PROFILE_VIEW, DAYS[3])} == {"ann", "bob", "cat"}
    assert [row["profile_text"] for row in rows_of(again, "cat")] == [
        'bill: recently "dairy". search: recently "milk".',
        'bill: recently "dairy".',
    ]
    assert {row["user_id"] for row in made.offline_rows("lapse_v1", DAYS[3])} == {"ann", "bob"}
    check(again, 3)


def test_the_verb_prints_the_published_text_and_what_it_rests_on(made: Deployment) -> None:
    config = ["--config", str(made.settings.source)]
    text = rows_of(made, "ann")[-1]["profile_text"]
    assert text == ANN
    plain = CliRunner().invoke(main, ["user", "profile", "--user-id", "ann", *config])
    assert plain.exit_code == 0, plain.output
    assert text in plain.output
    why = CliRunner().invoke(main, ["user", "profile", "--user-id", "ann", "--why", *config]).output
    assert "bakery" in why
    assert f"{DAYS[2]}-{DAYS[2]} 11:00" in why
    report = json.loads(CliRunner().invoke(main, ["user", "profile", "--user-id", "ann", "--json", *config]).output)
    assert (report["text"], report["tokens"], report["modalities"]) == (text, -(-len(text) // 4), ["bill", "search"])
    assert report["evidence"][0] == {
        "modality": "bill",
        "kind": "regularly",
        "value": "dairy",
        "events": 4,
        "long_share": report["evidence"][0]["long_share"],
        "recent_share": report["evidence"][0]["recent_share"],
        "first": f"{DAYS[0]}T10:00:00+00:00",
        "last": f"{DAYS[1]}T11:00:00+00:00",
        "event_ids": [f"{ds}-{ds} {hour}:00" for ds in (DAYS[1], DAYS[0]) for hour in (11, 10)],
    }
    assert updater.open(made.settings.source).profile("ann").text == text
    with pytest.raises(NotFoundError, match="no stream event"):
        user_profile(made.context, "nobody")


def test_the_utility_of_a_day_is_told_by_the_texts_of_the_day_before(made: Deployment) -> None:
    files = tree(made.state)
    report = profile_utility(made.context, DAYS[1], DAYS[2], 10)
    # Before the second day everybody bought dairy and searched for milk: there is no other value to reject. Before the
    # third ann and cat still did; bakery is new, and of bob's nothing has left: it is told from dairy, wrongly.
    assert [(day.ds, day.users, day.questions) for day in report.days] == [(str(DAYS[1]), 2, 0), (str(DAYS[2]), 3, 2)]
    # Both questions are ann's, so that nothing can be said of an error. Her neighbours have no bakery either.
    nothing = Share(0.0, None)
    assert (report.profile, report.popularity, report.embedding, report.days[1].decided) == (*[nothing] * 3, 1.0)
    assert (report.above_popularity, report.days[0].profile) == (nothing, None)
    assert tree(made.state) == files
    with pytest.raises(ConfigError, match=f"on days after {DAYS[0]} up to {DAYS[2]}"):
        profile_utility(made.context, DAYS[0], DAYS[2], 10)
    asked = ["--from-date", str(DAYS[2]), "--to-date", str(DAYS[2]), "--config", str(made.settings.source)]
    assert "0.0%" in CliRunner().invoke(main, ["user", "utility", *asked]).output


def test_the_profile_has_readers_of_its_own(make_settings: Any) -> None:
    shape = {**SHAPE, "profile": {"enabled": True}}
    declared = [{"domain": name, "roles": [f"{name}_reader"]} for name in ("risk", "marketing", "profile")]
    made = permissions(make_settings(**shape, permissions=declared))
    assert made["read_profile_views"].name_patterns == [r"user_text_profile_v\d+"]
    assert made["read_profile_services"].name_patterns == [r"profile_v\d+"]
    assert made["read_risk_views"].name_patterns == [r"lapse_v\d+"]
    with pytest.raises(ConfigError, match="'profile' has no entry"):
        make_settings(**shape, permissions=declared[:2])
