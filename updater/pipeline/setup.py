"""Setup: ledger, first model version and feature repository. Run again, it changes only what the config changed."""

from dataclasses import dataclass

from updater.errors import ConfigError
from updater.lake import partitions
from updater.ledger import ModelRecord, open_writer, upgrade
from updater.pipeline.context import check_fixed_values, clock, fixed_values
from updater.settings import Settings


@dataclass(frozen=True)
class SetupReport:
    """What there is after `updater init`."""

    ledger: str
    state: str
    model: str
    trained: bool
    feature_store: str
    """The file that makes `feast -c … -f FILE` read this state from anywhere."""
    feature_views: list[str]


def initialise(settings: Settings) -> SetupReport:
    """Create or migrate the ledger, make the first model from the config's seed, and apply the feature repository.

    Raises:
        ConfigError: a value that existing state depends on was changed.
        ServiceUnavailableError: a database does not answer.
    """
    from updater.pipeline.context import open_context
    from updater.pipeline.publish import views
    from updater.store.config import write_feature_store_yaml
    from updater.store.definitions import apply

    upgrade(settings.ledger.url)
    ledger = open_writer(settings.ledger.url)
    check_fixed_values(ledger, settings)
    for key, value in fixed_values(settings).items():
        ledger.fix_setting(key, value)
    if ledger.live_model() is None:
        record = _first_model(settings)
        ledger.add_model(record)
        ledger.set_live_model(record.version)
    context = open_context(settings)
    yaml = write_feature_store_yaml(settings)
    apply(settings)
    model = context.live_model()
    return SetupReport(
        settings.ledger.url.rsplit("@", 1)[-1], settings.paths.state, model.name, model.trained, yaml, views(context)
    )


def _first_model(settings: Settings) -> ModelRecord:
    """Model version 1: the declared shape with weights from the seed.

    They are untrained, and the version's name says so.
    """
    from updater.model.checkpoint import create_model, model_digest, save_model
    from updater.model.config import create_config

    if not partitions.is_local(settings.paths.state):
        raise ConfigError(f"paths.state is {settings.paths.state}; the first model needs a local state directory.")
    directory = partitions.join(settings.paths.state, "models", "v1")
    save_model(create_model(create_config(settings), settings.model.seed), directory)
    digest = model_digest(directory)
    return ModelRecord(
        version=1, digest=digest, name=f"v1-untrained-{digest[:8]}", trained=False, created_at=clock(), live=True
    )
