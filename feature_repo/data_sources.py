"""Where a feature view's offline rows lie, and which model versions there are: in the state of the config that
`feature_store.yaml` was made from.
"""

import re
from pathlib import Path

from feast import FileSource
from feast.data_format import ParquetFormat

from updater.domain import columns
from updater.settings import Settings
from updater.state.layout import StateLayout
from updater.store.repository import repository_settings

DEMO_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo.toml"

settings = repository_settings(DEMO_CONFIG)


def offline_source(view: str, settings: Settings) -> FileSource:
    """Parquet files `<state>/offline/<view>/ds=YYYY-MM-DD/*.parquet` with naive UTC timestamps."""
    return FileSource(
        name=f"{view}_offline",
        path=StateLayout(settings.paths.state).offline(view),
        file_format=ParquetFormat(),
        timestamp_field=columns.EVENT_TIMESTAMP,
        created_timestamp_column=columns.CREATED_TIMESTAMP,
    )


def model_versions(settings: Settings) -> tuple[int, ...]:
    """Versions whose models lie in `<state>/models/v<N>`, which are served side by side; 1 before there is any."""
    models = Path(StateLayout(settings.paths.state).models())
    names = [path.name for path in models.iterdir()] if models.is_dir() else []
    return tuple(sorted(int(name[1:]) for name in names if re.fullmatch(r"v[1-9]\d*", name))) or (1,)
