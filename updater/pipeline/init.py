"""Setup: ledger, first model version and feature repository. Run again, it changes only what the config changed."""

from dataclasses import dataclass

from updater.lake import partitions
from updater.ledger import LedgerWriter, ModelRecord, open_writer, upgrade
from updater.pipeline.former_files import forget_former_files, former_files
from updater.runtime.deployment import Context, check_fixed_values, clock, fixed_values, setting_key
from updater.runtime.model_files import making_model
from updater.runtime.state_place import check_place
from updater.settings import Settings
from updater.state.layout import StateLayout

SHOWN_FIXED = (
    "timezone",
    "buffer.days",
    "buffer.num_buckets",
    "buffer.num_shards",
    "model.text_encoder",
    "privacy.pseudonymize",
)


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
    fixed: dict[str, str]
    """Config values that cannot change any more, besides what each modality declares."""
    not_loaded: list[str]
    """Feature views that are registered again though they have offline rows; online values come back by `load`."""
    load: str
    """The command that loads the newest offline row of every user into the online store."""


def create_ledger(settings: Settings) -> LedgerWriter:
    """Create or migrate the ledger and fix what state will depend on; all that training needs before `init`.

    Raises:
        ConfigError: a value that existing state depends on was changed.
        ServiceUnavailableError: a database does not answer.
    """
    check_place(settings)
    layout = StateLayout(settings.paths.state)
    upgrade(settings.ledger.url, former_files(layout, clock()))
    forget_former_files(layout)
    ledger = open_writer(settings.ledger.url)
    check_fixed_values(ledger, settings)
    for key, value in fixed_values(settings).items():
        ledger.fix_setting(setting_key(key), value)
    return ledger


def initialize(settings: Settings, trained: str | None = None) -> SetupReport:
    """Create or migrate the ledger, make the first model, and apply the feature repository.

    The first model is the one in the directory `trained`, or one with weights from the config's seed. A state
    that has a model keeps it.

    Raises:
        ConfigError: a value that existing state depends on was changed, or there is no feature repository.
        ServiceUnavailableError: a database does not answer.
    """
    from updater.pipeline.daily.intake.admission import check_modalities
    from updater.pipeline.monitor import audit
    from updater.runtime.deployment import open_writable
    from updater.store.definitions import apply, check, repository_files
    from updater.store.repository.config import write_feature_store_yaml

    repository_files(settings)  # before anything is made
    ledger = create_ledger(settings)
    check(settings)  # before the model, which takes long
    if ledger.live_model() is None:
        record = _first_model(settings, trained)
        ledger.add_model(record)
        ledger.set_live_model(record.version)
    context = open_writable(settings)
    check_modalities(context)
    audit.record(context, "init", model=context.live_model().name, feature_views=context.feature_views())
    yaml = write_feature_store_yaml(settings)
    registered = apply(settings, [context.live_model().version])
    model = context.live_model()
    return SetupReport(
        ledger=settings.ledger.url.rsplit("@", 1)[-1],
        state=settings.paths.state,
        model=model.name,
        trained=model.trained,
        feature_store=yaml,
        feature_views=context.feature_views(),
        fixed={key: value for key, value in fixed_values(settings).items() if key in SHOWN_FIXED},
        not_loaded=[view for view in registered if _has_rows(context, view)],
        load=f"feast -c {settings.paths.feature_repo} -f {yaml} materialize --disable-event-timestamp",
    )


def _has_rows(context: Context, view: str) -> bool:
    fs, root = partitions.filesystem(context.layout.offline(view))
    return bool(fs.exists(root) and any(path.endswith(".parquet") for path in fs.find(root)))


def _first_model(settings: Settings, trained: str | None) -> ModelRecord:
    """Model version 1: a copy of a trained one, or the declared shape with weights from the seed.

    The latter are untrained, and the version's name says so.
    """
    from updater.model.checkpoint import create_model, model_digest, save_model
    from updater.model.config import create_config
    from updater.runtime.session import fitting_model

    model = fitting_model(settings, trained) if trained else create_model(create_config(settings), settings.model.seed)
    with making_model(StateLayout(settings.paths.state).model(1)) as directory:
        save_model(model, directory)
        digest = model_digest(directory)
    kind = "trained" if trained else "untrained"
    return ModelRecord(
        version=1,
        digest=digest,
        name=f"v1-{kind}-{digest[:8]}",
        trained=bool(trained),
        created_at=clock(),
        live=True,
    )
