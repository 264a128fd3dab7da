"""Sizes and budgets of a run: a small encoder unless a file says otherwise."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from updater.config_file import build
from updater.domain.values import AtLeastOne, Checked, Number, Positive, Seed
from updater.encoders.config import Architecture
from updater.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class UqaConfig(Checked, table="uqabench"):
    """What a file of `updater uqabench --config FILE` may say, all of it optional."""

    encoder: Architecture = "sasrec"
    item_rows: Number = 0
    """Rows of the table of items; 0: as many as the files need, for this and the next five."""
    category_rows: Number = 0
    brand_rows: Number = 0
    shop_rows: Number = 0
    seller_rows: Number = 0
    token_rows: Number = 0
    """Rows of the table that the five text features share."""
    item_dim: AtLeastOne = 64
    """Width of an item's embedding."""
    side_dim: AtLeastOne = 32
    """Width of that of each of the nine other features."""
    width: AtLeastOne = 128
    """Width of the encoder, of any kind, and of a user's vector."""
    layers: AtLeastOne = 2
    heads: AtLeastOne = 4
    max_events: AtLeastOne = 512
    """Newest positions of a sequence that are read."""
    pretrain_steps: Number = 1000
    pretrain_batch: AtLeastOne = 16
    """Users of an optimizer step."""
    pretrain_learning_rate: Positive = 1e-3
    negatives: AtLeastOne = 1024
    """Items drawn at each step against which the next one is told apart; all items where there are no more."""
    align_steps: Number = 1000
    """Optimizer steps of the adapter, of eight questions each."""
    num_tokens: AtLeastOne = 1
    """Soft tokens that the adapter makes of a vector."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Raises ConfigError for a width that the heads cannot share."""
        super().__post_init__()
        if self.width % self.heads:
            raise ConfigError(f"uqabench.width is {self.width}, which {self.heads} heads cannot share; change either.")


def read_config(path: Path | None) -> UqaConfig:
    """The config of a TOML file, or the defaults without one. Raises ConfigError for what cannot be read."""
    if path is None:
        return UqaConfig()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}.") from None
    config: UqaConfig = build(UqaConfig, raw, "")
    return config
