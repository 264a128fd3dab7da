"""UQABench's files, the encoder, and what is scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.uqabench_files import QUESTIONS, make_chat, make_row, write_rows, write_uqabench
from updater.encoders.config import ENCODERS, Architecture
from updater.errors import ConfigError, DataRefusedError
from updater.fidelity.uqabench.chats import read_chat, subtask_of
from updater.fidelity.uqabench.config import UqaConfig, read_config
from updater.fidelity.uqabench.encoder import SequenceEncoder
from updater.fidelity.uqabench.files import FEATURES, FILES, ITEM, TEXT, open_file, table_rows
from updater.fidelity.uqabench.pretrain import evaluate_pretraining, next_item_loss, pretrain
from updater.fidelity.uqabench.run import of_others
from updater.fidelity.uqabench.scores import score
from updater.fidelity.uqabench.sequences import Sequences, read_sequences
from updater.runtime.deployment import no_progress

SMALL = UqaConfig(item_dim=16, side_dim=4, width=16, heads=2, layers=1, pretrain_steps=60, pretrain_learning_rate=0.01)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_uqabench(tmp_path_factory.mktemp("uqabench") / "datas")


def make_sequences(*lengths: int, max_events: int = 512) -> Sequences:
    rng = np.random.default_rng(1)
    rows = [make_row(rng, number % 4, length) for number, length in enumerate(lengths)]
    return read_sequences(as_batch(rows), max_events)


def as_batch(rows: list[dict[str, list[list[int]]]]) -> pa.RecordBatch:
    schema = pa.schema([(column, pa.list_(pa.list_(pa.int64()))) for column in FEATURES])
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def make_encoder(config: UqaConfig = SMALL) -> SequenceEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        rows = {"item": 20, "category": 4, "brand": 10, "shop": 10, "seller": 10, "token": 30}
        encoder = SequenceEncoder(config, rows).eval()
        for weight in encoder.tables.parameters():
            torch.nn.init.normal_(weight)
        return encoder


def test_every_row_is_read_once_and_in_another_order_with_a_generator(directory: Path) -> None:
    file = open_file(directory, FILES[0])
    assert file.num_rows == 48
    plain = [row for rows in file.slices(5) for row in rows.to_pylist()]
    assert max(rows.num_rows for rows in file.slices(5)) == 5
    drawn = [row for rows in file.slices(5, np.random.default_rng(1)) for row in rows.to_pylist()]
    assert drawn != plain
    assert sorted(map(str, drawn)) == sorted(map(str, plain))


def test_tables_are_as_large_as_the_ids_of_all_files(directory: Path) -> None:
    found = table_rows([open_file(directory, name) for name in FILES])
    assert (found["item"], found["category"], found["token"]) == (20, 4, 21)


def test_the_newest_positions_are_kept() -> None:
    row = {column: [[1], [2], [3]] for column in FEATURES} | {ITEM: [[4, 5], [], [6]]}
    other = {column: [[7]] for column in FEATURES}
    found = read_sequences(as_batch([row, {column: [] for column in FEATURES}, other]), 2)
    assert found.lengths_B.tolist() == [2, 0, 1]
    assert (found.row_P.tolist(), found.place_P.tolist()) == ([0, 0, 2], [0, 1, 0])
    assert found.items_P.tolist() == [-1, 6, 7]
    assert found.ids_N["uni_seq_cate_id"].tolist() == [2, 3, 7]
    assert (found.ids_N[ITEM].tolist(), found.counts_P[ITEM].tolist()) == ([6, 7], [0, 1, 1])
    assert found.newest("uni_seq_cate_id", 1) == [[[3]], [], [[7]]]
    assert found.newest(ITEM, 9) == [[[], [6]], [], [[7]]]
    whole = read_sequences(as_batch([row, row, other]), 3)
    assert whole.items_P.tolist() == [4, -1, 6, 4, -1, 6, 7]
    users = whole.users()
    assert users[0] == users[1] != users[2]


def test_features_of_different_lengths_are_refused() -> None:
    row = {column: [[1], [2]] for column in FEATURES} | {"uni_seq_shop_id": [[1]]}
    with pytest.raises(DataRefusedError, match=r"2 positions in uni_seq_item_id and 1 in uni_seq_shop_id"):
        read_sequences(as_batch([row]), 5)


@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_later_position_changes_no_earlier_state(architecture: Architecture) -> None:
    encoder = make_encoder(replace(SMALL, encoder=architecture))
    short, long = make_sequences(4), make_sequences(6)
    torch.testing.assert_close(encoder.states(long)[:4], encoder.states(short))
    assert not torch.allclose(encoder.states(long)[1:5], encoder.states(short))


@pytest.mark.parametrize("architecture", ENCODERS)
def test_a_user_in_a_batch_is_the_user_alone(architecture: Architecture) -> None:
    encoder = make_encoder(replace(SMALL, encoder=architecture))
    rng = np.random.default_rng(3)
    rows = [make_row(rng, number, length) for number, length in enumerate((3, 7, 1))]
    nobody = {column: [] for column in FEATURES}
    together = encoder.user_vectors(read_sequences(as_batch([*rows, nobody]), 512))
    for row, vector in zip(rows, together, strict=False):
        alone = read_sequences(as_batch([row]), 512)
        torch.testing.assert_close(encoder.user_vectors(alone)[0], vector, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.states(alone).mean(dim=0), vector, rtol=1e-4, atol=1e-5)
    assert not together[3].any()


def test_a_position_is_the_mean_of_each_features_ids() -> None:
    encoder = make_encoder()
    row = {column: [[0]] for column in FEATURES} | {"uni_seq_title_bpe_token_ids": [[3, 5, 5]], "uni_seq_shop_id": [[]]}
    sequences = read_sequences(as_batch([row]), 5)
    table = encoder.tables["token"].weight
    expected = (table[3] + 2 * table[5]) / 3
    torch.testing.assert_close(encoder._mean(sequences, "uni_seq_title_bpe_token_ids")[0], expected)
    assert not encoder._mean(sequences, "uni_seq_shop_id").any()


def test_drawn_items_stand_for_all_items() -> None:
    encoder, sequences = make_encoder(), make_sequences(8, 8, 8, 8)
    whole = next_item_loss(encoder, sequences, 20)
    queries = encoder.item_queries(encoder.states(sequences))
    at = [position for position in range(32) if position % 8 < 7]
    targets = torch.from_numpy(sequences.items_P[[position + 1 for position in at]])
    expected = torch.nn.functional.cross_entropy(queries[at] @ encoder.item_table.T, targets)
    torch.testing.assert_close(whole, expected)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        drawn = next_item_loss(encoder, sequences, 19)
    assert drawn.item() == pytest.approx(whole.item(), rel=0.2)


def test_the_next_item_of_a_circle_is_learned_and_the_seed_decides(directory: Path) -> None:
    train, evaluation = (open_file(directory, name) for name in FILES[:2])
    rows = table_rows([train, evaluation])
    encoder, loss = pretrain(SMALL, rows, train, "cpu", no_progress)
    found = evaluate_pretraining(encoder, SMALL, evaluation, loss, no_progress)
    blank, none = pretrain(replace(SMALL, pretrain_steps=0), rows, train, "cpu", no_progress)
    before = evaluate_pretraining(blank, SMALL, evaluation, none, no_progress)
    assert found.users == before.users == 12
    assert found.ndcg_at_10 > 0.9 > before.ndcg_at_10 + 0.3
    few = replace(SMALL, pretrain_steps=3)
    again = [pretrain(few, rows, train, "cpu", no_progress)[0].state_dict() for _ in range(2)]
    assert all(torch.equal(again[0][name], again[1][name]) for name in again[0])


@pytest.mark.parametrize(("subtask", "question"), QUESTIONS.items())
def test_a_subtask_is_known_by_its_wording(subtask: str, question: str) -> None:
    assert subtask_of(question) == subtask


def test_an_unknown_or_ambiguous_wording_has_no_subtask() -> None:
    assert subtask_of("用户住在哪里？") is None
    assert subtask_of(QUESTIONS["MF"] + QUESTIONS["IT"]) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '[{"role": "user"}]', make_chat("?", "AB"), make_chat("?", "", [])])
def test_a_chat_without_question_or_letter_is_refused(text: str) -> None:
    with pytest.raises(DataRefusedError, match=r"^the file has a chat"):
        read_chat(text, "the file")


def test_a_letter_may_stand_in_a_list() -> None:
    assert read_chat(make_chat("?", "", ["C", "D"]), "").letter == "C"
    assert read_chat(make_chat("?", " B\n"), "").letter == "B"


def test_files_of_another_layout_are_refused(tmp_path: Path) -> None:
    rows = [make_row(np.random.default_rng(1), 1, 3)]
    with pytest.raises(ConfigError, match=r"align_data_train.arrow does not exist; give the directory"):
        open_file(tmp_path, "align_data_train")
    write_rows(tmp_path / "align_data_train.arrow", rows)
    with pytest.raises(DataRefusedError, match=r"has no column 'text' with chats"):
        open_file(tmp_path, "align_data_train")
    (tmp_path / "pretrain_data_eval.arrow").write_bytes(b"no Arrow")
    with pytest.raises(DataRefusedError, match="is no Arrow IPC file"):
        open_file(tmp_path, "pretrain_data_eval")
    table = pa.table({ITEM: [[1, 2]]})
    with pa.ipc.new_file(tmp_path / "pretrain_data_train.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataRefusedError, match=r"has no column 'uni_seq_item_id' of lists of lists"):
        open_file(tmp_path, "pretrain_data_train")


def test_a_named_subtask_is_read(tmp_path: Path) -> None:
    row = make_row(np.random.default_rng(1), 1, 3) | {TEXT: make_chat("?", "A"), "subtask": "MF"}
    write_rows(tmp_path / "align_data_eval.arrow", [row], more=(TEXT, "subtask"))
    assert open_file(tmp_path, "align_data_eval").columns == (*FEATURES, TEXT, "subtask")


def test_scores_are_those_of_a_hand_example() -> None:
    gold = np.array([0, 1, 2, 0, 1, 0])
    choices = {"vector": np.array([0, 1, 0, 0, 1, 0]), "no user": np.zeros(6, dtype=np.int64)}
    subtasks = np.array(["DF", "DF", "DF", "DF", "MF", ""])
    found = score(choices, gold, subtasks, np.array(["a", "a", "b", "b", "a", "c"]))
    assert list(found.subtasks) == ["DF", "MF"]
    assert (found.subtasks["DF"].questions, found.subtasks["DF"].users) == (4, 2)
    assert found.subtasks["DF"].accuracy["vector"].value == 0.75
    assert found.subtasks["DF"].above_no_user.value == 0.25
    assert (found.micro["vector"].value, found.micro["no user"].value) == (0.8, 0.4)
    assert (found.macro["vector"], found.macro["no user"]) == (0.875, 0.25)
    assert found.unknown_wording == 1


def test_another_user_is_never_oneself() -> None:
    users = np.array(["a", "b", "a", "c", "b", "d"])
    vectors = np.arange(4, dtype=np.float32)[[0, 1, 0, 2, 1, 3], None]
    for seed in range(20):
        other = of_others(vectors, users, seed)
        assert (other != vectors).all()
        assert other[0] == other[2] and other[1] == other[4]


def test_a_config_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "sizes.toml"
    path.write_text("width = 512\nheads = 8\nitem_rows = 994447\n")
    assert (read_config(path).width, read_config(path).item_rows) == (512, 994_447)
    assert read_config(None) == UqaConfig()
    for text, message in (
        ("width = 10", "which 4 heads cannot share"),
        ("widht = 8", "unknown; did you mean 'width'"),
        ("encoder = 'bert'", "uqabench.encoder|encoder"),
        ("width = ", "cannot be read as TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_config(path)
