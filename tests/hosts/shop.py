"""The deployment that `updater new` writes, with a small made-up lake and its state on servers, or on one machine."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.deployment import tree
from tests.hosts.network import HOME
from tests.state_objects import objects
from updater import store
from updater.objects.filesystem import objects_at
from updater.pipeline.daily.window import run_window
from updater.pipeline.init import initialize
from updater.runtime.deployment import open_writable
from updater.runtime.process_pool import ProcessPool
from updater.scaffold import new_deployment
from updater.settings import Settings, load_settings
from updater.sources.synthetic import SyntheticSpec, land

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = [
    "lapse_v1:lapse_embedding",
    "takeaway_v1:takeaway_as_of",
    "modality_summaries:bill_num_events",
    "user_text_profile_v1:profile_text",
]
PUBLISHED = ("offline", "summaries")
SAMPLE = SyntheticSpec(num_users=100, num_days=16)
FIXED = {"UPDATER_BUFFER__NUM_BUCKETS": "4", "UPDATER_PROFILE__ENABLED": "true"}
"""What a config of `updater new` has otherwise, on every machine."""


def on_a_host(servers: Mapping[str, str]) -> dict[str, str]:
    """The environment of what works on a host, whose config is at `HOME`/shop; `servers` says where these are."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PATH") if name in os.environ}
    return {
        **kept,
        "HOME": str(HOME),
        "NO_PROXY": "*",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "FEAST_USAGE": "False",
        "PYTHONUNBUFFERED": "1",
        "SOURCE_DATE_EPOCH": str(int(NOW.timestamp())),
        "UPDATER_CONFIG": str(HOME / "shop" / "updater.toml"),
        **FIXED,
        **servers,
    }


class Shop:
    """A directory with a config and a feature repository, and the place that an environment gives to its state."""

    def __init__(self, directory: Path, environ: Mapping[str, str], num_users: int) -> None:
        self.directory, self._num_users = directory, num_users
        self.settings: Settings = load_settings(directory / "updater.toml", environ={**FIXED, **environ})

    @classmethod
    def create(cls, directory: Path, environ: Mapping[str, str], spec: SyntheticSpec = SAMPLE) -> "Shop":
        """Write it, land its lake and initialize its state."""
        new_deployment(directory, NOW.date())
        made = cls(directory, environ, spec.num_users)
        names = [modality.name for modality in made.settings.modalities]
        land(str(directory / "lake"), spec)
        for path in (directory / "lake").iterdir():
            if path.name not in names:
                shutil.rmtree(path)
        if made.in_bucket:
            bucket, root = objects_at(made.settings.paths.lake)
            for path in sorted((directory / "lake").rglob("*")):
                if path.is_file():
                    bucket.put(f"{root}/{path.relative_to(directory / 'lake')}", path.read_bytes())
            shutil.rmtree(directory / "lake")
        initialize(made.settings)
        return made

    @property
    def in_bucket(self) -> bool:
        """Whether lake and state are in a bucket."""
        return self.settings.paths.state.startswith("s3://")

    def run(self, ds: date) -> None:
        """A window, by the library, in this process."""
        context = open_writable(self.settings, NOW)
        with ProcessPool(self.settings, NOW) as pool:
            run_window(context, pool, ds)

    def published(self) -> dict[str, str]:
        """Digest of every file of the windows, by name."""
        if not self.in_bucket:
            return tree(Path(self.settings.paths.state), PUBLISHED)
        found = objects(self.settings.paths.state.removeprefix("s3://").partition("/")[0])
        return {name: digest for name, digest in found.items() if name.startswith(PUBLISHED)}

    def online(self) -> dict[str, list[object]]:
        """What the online store serves of everybody."""
        users = [f"u{number:07d}" for number in range(self._num_users)]
        return store.online_rows(store.open_store(self.settings), users, FEATURES)


@contextmanager
def environment_with(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process for the length of a `with` block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield
