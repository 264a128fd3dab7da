"""What is costly to open, once per process: the model, the text vectors and a DuckDB connection."""

from dataclasses import dataclass
from functools import cached_property

import duckdb

from updater.errors import ConfigError
from updater.lake import partitions
from updater.lake.buffer import connect
from updater.lake.text_vectors import TextVectors
from updater.ledger import ModelRecord
from updater.model.checkpoint import load_model, model_digest
from updater.model.user_model import UserModel
from updater.pipeline.context import Context
from updater.pipeline.encode import text_vectors


@dataclass
class Tools:
    """Opened when first used."""

    context: Context

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
        """The live model version."""
        return self.context.live_model()

    @cached_property
    def model(self) -> UserModel:
        """The live model. Raises ConfigError if its files are not those that the ledger recorded, or do not fit the
        config.
        """
        record = self.model_record
        directory = partitions.filesystem(self.context.state("models", f"v{record.version}"))[1]
        if (found := model_digest(directory)) != record.digest:
            raise ConfigError(
                f"{directory} has the digest {found[:12]}, not {record.digest[:12]} as recorded; "
                "restore the model's files."
            )
        model = load_model(directory)
        declared = [(m.name, len(m.numeric), m.max_events) for m in self.context.settings.modalities]
        if (known := [(m.name, m.num_numeric, m.max_events) for m in model.config.modalities]) != declared:
            raise ConfigError(
                f"Model version {record.version} was made for modalities {known}, the config "
                f"declares {declared}; make a new model version."
            )
        return model

    @property
    def widths(self) -> list[int]:
        """Width of an event vector, per modality."""
        config = self.model.config
        return [config.vector_dim(modality) for modality in config.modalities]
