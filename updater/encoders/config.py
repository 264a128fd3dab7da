"""Which encoder, how large, what it reads of an event, and how long it is pre-trained. Imports no torch."""

from dataclasses import dataclass
from typing import Final, Literal

from updater.errors import ConfigError

Architecture = Literal["sasrec", "gru4rec", "hstu", "mamba4rec"]
ENCODERS: Final[tuple[Architecture, ...]] = ("sasrec", "gru4rec", "hstu", "mamba4rec")
"""All, in the order of the reports."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """An encoder. Raises ConfigError if its heads cannot share its width."""

    architecture: Architecture
    width: int = 64
    """Numbers of a state, which is the user's vector, and of an item's embedding."""
    layers: int = 2
    heads: int = 2
    """Of attention; GRU4Rec and Mamba4Rec have none."""
    state_size: int = 16
    """Numbers of each channel's state in Mamba4Rec."""
    dropout: float = 0.1
    max_events: int = 256
    """Newest events of a user that are read."""
    side: bool = True
    """Events also have modality, category, numeric columns, hour and the time since the event before."""
    text: bool = True
    """Events also have the frozen text encoder's vector of their text, through a linear map."""

    def __post_init__(self) -> None:
        if self.architecture not in ENCODERS:
            raise ConfigError(f"encoder {self.architecture!r} is unknown; use one of {', '.join(ENCODERS)}.")
        if self.width % self.heads:
            raise ConfigError(f"an encoder of width {self.width} cannot have {self.heads} heads; use a multiple.")


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The budget and the numbers of next item prediction."""

    steps: int = 300
    """Optimizer steps at most."""
    seconds: float | None = None
    """Seconds at most. Where they end a run, it cannot be reproduced to the bit."""
    users_per_step: int = 8
    learning_rate: float = 3e-3
    """After a linear warm-up it stays."""
    warmup_steps: int = 30
    weight_decay: float = 0.01
    """Of AdamW, on matrices."""
    clip_norm: float = 1.0
    """Largest norm of a step's gradient."""
    validate_every: int = 50
    """Steps between two looks at the validation users' recall, which chooses the weights."""
    patience: int = 3
    """Looks without a better recall that end pre-training."""
    seed: int = 7
    """Decides initial weights, order of the users and dropout."""
