"""Files in the layout of UQABench, with made-up users of four kinds and questions whose answer is the kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from updater.fidelity.uqabench.files import ALIGN_EVAL, ALIGN_TRAIN, FEATURES, PRETRAIN_EVAL, PRETRAIN_TRAIN, TEXT

SEQUENCE = pa.list_(pa.list_(pa.int64()))
QUESTIONS = {
    "DF": "用户倒数第2次浏览的商品的类目是什么？",
    "MF": "用户浏览序列的长度是多少？",
    "IP": "用户下一个可能点击的商品的标题是什么？",
    "AP": "用户下一个可能点击的商品的品牌是什么？",
    "LI": "用户最感兴趣的3个类目是什么？",
    "SI": "用户近期最感兴趣的类目是什么？",
    "IT": "用户对类目偏好的转移路径是什么？",
}
OPTIONS = "A. tea B. rice C. milk D. bread"


def make_row(rng: np.random.Generator, kind: int, length: int) -> dict[str, list[list[int]]]:
    """A user of a kind: items of their own, one after the other in a circle, with what belongs to them."""
    first = int(rng.integers(5))
    items = [5 * kind + (first + step) % 5 for step in range(length)]
    row = {column: [[item % (3 + place)] for item in items] for place, column in enumerate(FEATURES)}
    row["uni_seq_item_id"] = [[item] for item in items]
    row["uni_seq_cate_id"] = [[kind] for _ in items]
    row["uni_seq_title_bpe_token_ids"] = [[item, item + 1] for item in items]
    row["uni_seq_seller_bpe_token_ids"] = [[] for _ in items]
    return row


def make_chat(question: str, letter: str, answer: Any = None) -> str:
    said = {"role": "assistant", "content": letter if answer is None else answer}
    return json.dumps([{"role": "user", "content": f"{question}\n{OPTIONS}"}, said], ensure_ascii=False)


def write_rows(path: Path, rows: list[dict[str, Any]], batch: int = 16, more: tuple[str, ...] = ()) -> None:
    """An Arrow IPC file of record batches of at most `batch` rows."""
    fields = [(column, SEQUENCE) for column in FEATURES] + [(column, pa.string()) for column in more]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)


def write_uqabench(directory: Path, users: int = 48, questions: int = 140) -> Path:
    """All four files. Every seventh question is of one sub-task; one for evaluation has a wording of none."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for name, count in ((PRETRAIN_TRAIN, users), (PRETRAIN_EVAL, users // 4)):
        rows = [make_row(rng, int(rng.integers(4)), int(rng.integers(4, 9))) for _ in range(count)]
        write_rows(directory / f"{name}.arrow", rows)
    for name, count in ((ALIGN_TRAIN, questions), (ALIGN_EVAL, questions // 2)):
        asked = []
        for number in range(count):
            kind = int(rng.integers(4))
            chat = make_chat([*QUESTIONS.values()][number % len(QUESTIONS)], "ABCD"[kind])
            asked.append({**make_row(rng, kind, int(rng.integers(4, 9))), TEXT: chat})
        if name == ALIGN_EVAL:
            asked[0][TEXT] = make_chat("用户住在哪里？", "A")
        write_rows(directory / f"{name}.arrow", asked, more=(TEXT,))
    return directory
