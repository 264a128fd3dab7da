"""What is costly to open, once per process: the model, the text vectors and a DuckDB connection.

torch is imported with the model: a plan and most tasks of a day need none.
"""

from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

import duckdb

from updater.errors import ConfigError
from updater.ledger import ModelRecord
from updater.model.sources import text_encoder_version
from updater.runtime.deployment import Context
from updater.runtime.device import model_device
from updater.runtime.model_files import version_directory
from updater.settings import Settings
from updater.state.event_store import connect
from updater.state.text_vectors import TextVectors

if TYPE_CHECKING:
    from updater.model.inference import InferenceModel
    from updater.model.user_model import UserModel


@dataclass
class Session:
    """Opened when first used."""

    context: Context
    version: ModelRecord | None = None
    """The model version to work with; the live one if left out."""

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the DuckDB connection, if it was opened."""
        if "connection" in self.__dict__:
            self.__dict__.pop("connection").close()

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB over the state."""
        return connect(self.context.settings.paths.state)

    @cached_property
    def vectors(self) -> TextVectors:
        """The text vectors of the configured encoder."""
        return text_vectors(self.context)

    @cached_property
    def model_record(self) -> ModelRecord:
        """The model version to work with."""
        return self.version or self.context.live_model()

    @cached_property
    def model(self) -> "UserModel":
        """That version's model. Raises ConfigError if its files are not those that the ledger recorded, or do not fit
        the config.
        """
        from updater.model.checkpoint import model_digest

        record = self.model_record
        directory = version_directory(self.context, record)
        if (found := model_digest(directory)) != record.digest:
            raise ConfigError(
                f"{directory} has the digest {found[:12]}, not {record.digest[:12]} as recorded; "
                "restore the model's files."
            )
        return fitting_model(self.context.settings, directory).to(model_device(self.context.settings))

    @cached_property
    def inference(self) -> "InferenceModel":
        """The same with its weights packed, for embeddings."""
        from updater.model.inference import InferenceModel

        return InferenceModel(self.model)

    @property
    def widths(self) -> list[int]:
        """Width of an event vector, per modality."""
        config = self.model.config
        return [config.vector_dim(modality) for modality in config.modalities]


def text_vectors(context: Context) -> TextVectors:
    """The text vectors of the configured encoder."""
    return TextVectors(context.layout.texts(text_encoder_version(context.settings.model.text_encoder)))


def fitting_model(settings: Settings, directory: str) -> "UserModel":
    """The model in `directory`. Raises ConfigError if it is incomplete or was made for another config or encoder."""
    from updater.model.checkpoint import load_model

    model = load_model(directory)
    made_for = model.config
    known = [(m.name, m.num_numeric, m.max_events, m.snapshot) for m in made_for.modalities]
    declared = [(m.name, len(m.numeric), m.max_events, m.kind == "snapshot") for m in settings.modalities]
    for what, found, wanted in (
        ("modalities", known, declared),
        ("buffer.days", made_for.buffer_days, settings.buffer.days),
        ("model.embedding_dim", made_for.embedding_dim, settings.model.embedding_dim),
        ("text encoder", made_for.text_encoder_version, text_encoder_version(settings.model.text_encoder)),
    ):
        if found != wanted:
            raise ConfigError(
                f"The model in {directory} was made for {what} {found}, but {settings.source} has {wanted}; "
                "set the config back, or use a model that was made for it."
            )
    return model
