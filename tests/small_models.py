"""A tiny text encoder and backbone on disk: real models with random weights, so that a pipeline run takes no time."""

from pathlib import Path

import torch
from safetensors.torch import save_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

WORDS = (
    *("[UNK]", "the", "following", "are", "heterogeneous", "user", "data", "from", "multiple", "sources", "including"),
    *("will", "this", "stop", "coming", "in", "next", "four", "weeks", "order", "takeaway", "food", "week", "value"),
    *("milk", "bread", "tea", "rice", "dairy", "bakery", "at", "corner", "shop", "market", "bill", "search", "app"),
    *("chat", "maps", "bank", "games", ",", ":", "?", "paid"),
)


def make_text_encoder(directory: Path, width: int = 16) -> Path:
    """A BERT of one layer with random weights and a tokenizer of whole words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        config = BertConfig(
            vocab_size=len(WORDS),
            hidden_size=width,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
        return _save(BertModel(config), directory)


def make_backbone(directory: Path) -> Path:
    """A Qwen2 of two layers with random weights, large enough for differences to show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        config = Qwen2Config(
            vocab_size=len(WORDS),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.3,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
        )
        return _save(Qwen2ForCausalLM(config), directory)


def make_reader(directory: Path, words: tuple[str, ...] = (), context: int = 512) -> Path:
    """A Qwen2 of two layers with random weights whose vocabulary has option letters, and `words` behind them."""
    words = (
        "[UNK]",
        "A",
        "B",
        "C",
        "D",
        ".",
        ":",
        "Answer",
        "Which",
        "of",
        "these",
        "tea",
        "rice",
        "milk",
        "bread",
        *words,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        config = Qwen2Config(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
            initializer_range=0.3,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
        )
        return _save(Qwen2ForCausalLM(config), directory, words)


def _save(model: PreTrainedModel, directory: Path, words: tuple[str, ...] = WORDS) -> Path:
    directory.mkdir(parents=True)
    model.config.save_pretrained(directory)
    save_model(model.eval(), str(directory / "model.safetensors"), metadata={"format": "pt"})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory
