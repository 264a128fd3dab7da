"""Where a state may lie: in a directory, or with the extra `s3` in a bucket, which not everything works on yet."""

from updater.errors import ConfigError
from updater.locations import S3, is_s3
from updater.objects.s3_access import access_from
from updater.settings import Settings

_ON_DISK = ("file://", "local://")


def check_place(settings: Settings) -> None:
    """Raise ConfigError if the state's place cannot be used: another kind of store, or no client or credentials."""
    state = settings.paths.state
    if "://" not in state:
        return
    if not state.startswith(S3):
        if state.startswith(_ON_DISK):
            return
        raise ConfigError(
            f"paths.state is {state} in {settings.source}; a state lies in a directory, or at s3://bucket/prefix."
        )
    if not is_s3(state):
        raise ConfigError(f"paths.state is {state}, and for that obstore is needed; run `pip install 'updater[s3]'`.")
    access_from()
    if settings.online_store.type == "sqlite" and "://" in settings.online_store.options["path"]:
        raise ConfigError(
            f"paths.state is {state}, where no SQLite file can lie; set online_store.type in {settings.source} to "
            "redis or postgres, or online_store.path to a file on a disk."
        )


def needs_directory(settings: Settings, what: str) -> None:
    """Raise ConfigError if the state lies in a bucket: `what`, the beginning of a sentence, does not work there yet."""
    if is_s3(settings.paths.state):
        raise ConfigError(
            f"{what} needs a state in a directory, and paths.state is {settings.paths.state} in {settings.source}; "
            "docs/operations.md says what works in a bucket."
        )
