"""Parts of a file that takes long to make: what one attempt finished, the next one takes as it is."""

from dataclasses import dataclass

from updater.domain.fingerprint import fingerprint
from updater.lake import partitions

KEY_DIGITS = 12


@dataclass(frozen=True)
class Parts:
    """Finished parts of `output`, beside it in `.<name>.parts/<key>/`.

    Args:
        output: path or fsspec URL of the whole file.
        key: what all rows depend on; parts of another key are of no use and are removed.
    """

    output: str
    key: str

    def begin(self) -> None:
        """Make room for parts, and remove those of anything else. Raises OSError where nothing can be written."""
        with partitions.write_file(partitions.join(self._root, self._name, "key")) as file:
            file.write(self.key.encode())
        for name in partitions.list_names(self._root):
            if name != self._name:
                partitions.remove(partitions.join(self._root, name))

    def path(self, number: int, users: list[str]) -> str:
        """Where the part with the rows of `users` lies, or will."""
        digest = fingerprint(users)[:KEY_DIGITS]
        return partitions.join(self._root, self._name, f"part-{number:05d}-{digest}.parquet")

    def remove(self) -> None:
        """Remove all of them, once the whole file is there."""
        partitions.remove(self._root)

    @property
    def _root(self) -> str:
        parent, slash, name = self.output.rpartition("/")
        return f"{parent}{slash}.{name}.parts"

    @property
    def _name(self) -> str:
        return self.key[:KEY_DIGITS]
