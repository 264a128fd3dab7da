"""The config file: TOML, checked strictly, every value overridable from the environment.

`UPDATER_LEDGER__URL` overrides `url` in `[ledger]`; `UPDATER_TIMEZONE` the top-level `timezone`;
`UPDATER_MODALITIES__BILL__MAX_EVENTS` the `max_events` of the modality named `bill`. Variables that Kubernetes sets for
Services whose names begin with `updater` are left alone.
Relative paths are relative to the config file.
"""

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pendulum

from updater.config_file import ENV_PREFIX, build, nearest, override, rename_keys
from updater.domain.columns import PROFILE_DOMAIN
from updater.domain.declared.access import Auth, Permission, check_permissions
from updater.domain.declared.alerts import AlertThresholds
from updater.domain.declared.evaluation import Evaluation
from updater.domain.declared.generator import GeneratorChoice
from updater.domain.declared.modality import Modality
from updater.domain.declared.privacy import Privacy
from updater.domain.declared.profile import ProfileChoice, check_profile
from updater.domain.declared.profile_training import ProfileTraining
from updater.domain.declared.scenario import Scenario
from updater.domain.declared.training import Training, Tuning
from updater.domain.fingerprint import fingerprint
from updater.domain.retention import Retention
from updater.domain.values import AtLeastOne, Checked, Days, Device, EmbeddingFormat, Number, Processes, Seed, Share
from updater.errors import ConfigError, NotFoundError

NOT_SETTINGS = frozenset(
    ENV_PREFIX + name
    for name in (
        "ACTOR",
        "CONFIG",
        "CRASH_POINT",
        "DAGS_POOL",
        "DAGS_QUEUE",
        "DAGS_START_DATE",
        "ID_KEY",
        "POSTGRES_URL",
        "REDIS_URL",
        "REQUIRE_SERVICES",
    )
)
"""Variables with our prefix that name no config value."""

RENAMED = {
    "bounds": "alerts",
    "alerts.max_quiet_days": "max_days_since_last_event",
    "privacy.pseudonymise": "pseudonymize",
}
"""Former keys that are still read, with a warning."""


@dataclass(frozen=True, kw_only=True)
class Paths(Checked, table="paths"):
    """Where data lies. A relative path is relative to the config file."""

    lake: str = "lake"
    """The event lake: a directory or any fsspec URL."""
    state: str = "state"
    """Event vectors, summaries, embeddings, models, rejected rows: a directory that all processes share, or
    `s3://bucket/prefix`."""
    feature_repo: str = "feature_repo"
    """Directory of the Feast definitions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # DuckDB and Feast take these for patterns, and would read what lies elsewhere.
        if bad := [character for character in "*?[" if character in self.state]:
            raise ConfigError(f"paths.state {self.state!r} contains {bad[0]!r}; use none of * ? [.")


@dataclass(frozen=True, kw_only=True)
class Ledger(Checked, table="ledger"):
    """The record of what has been done."""

    url: str = "sqlite:///state/ledger.db"
    """SQLAlchemy URL of the record of what has been done: sqlite:/// or postgresql+psycopg://."""


@dataclass(frozen=True, kw_only=True)
class Registry(Checked, table="registry"):
    """Feast's registry."""

    url: str = "sqlite:///state/registry.db"
    """SQLAlchemy URL of Feast's registry."""


@dataclass(frozen=True, kw_only=True)
class OnlineStore(Checked, table="online_store"):
    """Feast's online store."""

    type: Literal["sqlite", "redis", "postgres"] = "sqlite"
    """sqlite, redis or postgres; all other keys of the section go to Feast's store of that type."""
    embeddings: EmbeddingFormat = "float32"
    """How embeddings are written: float32 as they are offline, or rounded to float16 or int8 and read as floats."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Buffer(Checked, table="buffer"):
    """The rolling buffer and its partitioning."""

    days: Days = 90
    """Length of the rolling buffer, in local days."""
    num_buckets: AtLeastOne = 16
    """Number of user buckets; fixed once state exists."""
    num_shards: AtLeastOne = 1
    """Parts that landing, detect and refresh read and write by themselves; divides num_buckets; fixed as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_buckets % self.num_shards:
            raise ConfigError(
                f"buffer.num_shards is {self.num_shards}, which does not divide buffer.num_buckets, "
                f"{self.num_buckets}; a shard is a run of buckets, so choose a divisor, or powers of two for both."
            )


@dataclass(frozen=True, kw_only=True)
class Model(Checked, table="model"):
    """What the embeddings are made with."""

    text_encoder: str = "minilm"
    """Packaged name (minilm), path or Hugging Face id of the frozen sentence encoder."""
    backbone: str = "tiny"
    """Packaged name (tiny, smollm2), path or Hugging Face id of the causal language model; none for no layers."""
    backbone_layers: Number = 0
    """How many of the backbone's first layers to use; 0 means all."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the backbone's matrix products; bfloat16 is faster with AMX or AVX512-BF16, and slower without."""
    layout: Literal["anchored", "paper"] = "anchored"
    """anchored: each distinct text is a token, and a question counts them; paper: summaries and the newest events."""
    max_texts: AtLeastOne = 256
    """Distinct texts of a user that become tokens of an anchored layout; all are counted."""
    device: Device = "cpu"
    """Where the model computes: cpu, cuda, cuda:N, or auto for CUDA where there is one. Texts stay on the CPU."""
    embedding_dim: AtLeastOne = 128
    """Width of a scenario embedding."""
    seed: Seed = 7
    """Seed of the initial weights."""


@dataclass(frozen=True, kw_only=True)
class Limits(Checked, table="limits"):
    """What is refused as bad data."""

    max_rejected_share: Share = 0.1
    """Largest share (0 to 1) of a partition's rows that may be rejected before the run refuses it."""
    max_id_bytes: AtLeastOne = 256
    """Longest user_id or event_id, in bytes of UTF-8."""
    max_text_bytes: AtLeastOne = 8192
    """Longest value of a text column, in bytes of UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Run(Checked, table="run"):
    """Where and with how much a run works."""

    engine: Literal["processes", "ray"] = "processes"
    """Who does the jobs: processes of this machine, or actors of a Ray cluster."""
    ray_address: str = "auto"
    """host:port of the Ray cluster's head; auto for the cluster that this machine belongs to."""
    processes: Processes = 0
    """Worker processes or actors for encoding and refreshing; 0 means one per core of the machine or the cluster."""
    users_per_batch: AtLeastOne = 256
    """Users whose events are in memory at a time in each process."""
    landing_mb: AtLeastOne = 512
    """MiB of a landed partition's rows in memory at a time; more are sorted in the system's temporary directory."""
    verify_before_publish: Number = 0
    """Recomputed users that are compared with a rebuild before a window goes online; a difference stops it. 0: none."""


@dataclass(frozen=True, kw_only=True)
class Metrics(Checked, table="metrics"):
    """Metrics export."""

    file: str = ""
    """Prometheus text file (`….prom`), written after each window; none if empty."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole config. Paths and SQLite URLs are absolute."""

    modalities: tuple[Modality, ...]
    scenarios: tuple[Scenario, ...]
    timezone: str = "UTC"
    """IANA name of the timezone whose days are the windows."""
    paths: Paths = field(default_factory=Paths)
    ledger: Ledger = field(default_factory=Ledger)
    registry: Registry = field(default_factory=Registry)
    online_store: OnlineStore = field(default_factory=OnlineStore)
    buffer: Buffer = field(default_factory=Buffer)
    model: Model = field(default_factory=Model)
    limits: Limits = field(default_factory=Limits)
    run: Run = field(default_factory=Run)
    generator: GeneratorChoice = field(default_factory=GeneratorChoice)
    training: Training = field(default_factory=Training)
    tuning: Tuning = field(default_factory=Tuning)
    retention: Retention = field(default_factory=Retention)
    alerts: AlertThresholds = field(default_factory=AlertThresholds)
    metrics: Metrics = field(default_factory=Metrics)
    evaluation: Evaluation = field(default_factory=Evaluation)
    privacy: Privacy = field(default_factory=Privacy)
    profile: ProfileChoice = field(default_factory=ProfileChoice)
    profile_training: ProfileTraining = field(default_factory=ProfileTraining)
    auth: Auth = field(default_factory=Auth)
    permissions: tuple[Permission, ...] = ()
    source: Path = Path("updater.toml")
    """The file that the settings were read from."""

    def __post_init__(self) -> None:
        if self.timezone not in pendulum.timezones():
            raise ConfigError(f"timezone {self.timezone!r} is unknown{nearest(self.timezone, pendulum.timezones())}")
        for table, items in (("modalities", self.modalities), ("scenarios", self.scenarios)):
            names = [item.name for item in items]
            if not names:
                raise ConfigError(f"{self.source} declares no {table}; add a [[{table}]] table.")
            if twice := [name for name in names if names.count(name) > 1]:
                raise ConfigError(f"{twice[0]!r} is declared twice in [[{table}]] of {self.source}; names are unique.")
        for text in self.training.never_asked:
            name, colon, category = text.partition(":")
            if not (colon and category):
                raise ConfigError(f"training.never_asked has {text!r}; write modality:category.")
            self.modality(name)
        check_profile(self.profile, self.modalities, self.scenarios)
        domains = {scenario.domain for scenario in self.scenarios}
        check_permissions(self.permissions, domains | ({PROFILE_DOMAIN} if self.profile.enabled else set()))

    def modality(self, name: str) -> Modality:
        """The modality of that name. Raises ConfigError for an unknown one."""
        for modality in self.modalities:
            if modality.name == name:
                return modality
        known = nearest(name, [modality.name for modality in self.modalities])
        raise ConfigError(f"modality {name!r} is not declared in {self.source}{known}")

    def scenario(self, name: str) -> Scenario:
        """The scenario of that name. Raises NotFoundError for an unknown one."""
        for scenario in self.scenarios:
            if scenario.name == name:
                return scenario
        known = ", ".join(scenario.name for scenario in self.scenarios)
        raise NotFoundError(f"Scenario {name!r} is not in {self.source}; known: {known}.", kind="scenario", name=name)

    def modality_fingerprint(self, name: str) -> str:
        """Digest of everything in the declaration that changes what a landed row becomes."""
        m = self.modality(name)
        return fingerprint(m.name, m.kind, m.text, m.numeric, m.category)


def load_settings(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the config named by `path`, else by UPDATER_CONFIG, else ./updater.toml. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    source = Path(path or environ.get("UPDATER_CONFIG") or "updater.toml").expanduser().absolute()
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"config file {source} does not exist; name one with --config or UPDATER_CONFIG (`updater new` makes one)."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"config file {source} cannot be read: {error}.") from None
    override(raw, {variable: text for variable, text in environ.items() if variable not in NOT_SETTINGS})
    rename_keys(raw, RENAMED, str(source))
    for section, ours in (("online_store", ("type", "embeddings")), ("auth", ("type",))):
        given = raw.get(section)
        if isinstance(given, dict):
            options = {key: str(value) if isinstance(value, str) else value for key, value in given.items()}
            raw[section] = {key: given[key] for key in ours if options.pop(key, None) is not None}
            raw[section]["options"] = options
    if "source" in raw:
        raise ConfigError(f"config key 'source' of {source} is unknown; remove it.")
    settings = build(Settings, {**raw, "source": source}, "")
    return _absolute(settings)


def _absolute(settings: Settings) -> Settings:
    base = settings.source.parent
    paths = Paths(**{f.name: absolute_path(getattr(settings.paths, f.name), base) for f in dataclasses.fields(Paths)})
    options = dict(settings.online_store.options)
    if settings.online_store.type == "sqlite":
        options["path"] = absolute_path(options.get("path", f"{paths.state}/online.db"), base)
    return dataclasses.replace(
        settings,
        paths=paths,
        ledger=Ledger(url=_absolute_url(settings.ledger.url, base)),
        registry=Registry(url=_absolute_url(settings.registry.url, base)),
        online_store=dataclasses.replace(settings.online_store, options=options),
        metrics=Metrics(file=absolute_path(settings.metrics.file, base) if settings.metrics.file else ""),
        evaluation=dataclasses.replace(
            settings.evaluation,
            tasks=absolute_path(settings.evaluation.tasks, base) if settings.evaluation.tasks else "",
        ),
    )


def absolute_path(path: str, base: Path) -> str:
    """`path` as it is if it is a URL, else made absolute below `base`."""
    return path if "://" in path else os.path.normpath(base / Path(path).expanduser())


def _absolute_url(url: str, base: Path) -> str:
    scheme, separator, path = url.partition(":///")
    if not scheme.startswith("sqlite") or not separator or not path or path == ":memory:":
        return url
    return f"{scheme}:///{absolute_path(path, base)}"
