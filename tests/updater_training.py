"""A lake, and a tiny language model that speaks in whole lines, for tests of the training of profile updaters.

Each user of the lake likes one thing, so a text that names it predicts what comes next. The model has one token for
each line of its vocabulary and random weights: a reply is one token, and training is over in a second. It shows that
what rewards is learned, and nothing of what a language model can do.
"""

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.factories import bill, land_rows
from updater.labels.events import open_events
from updater.pipeline.init import create_ledger
from updater.runtime.deployment import WritableContext, no_progress, open_writable
from updater.settings import Settings
from updater.training.profile.history.collect import Collected, collect
from updater.training.profile.texts.dataset import make_training_updates

FIRST = date(2024, 3, 1)
DAYS = 9
NUM_USERS = 40
LIKED = ("dairy", "rice", "tea")
MODALITIES = [{"name": "bill", "text": "{category}", "category": "category"}]
CONFIG: dict[str, Any] = {
    "modalities": MODALITIES,
    "buffer": {"days": 4, "num_buckets": 2},
    "profile": {"short_half_life_days": 1.0, "long_half_life_days": 3.0},
}
END = "[END]"
TRAINING = {
    "stage_days": 1,
    "chains": 1,
    "users": 40,
    "examine_users": 2,
    "supervised_steps": 3,
    "texts_per_step": 4,
    "supervised_learning_rate": 0.05,
    "reinforced_steps": 3,
    "reinforced_learning_rate": 0.01,
    "group": 4,
    "lora_rank": 0,
    "max_reply_tokens": 4,
    "save_every": 1,
}
MakeSettings = Callable[..., Settings]


def liked(user: int) -> str:
    return LIKED[user % len(LIKED)]


def user_id(user: int) -> str:
    return f"u{user:03}"


def land(lake: str, changed: dict[date, list[dict[str, Any]]] | None = None) -> None:
    """Everybody buys what they like twice a day, and something else on every third day; `changed` lands other rows."""
    for offset in range(DAYS):
        ds = FIRST + timedelta(days=offset)
        rows = []
        for user in range(NUM_USERS):
            other = LIKED[(user + offset) % len(LIKED)] if offset % 3 == 0 else liked(user)
            for hour, category in ((8, liked(user)), (12, liked(user)), (18, other)):
                rows.append(bill(user_id(user), f"{user}-{ds}-{hour}", f"{ds} {hour:02}:00:00", category=category))
        land_rows(lake, "bill", ds, (changed or {}).get(ds, rows))


def make_line_model(directory: Path, lines: Iterable[str], seed: int = 5) -> Path:
    """A Qwen2 of one layer with random weights, whose tokens are `lines`; it says one of them and ends."""
    words = ["[UNK]", END, *dict.fromkeys(lines)]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    tokenizer.decoder = decoders.Fuse()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen2Config(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=1024,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=1,
        )
        Qwen2ForCausalLM(config).save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def context_of(settings: Settings) -> WritableContext:
    create_ledger(settings)
    return open_writable(settings)


def collected(settings: Settings) -> Collected:
    context = context_of(settings)
    with open_events(context) as events:
        return collect(context, events, no_progress)


def make(make_settings: MakeSettings, directory: str = "one", **training: Any) -> Settings:
    settings = make_settings(directory, **CONFIG, profile_training={**TRAINING, **training})
    if not Path(settings.paths.lake).exists():
        land(settings.paths.lake)
    return settings


def deployment(make_settings: MakeSettings, tmp_path: Path, directory: str = "one", **training: Any) -> Settings:
    """A lake and a model that knows the replies that can be learned from it."""
    found = collected(make(make_settings, directory, **training))
    made = make_training_updates(found.trained, found.limits, lambda question: question.former, lambda update: True)
    assert made.texts
    lines = [*(text.reply for text in made.texts), '{"clauses": []}', "I do not know."]
    model = tmp_path / "model"
    if not model.exists():
        make_line_model(model, lines)
    return make(make_settings, directory, model=str(model), **training)
