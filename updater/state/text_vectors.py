"""Content-addressed text vectors: each distinct text is encoded once, ever, and shared by all events that say the same.

A segment is an immutable Arrow file named by the digest of its ids, so two processes that write the same texts
write the same file.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from updater.lake import partitions
from updater.lake.schemas import TEXT_ID_BYTES
from updater.state.text_index import TextIndex

LISTINGS = 3
"""How often the segments are listed when one of them is gone before it is read."""
SMALL_TEXTS = 65_536
"""A segment with fewer texts is merged with others; a larger one stays as it is."""


class TextVectors:
    """The vectors of one encoder version below `root`, which is `<state>/texts/<encoder_version>`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._forget()
        self.refresh()

    def _forget(self) -> None:
        self._names: list[str] = []
        self._ids: list[pa.Array] = []
        self._vectors: list[npt.NDArray[np.float16]] = []
        self._starts = np.zeros(1, np.int64)
        self._index = TextIndex()

    def refresh(self) -> None:
        """See the segments that other processes have written since, and let go of those that they have removed."""
        for listing in range(LISTINGS):
            paths = partitions.list_files(self.root, ".arrow")
            if not set(self._names) <= set(paths):
                # Their bytes would stay on the disk for as long as somebody maps them, which may be months.
                self._forget()
            try:
                for path in paths:
                    if path not in self._names:
                        self._add(path)
                return
            except FileNotFoundError:
                # Merged into another one, and removed since it was listed; the next listing has the other one.
                if listing == LISTINGS - 1:
                    raise

    def _add(self, path: str) -> None:
        fs, inner = partitions.filesystem(path)
        # On a local disk nothing is read before it is needed, and processes share it.
        source = pa.memory_map(inner) if partitions.is_local(path) else pa.BufferReader(fs.cat_file(inner))
        table = pa.ipc.open_file(source).read_all()
        ids = table["text_id"].combine_chunks()
        vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(ids), -1)
        self._names.append(path)
        self._ids.append(ids)
        self._index.add(ids)
        self._vectors.append(vectors)
        self._starts = np.append(self._starts, self._starts[-1] + len(vectors))

    def covered(self) -> list[str]:
        """Segments of which a larger one has all texts: what was merged and is not yet removed."""
        sizes = np.diff(self._starts)
        order = sorted(range(len(self._names)), key=lambda i: (-sizes[i], self._names[i]))
        seen = pa.array([], pa.binary(TEXT_ID_BYTES))
        found = []
        for i in order:
            ids = self._ids[i]
            if pc.all(pc.is_in(ids, value_set=seen)).as_py():
                found.append(self._names[i])
            else:
                seen = pa.concat_arrays([seen, ids])
        return sorted(found)

    def small(self) -> list[str]:
        """Segments of fewer than `SMALL_TEXTS` texts, without those that are covered."""
        sizes = np.diff(self._starts)
        covered = self.covered()
        return [
            name for name, size in zip(self._names, sizes, strict=True) if size < SMALL_TEXTS and name not in covered
        ]

    def merge(self, paths: Sequence[str]) -> None:
        """Write the texts of the segments `paths` as one segment, beside them."""
        chosen = [i for i, name in enumerate(self._names) if name in paths]
        ids = pc.unique(pa.concat_arrays([self._ids[i] for i in chosen]))
        self.append(ids.to_pylist(), self.gather(ids))

    def unknown(self, text_ids: pa.Array) -> pa.Array:
        """Mask of the ids that have no vector yet."""
        return pa.array(self._index.rows(text_ids) < 0)

    def append(self, text_ids: Sequence[bytes], vectors_TV: npt.NDArray[np.float16]) -> None:
        """Write one segment. `vectors_TV` has shape (len(text_ids), V)."""
        order = sorted(range(len(text_ids)), key=text_ids.__getitem__)
        ids = pa.array([text_ids[i] for i in order], pa.binary(TEXT_ID_BYTES))
        flat = pa.array(np.ascontiguousarray(vectors_TV[order], np.float16).reshape(-1))
        table = pa.table({"text_id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, vectors_TV.shape[1])})
        name = sha256(b"".join(text_ids[i] for i in order)).hexdigest()[:32]
        with (
            partitions.write_file(partitions.join(self.root, f"{name}.arrow")) as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table)
        self.refresh()

    def gather(self, text_ids: pa.Array) -> npt.NDArray[np.float16]:
        """Vectors of `text_ids`, shape (len(text_ids), V), V being 0 for no ids.

        Raises KeyError if one has not been encoded.
        """
        rows = self._index.rows(text_ids)
        if len(unknown := np.flatnonzero(rows < 0)):
            missing = text_ids[int(unknown[0])].as_py().hex()
            raise KeyError(f"text {missing} has no vector below {self.root}; run the encode step of its day")
        segments = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), self._vectors[0].shape[1] if self._vectors else 0), np.float16)
        for segment in np.unique(segments):
            mask = segments == segment
            out[mask] = self._vectors[segment][rows[mask] - self._starts[segment]]
        return out
