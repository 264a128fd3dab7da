"""Everything that decides the shape of a user model, kept with its weights as config.json."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from updater.errors import ConfigError
from updater.model.sources import hugging_face_config, load_tokenizer, locate, text_encoder_version
from updater.settings import Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

FORMAT = 3
"""Of config.json: 1, which has no number, is the shape before question-anchored counts; 2 has two kernels of them."""
INSTRUCTION = "The following are heterogeneous user data from multiple sources, including {names}:"
"""First tokens of every user prefix (arXiv 2602.14492, Fig. 3, with this config's modalities)."""

TINY_BACKBONE: Mapping[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "attention_dropout": 0.1,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    # Hugging Face's 0.02 suits wide models; at this width layers would begin as good as silent.
    "initializer_range": 0.08,
    "bos_token_id": None,
    "eos_token_id": None,
}
"""Architecture of the backbone named `tiny`; its vocabulary is the text encoder's."""


@dataclass(frozen=True, kw_only=True)
class ModalityConfig:
    """What the model knows about a modality. Raises ConfigError for constants that do not fit."""

    name: str
    num_numeric: int = 0
    """Numeric columns at the end of an event vector."""
    snapshot: bool = False
    """Whether it holds a state of the user, whose rows have no times."""
    max_events: int = 64
    """Newest events that become tokens."""
    numeric_mean: tuple[float, ...] = ()
    """Subtracted from asinh of the numeric columns; zeros if left out."""
    numeric_std: tuple[float, ...] = ()
    """Divides them after that; ones if left out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric_mean", tuple(self.numeric_mean) or (0.0,) * self.num_numeric)
        object.__setattr__(self, "numeric_std", tuple(self.numeric_std) or (1.0,) * self.num_numeric)
        for name in ("numeric_mean", "numeric_std"):
            if len(getattr(self, name)) != self.num_numeric:
                raise ConfigError(f"{name} of modality {self.name!r} needs {self.num_numeric} values.")
        if any(std <= 0 for std in self.numeric_std):
            raise ConfigError(f"numeric_std of modality {self.name!r} must be above 0.")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Shape of a user model. `to_json` and `from_json` are inverse; unknown keys are refused."""

    text_encoder: str
    """Packaged name, path or Hugging Face id of the sentence encoder that made the event vectors."""
    text_encoder_version: str
    """Its `text_encoder_version`; vectors of another version do not fit this model."""
    text_dim: int
    """Width of a text vector."""
    modalities: tuple[ModalityConfig, ...]
    """Their order is the order in the prefix."""
    backbone: str
    """`none`, `tiny`, or the packaged name, path or Hugging Face id that the backbone's initial weights came from."""
    backbone_config: Mapping[str, Any]
    """Hugging Face config of the causal language model, with the layers that are used; of none only `hidden_size`."""
    instruction: str
    """Text in front of every prefix."""
    layout: Literal["anchored", "paper"] = "anchored"
    """What the prefix is made of: each distinct text with its statistics, or summaries and the newest events."""
    buffer_days: int = 90
    """Length of the buffer, in days."""
    max_texts: int = 256
    """Distinct texts of a user that become tokens; all are counted."""
    embedding_dim: int = 128
    """Width of a scenario embedding."""
    head_dim: int = 512
    """Hidden width of the embedding head."""
    adapter_dim: int = 256
    """Hidden width of the event, modality and user adapters."""
    seed: int = 7
    """Seed of the initial weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the operands of the backbone's matrix products are rounded to when it serves."""
    user_token: bool = True
    """Whether the prefix has the user's token; False for ablation."""
    modality_tokens: bool = True
    """Whether it has the modalities' summary tokens; False for ablation."""

    def vector_dim(self, modality: ModalityConfig) -> int:
        """Width V of that modality's event vectors: the text vector, then the numeric columns."""
        return self.text_dim + modality.num_numeric

    def to_json(self) -> str:
        """Canonical JSON; equal configs give equal text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """Inverse of `to_json`. Raises ConfigError for malformed JSON, another format, and unknown or missing keys."""
        try:
            raw = json.loads(text)
            _check_format(raw.pop("format", 1))
            modalities = tuple(_build(ModalityConfig, modality) for modality in raw.pop("modalities", []))
        except (json.JSONDecodeError, AttributeError, TypeError) as error:
            raise ConfigError(f"model config is not the JSON of a ModelConfig: {error}.") from None
        return _build(cls, {**raw, "modalities": modalities})


def _check_format(found: object) -> None:
    if found != FORMAT:
        release = "an earlier" if found in range(1, FORMAT) else "another"
        raise ConfigError(
            f"The model was written by {release} release, whose models this one does not compute; train a new one "
            "with `updater model train` and make it live with `updater model promote --model DIR`."
        )


def _build(cls: type[T], raw: dict[str, Any]) -> T:
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(raw) - known):
        raise ConfigError(f"model config key {unknown[0]!r} is unknown; this model was written by another version.")
    try:
        return cls(**raw)
    except TypeError as error:
        raise ConfigError(f"model config is incomplete: {error}.") from None


def create_config(settings: Settings) -> ModelConfig:
    """Config of a new model for these settings; reads the config files of encoder and backbone, not their weights.

    Raises:
        ConfigError: the text encoder or the backbone is not there, has no tokenizer.json or too few layers.
    """
    encoder = locate(settings.model.text_encoder)
    if settings.model.backbone == "none":
        backbone = {"hidden_size": TINY_BACKBONE["hidden_size"]}
    elif settings.model.backbone == "tiny":
        backbone = {**TINY_BACKBONE, "vocab_size": load_tokenizer(encoder).get_vocab_size()}
    else:
        backbone = hugging_face_config(locate(settings.model.backbone))
    return ModelConfig(
        text_encoder=settings.model.text_encoder,
        text_encoder_version=text_encoder_version(settings.model.text_encoder),
        text_dim=int(hugging_face_config(encoder)["hidden_size"]),
        modalities=tuple(
            ModalityConfig(
                name=modality.name,
                num_numeric=len(modality.numeric),
                snapshot=modality.kind == "snapshot",
                max_events=modality.max_events,
            )
            for modality in settings.modalities
        ),
        backbone=settings.model.backbone,
        backbone_config=backbone if settings.model.backbone == "none" else _first_layers(backbone, settings),
        instruction=INSTRUCTION.format(names=", ".join(modality.name for modality in settings.modalities)),
        layout=settings.model.layout,
        buffer_days=settings.buffer.days,
        max_texts=settings.model.max_texts,
        embedding_dim=settings.model.embedding_dim,
        precision=settings.model.precision,
        seed=settings.model.seed,
    )


def _first_layers(backbone: dict[str, Any], settings: Settings) -> dict[str, Any]:
    wanted, present = settings.model.backbone_layers, backbone.get("num_hidden_layers")
    if wanted == 0:
        return backbone
    if not isinstance(present, int) or wanted > present:
        raise ConfigError(
            f"model.backbone_layers is {wanted}, and num_hidden_layers of backbone {settings.model.backbone!r} is "
            f"{present}; use fewer, or 0 for all."
        )
    types = {"layer_types": backbone["layer_types"][:wanted]} if backbone.get("layer_types") else {}
    return {**backbone, "num_hidden_layers": wanted, **types}
