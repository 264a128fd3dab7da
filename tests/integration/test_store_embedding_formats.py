"""Embeddings that are rounded online are floats for every reader, in whatever formats a store holds them."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.conftest import SettingsFactory
from tests.integration.feast_cli import feast
from tests.integration.store_helpers import CREATED, FEATURES, STORES, VIEW, later, store_options, vectors, write_lapse
from tests.integration.test_verify import SECOND, make
from updater import store
from updater.cli import main
from updater.domain.values import EmbeddingFormat
from updater.errors import ConfigError
from updater.pipeline.monitor.verify import verify
from updater.settings import Settings
from updater.store.online.proto_encoding import entity_keys
from updater.store.online.rounding import encode, rounded

FORMATS: tuple[EmbeddingFormat, ...] = get_args(EmbeddingFormat)
USERS = ["a", "b", "c"]


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, make_settings: SettingsFactory) -> Settings:
    return make_settings(online_store=store_options(request.param, request))


def opened_for(settings: Settings, form: EmbeddingFormat) -> Any:
    return store.open_store(replace(settings, online_store=replace(settings.online_store, embeddings=form)))


def stored(opened: Any, users: list[str]) -> list[bytes | None]:
    """The bytes that the store holds of users' embeddings."""
    wanted = [(opened.get_feature_view(VIEW), ["lapse_embedding"])]
    [cells] = opened.provider.online_store.read_cells(opened.config, entity_keys("user_id", users), wanted)
    return list(cells.columns[0])


def test_formats_lie_beside_each_other_and_every_read_gives_floats(settings: Settings) -> None:
    store.apply(settings)
    expected = {}
    for number, (user, form) in enumerate(zip(USERS, FORMATS, strict=True)):
        opened = opened_for(settings, form)
        embedding = vectors(1, seed=number)
        at = write_lapse(settings, f"2024-02-{27 + number}", [user], embedding)
        store.materialize(opened, at, [VIEW])
        first = stored(opened, USERS)
        store.materialize(opened, at, [VIEW])
        assert stored(opened, USERS) == first, "writing a window again changes no byte"
        assert (encode(embedding, form)[0] or embedding.tobytes()) in (first[number] or b"")
        expected[user] = rounded(embedding, form)[0].tolist()
    entities, wanted = [{"user_id": user} for user in [*USERS, "nobody"]], [*expected.values(), None]
    for form in FORMATS:  # how a reader would write makes no difference
        opened = opened_for(settings, form)
        ways = [
            store.online_rows(opened, [*USERS, "nobody"], FEATURES),
            opened.get_online_features(FEATURES, entities, include_feature_view_version_metadata=True).to_dict(),
        ]
        if settings.online_store.type != "sqlite":  # which Feast reads from no event loop
            ways.append(asyncio.run(opened.get_online_features_async(FEATURES, entities)).to_dict())
        assert [read["lapse_embedding"] for read in ways] == [wanted] * len(ways)


def test_neither_format_nor_order_lets_an_older_value_win(settings: Settings) -> None:
    store.apply(settings)
    old, new = vectors(2, seed=1)
    pairs: list[tuple[EmbeddingFormat, EmbeddingFormat]] = [("float16", "int8"), ("int8", "float32")]
    for form, other in pairs:
        opened = opened_for(settings, form)
        at = write_lapse(settings, "2024-02-28", ["a"], [new], version=form)
        store.materialize(opened, at, [VIEW])
        earlier = write_lapse(settings, "2024-02-27", ["a"], [old])
        store.materialize(opened_for(settings, other), earlier, [VIEW])
        served = store.online_rows(opened, ["a"], FEATURES)
        assert served["lapse_embedding"] == [rounded(new[None], form)[0].tolist()]
        assert served["lapse_model_version"] == [form]
    write_lapse(settings, "2024-02-28", ["a"], [None], created=later(CREATED, 1))
    store.materialize(opened, at, [VIEW])
    assert store.online_rows(opened, ["a"], FEATURES)["lapse_embedding"] == [None]


def test_feast_itself_prints_and_loads_them(make_settings: SettingsFactory) -> None:
    settings = make_settings()
    embeddings = vectors(2, seed=1)
    at = write_lapse(settings, "2024-02-28", ["a", "b"], embeddings)
    store.apply(settings)
    store.materialize(settings, at, [VIEW])
    exact = store.online_rows(store.open_store(settings), ["a", "b"], FEATURES)

    settings = make_settings(online_store={"type": "sqlite", "embeddings": "int8"})
    assert store.apply(settings) == []
    assert "embeddings: int8" in Path(settings.paths.state, "feature_store.yaml").read_text(encoding="utf-8")
    assert store.online_rows(store.open_store(settings), ["a", "b"], FEATURES) == exact
    done = feast(settings, "materialize", "--disable-event-timestamp")  # all at once, as the page says
    assert done.exit_code == 0, done.output
    near = rounded(embeddings, "int8")
    opened = store.open_store(settings)
    served = store.online_rows(opened, ["a", "b"], FEATURES)
    assert served == {**exact, "lapse_embedding": near.tolist()}
    assert {(value or b"")[:1] for value in stored(opened, ["a", "b"])} == {b"\x0a"}
    printed = feast(settings, "get-online-features", "-e", "user_id=a", "-f", f"{VIEW}:lapse_embedding")
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.output[printed.output.index("{") :])["lapse_embedding"] == [near[0].tolist()]
    joined = store.historical_rows(opened, pd.DataFrame({"user_id": ["a"], "event_timestamp": [at.as_of]}), FEATURES)
    assert np.array_equal(joined["lapse_embedding"][0], embeddings[0]), "offline rows stay exact"


def test_a_format_that_there_is_not_is_refused(make_settings: SettingsFactory) -> None:
    with pytest.raises(ConfigError, match=r"online_store\.embeddings.*float32.*float16.*int8"):
        make_settings(online_store={"embeddings": "float8"})


@pytest.mark.parametrize("form", FORMATS[1:])
def test_verification_knows_the_rounded_value_to_the_bit(tmp_path: Path, form: EmbeddingFormat) -> None:
    made = make(tmp_path, 4, online_store={"embeddings": form})
    found = verify(made.context, None)
    assert (found.differences, found.users) == ([], 4)
    assert found.online_values
    config = str(made.settings.source)
    assert CliRunner().invoke(main, ["state", "verify", "--all", "--config", config]).exit_code == 0
    opened = opened_for(made.settings, "float32")
    window = made.context.window(SECOND)
    store.materialize(opened, window, [VIEW])
    assert verify(made.context, None).differences == [], "of two formats, too"

    [path, *_] = sorted(made.state.joinpath("offline", VIEW, f"ds={window.ds}").glob("*.parquet"))
    rows = pq.read_table(path)
    [user, *_] = rows["user_id"].to_pylist()
    near = rounded(np.array([rows["lapse_embedding"][0].as_py()], np.float32), form)[0]
    near[0] = np.nextafter(near[0], np.float32(2))
    frame = rows.slice(0, 1).to_pandas().assign(lapse_embedding=[near.tolist()])
    opened.write_to_online_store(VIEW, frame)
    [difference] = verify(made.context, None).differences
    assert "lapse_embedding" in difference and repr(user) in difference
