"""Earlier versions of files, and files that were deleted, where a bucket keeps them."""

from dataclasses import dataclass

from updater.locations import is_s3


@dataclass(frozen=True)
class OldVersion:
    """A version of a file that nobody reads any more."""

    path: str
    """The file's URL."""
    id: str

    def __str__(self) -> str:
        return f"version {self.id} of {self.path}"

    def read(self) -> bytes:
        """Its content. Raises FileNotFoundError if it is gone."""
        from updater.objects.filesystem import objects_at

        objects, name = objects_at(self.path)
        return objects.get_version(name, self.id)

    def remove(self) -> None:
        """Delete it for good."""
        from updater.objects.filesystem import objects_at

        objects, name = objects_at(self.path)
        objects.delete_version(name, self.id)


def old_versions(root: str) -> list[OldVersion]:
    """All below a directory, by path; none on a disk, and none in a bucket that keeps no versions."""
    if not is_s3(root):
        return []
    from updater.objects.filesystem import objects_at

    objects, below = objects_at(root)
    bucket = root.removesuffix(below).rstrip("/")
    return [OldVersion(f"{bucket}/{name}", version) for name, version in objects.old_versions(below)]
