"""The data set of a small made-up lake: rows that the log bears out, windows that do not touch, equal bytes again."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from updater.domain.erasure import Erased
from updater.domain.window import day_window, days
from updater.errors import ConfigError, DataRefusedError, NotLandedError
from updater.lake.landing import read_partition
from updater.lake.partitions import day_directory, has_landed, join, read_table
from updater.settings import Settings, load_settings
from updater.sources import synthetic
from updater.state.event_store import EventFile, connect
from updater.training.useru.answers import Draft, LogGenerator
from updater.training.useru.dataset import (
    DatedSplit,
    Recipe,
    build,
    check_windows,
    read_split,
)
from updater.training.useru.facts.claims import claims_from_json
from updater.training.useru.facts.events import EventReader
from updater.training.useru.facts.focus import Focus
from updater.training.useru.facts.topics import topic_pool
from updater.training.useru.rows import FOCUS_GENERATOR, FUTURE_GENERATOR

LOCAL = Path(__file__).parents[2] / "configs" / "local.toml"
SPEC = synthetic.SyntheticSpec(num_users=60, num_days=34, active_share=0.4)
DAY = SPEC.first_day
SPLIT = DatedSplit(valid_from=DAY + timedelta(days=18), test_from=DAY + timedelta(days=26))
FUTURE_DAYS = 7
TRAIN, STRADDLING, VALID, TEST = (DAY + timedelta(days=n) for n in (10, 14, 18, 26))


def write(path: str, table: pa.Table) -> None:
    """Without the syncs of the real writer, which take most of the time of many small files."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


class Deployed:
    """A landed lake and what `build` needs of it."""

    def __init__(self, root: Path) -> None:
        lake, state = str(root / "lake"), str(root / "state")
        environ = {"UPDATER_PATHS__LAKE": lake, "UPDATER_PATHS__STATE": state, "UPDATER_BUFFER__DAYS": "10"}
        self.settings: Settings = load_settings(LOCAL, {**environ, "UPDATER_BUFFER__NUM_BUCKETS": "2"})
        self.files: dict[str, list[EventFile]] = {modality.name: [] for modality in self.settings.modalities}
        for ds in days(SPEC.first_day, SPEC.last_day):
            for name, rows in synthetic.rows_of_day(SPEC, ds).items():
                source = day_directory(join(lake, name), ds)
                write(f"{source}/part-000.parquet", rows)
                window, modality = day_window(ds, self.settings.timezone), self.settings.modality(name)
                landed = read_partition(source, modality, window, self.settings.limits, 2, None)
                if landed.events.num_rows:
                    path = join(state, "events", name, f"{landed.digest}.parquet")
                    write(path, landed.events)
                    self.files[name].append(EventFile(ds, path))
        with connect() as connection:
            reader = EventReader(connection, self.settings, self.files)
            self.categories = reader.categories(SPEC.last_day)
            self.profiles = {
                (anchor, profile.user_id): profile
                for anchor in (TRAIN, VALID, TEST)
                for bucket in range(2)
                for profile in reader.profiles(anchor, bucket)
            }
        pool = topic_pool(self.settings.modalities, self.categories[:20])
        vocabulary = frozenset(category for _, category in self.categories)
        streams = {modality.name for modality in self.settings.modalities if modality.kind == "stream"}
        common = tuple(kind for kind in self.categories if kind[0] in streams)
        self.never = frozenset(common[:3])
        self.recipe = Recipe(
            split=SPLIT,
            pool=pool,
            vocabulary=vocabulary,
            common=common,
            never_asked=self.never,
            future_days=FUTURE_DAYS,
        )

    def build(self, root: Path, anchors: list[date], generator: Any = None, recipe: Recipe | None = None) -> Any:
        chosen = generator or LogGenerator(), recipe or self.recipe
        log = self.settings, self.files, (DAY, SPEC.last_day)
        return build(str(root), *log, anchors, *chosen, no_erasure=lambda: nullcontext(Erased()))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return Deployed(tmp_path_factory.mktemp("lake"))


@pytest.fixture(scope="module")
def root(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("useru")
    built = deployed.build(root, [TRAIN, STRADDLING, VALID, TEST])
    assert [(day.anchor, day.split, day.num_refused) for day in built] == [
        (TRAIN, "train", 0),
        (VALID, "valid", 0),
        (TEST, "test", 0),
    ]
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_pool_is_large_enough(deployed: Deployed) -> None:
    assert len(topic_pool(deployed.settings.modalities)) >= 40


def test_rows_carry_where_they_come_from(deployed: Deployed, root: Path) -> None:
    assert not has_landed(str(root), STRADDLING)
    for split, anchor in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        rows = read_split(str(root), split).to_pylist()
        assert {(row["anchor_day"], row["split"]) for row in rows} == {(anchor, split)}
        users = {user for day, user in deployed.profiles if day == anchor}
        futures = [row for row in rows if row["topic"] == "future"]
        assert len(users) > 30 and sorted(row["user_id"] for row in futures) == sorted(users)
        single = [row for row in rows if row["generator"] == FOCUS_GENERATOR]
        about = [row for row in rows if row["generator"] not in (FUTURE_GENERATOR, FOCUS_GENERATOR)]
        assert len(about) > 5 * len(users)
        assert {row["generator"] for row in about} == {LogGenerator.version}
        assert all(row["future_start"] is None for row in about)
        for row in rows:
            assert row["question"] and row["answer"]
            assert row["profile_end"] - row["profile_start"] == timedelta(days=10)
            assert row["profile_end"] == day_window(anchor, "UTC").end
        for row in (*futures, *single):
            assert row["future_start"] == row["profile_end"]
            assert row["future_end"] - row["future_start"] == timedelta(days=FUTURE_DAYS)


def test_all_users_of_an_anchor_day_are_asked_the_same_and_answers_are_the_log_s(
    deployed: Deployed, root: Path
) -> None:
    questions = {}
    for split, anchor in (("train", TRAIN), ("valid", VALID)):
        rows = [row for row in read_split(str(root), split).to_pylist() if row["generator"] == FOCUS_GENERATOR]
        asked: dict[str, list[str]] = {}
        for row in rows:
            asked.setdefault(row["user_id"], []).append(row["question"])
        assert sorted(asked) == sorted(user for day, user in deployed.profiles if day == anchor)
        [questions[split]] = {tuple(own) for own in asked.values()}
        with connect() as connection:
            reader = EventReader(connection, deployed.settings, deployed.files)
            futures = {user: each for b in range(2) for user, each in reader.futures(anchor, FUTURE_DAYS, b).items()}
            nothing = reader.no_future(anchor, FUTURE_DAYS)
        for row in rows:
            [claim] = json.loads(row["claims"])
            focus, profile = Focus(**claim), deployed.profiles[anchor, row["user_id"]]
            assert (row["topic"], row["question"]) == (focus.name, focus.question)
            assert row["answer"] == focus.answer(profile, futures.get(row["user_id"], nothing))
            assert (focus.modality, focus.category) not in deployed.never
        assert len({row["answer"] for row in rows}) > len(questions[split])
    assert len(questions["train"]) > 20
    assert questions["train"] != questions["valid"]


def test_every_claim_on_disk_holds(deployed: Deployed, root: Path) -> None:
    num_claims = 0
    for row in read_split(str(root), "train").to_pylist():
        if row["generator"] == LogGenerator.version:
            profile = deployed.profiles[TRAIN, row["user_id"]]
            claims = claims_from_json(row["claims"])
            assert claims and all(claim.holds(profile) for claim in claims)
            assert row["answer"] == " ".join(claim.text(profile) for claim in claims)
            assert (row["num_repaired"], row["num_dropped"]) == (0, 0)
            num_claims += len(claims)
    assert num_claims > 500


def test_building_again_writes_nothing_and_elsewhere_the_same(deployed: Deployed, root: Path, tmp_path: Path) -> None:
    made = sorted(root.rglob("*.parquet"))
    stamps = [path.stat().st_mtime_ns for path in made]
    again = deployed.build(root, [TRAIN, VALID, TEST])
    assert [path.stat().st_mtime_ns for path in made] == stamps
    assert [day.num_rows for day in again] == [read_split(str(root), day.split).num_rows for day in again]
    made[0].with_name("unrelated.txt").touch()
    deployed.build(tmp_path, [TRAIN])
    written = contents(tmp_path)
    assert len(written) == 3 and written.items() <= contents(root).items()


def test_another_recipe_or_a_lost_file_is_made_again(deployed: Deployed, tmp_path: Path) -> None:
    deployed.build(tmp_path, [TRAIN])
    whole = contents(tmp_path)
    next(tmp_path.rglob("bucket-001.parquet")).unlink()
    deployed.build(tmp_path, [TRAIN])
    assert contents(tmp_path) == whole
    small = replace(deployed.recipe, pool=deployed.recipe.pool[:3])
    [built] = deployed.build(tmp_path, [TRAIN], recipe=small)
    rows = read_split(str(tmp_path), "train")
    assert built.num_rows == rows.num_rows
    assert {name.split(".")[0] for name in rows["topic"].to_pylist()} == {"overall", "future", "focus"}


def test_questions_about_the_future_decide_on_the_recipe(deployed: Deployed, tmp_path: Path) -> None:
    deployed.build(tmp_path, [TRAIN])
    before = contents(tmp_path)
    for changed in (replace(deployed.recipe, never_asked=frozenset()), replace(deployed.recipe, common=())):
        deployed.build(tmp_path, [TRAIN], recipe=changed)
        assert contents(tmp_path).keys() == before.keys()
        assert contents(tmp_path) != before
        before = contents(tmp_path)


def test_a_foreign_generator_goes_through_the_same_reflection(deployed: Deployed, tmp_path: Path) -> None:
    class Foreign:
        version = "foreign-1"

        def close(self) -> None:
            pass

        def drafts(self, profile: Any, pool: Any) -> list[Draft]:
            count = len(profile.events)
            return [
                Draft("t", "Who is it?", (), f"The user is curious. There are {count + 1_000_000} bill events."),
                Draft("s", "What else?", (), "There are 1000000 search events."),
            ]

    deployed.build(tmp_path, [TRAIN], generator=Foreign())
    rows = [row for row in read_split(str(tmp_path), "train").to_pylist() if row["generator"] == "foreign-1"]
    assert {(row["topic"], row["answer"], row["num_dropped"]) for row in rows} == {("t", "The user is curious.", 1)}


def test_windows_that_touch_are_refused(deployed: Deployed, root: Path, tmp_path: Path) -> None:
    path = next(root.rglob("bucket-000.parquet"))
    table = pq.read_table(path)
    check_windows(table, "it")
    late = pa.array([end + timedelta(microseconds=1) for end in table["profile_end"].to_pylist()])
    index = table.schema.get_field_index("profile_end")
    touching = table.set_column(index, table.schema.field(index), late.cast(table.schema.field(index).type))
    with pytest.raises(DataRefusedError, match="after its future begins"):
        check_windows(touching, "it")
    assert read_table(str(path)).num_rows == table.num_rows


def test_days_that_have_not_landed_are_refused(deployed: Deployed, tmp_path: Path) -> None:
    for anchor in (SPEC.last_day - timedelta(days=FUTURE_DAYS - 1), DAY + timedelta(days=8)):
        with pytest.raises(NotLandedError, match="choose another anchor day"):
            deployed.build(tmp_path, [anchor])
    assert not list(tmp_path.iterdir())


def test_splits_do_not_overlap() -> None:
    named = {day: SPLIT.of(DAY + timedelta(days=day), FUTURE_DAYS) for day in range(40)}
    assert [day for day, name in named.items() if name == "train"] == list(range(11))
    assert [day for day, name in named.items() if name == "valid"] == [18]
    assert [day for day, name in named.items() if name == "test"] == list(range(26, 40))
    with pytest.raises(ConfigError, match="swap them"):
        DatedSplit(valid_from=SPLIT.test_from, test_from=SPLIT.valid_from)
