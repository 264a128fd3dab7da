"""Objects in a local directory: each is a file."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from updater.domain.temporary_files import TEMPORARY, temporary_name
from updater.objects.store import Held


class LocalObjects:
    """Objects below a directory, which is made when something is put there.

    Args:
        root: the directory.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def put_new(self, name: str, content: bytes) -> bool:
        """See `Objects.put_new`: a link to a whole file is made or refused, never half made."""
        with self._beside(name, lambda file: file.write_bytes(content)) as temporary:
            try:
                os.link(temporary, self._root / name)
            except FileExistsError:
                return False
            return True

    def put(self, name: str, content: bytes) -> None:
        """See `Objects.put`."""
        with self._beside(name, lambda file: file.write_bytes(content)) as temporary:
            temporary.replace(self._root / name)

    def replace(self, name: str, content: bytes, version: str) -> bool:
        """See `Objects.replace`: the directory is locked for as long as it takes to compare and rename."""
        directory = (self._root / name).parent
        if not directory.is_dir():
            return False
        handle = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                if self.get(name).version != version:
                    return False
            except FileNotFoundError:
                return False
            self.put(name, content)
            return True
        finally:
            os.close(handle)

    def copy(self, source: str, target: str) -> None:
        """See `Objects.copy`."""
        with self._beside(target, lambda file: shutil.copyfile(self._root / source, file)) as temporary:
            temporary.replace(self._root / target)

    def get(self, name: str) -> Held:
        """See `Objects.get`."""
        content = (self._root / name).read_bytes()
        return Held(content, sha256(content).hexdigest())

    def list(self, below: str = "") -> dict[str, int]:
        """See `Objects.list`."""
        files = (path for path in (self._root / below).rglob("*") if path.is_file())
        found = {str(path.relative_to(self._root)): path.stat().st_size for path in files if _is_object(path)}
        return dict(sorted(found.items()))

    def delete(self, names: Iterable[str]) -> None:
        """See `Objects.delete`."""
        for name in names:
            (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def _beside(self, name: str, fill: Callable[[Path], object]) -> Iterator[Path]:
        """A whole, synced file beside the object `name`, removed when the block ends."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(temporary_name(path.name))
        try:
            fill(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _is_object(path: Path) -> bool:
    return TEMPORARY.fullmatch(path.name) is None
