"""CPU time per user of all scenario embeddings: packed decoder, Hugging Face with a KV cache, and without one.

    OMP_NUM_THREADS=1 python benchmarks/model.py

The tiny model with random weights, made-up users with 30 days of events in six modalities, eight scenarios; one
thread, CPU time, methods interleaved, medians. All three build the prefixes in the same way and give the same values.
"""

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from updater.model.batch import ModalityBatch, UserBatch
from updater.model.checkpoint import create_model
from updater.model.config import INSTRUCTION, TINY_BACKBONE, ModalityConfig, ModelConfig
from updater.model.sources import load_tokenizer, locate, text_encoder_version
from updater.model.user_model import UserModel

MODALITIES = {"bill": 100, "mini": 60, "spm": 60, "app": 40, "search": 10, "tabular": 1}
QUERIES = [
    "Will this user stop coming to our shops in the next four weeks?",
    "Will this user spend less than half of the usual amount next month?",
    "Is this user likely to fall behind on a payment before the summer?",
    "Will this user order takeaway food for dinner in the next week?",
    "Will this user respond to a campaign of a brand that is new here?",
    "Does this user look for value for money when buying groceries?",
    "Will this user be active on three or more of the next seven days?",
    "Will this user try categories that are new to them in four weeks?",
]
ROUNDS = 5
NUM_USERS = 32


def build_model() -> UserModel:
    """The tiny model with random weights."""
    names = ", ".join(MODALITIES)
    return create_model(
        ModelConfig(
            text_encoder="minilm",
            text_encoder_version=text_encoder_version("minilm"),
            text_dim=384,
            modalities=tuple(ModalityConfig(name=n, num_numeric=1, max_events=cap) for n, cap in MODALITIES.items()),
            backbone="tiny",
            backbone_config={**TINY_BACKBONE, "vocab_size": load_tokenizer(locate("minilm")).get_vocab_size()},
            instruction=INSTRUCTION.format(names=names),
        )
    )


def make_users(config: ModelConfig, num_users: int, num_events: int, seed: int = 0) -> UserBatch:
    """Users with about `num_events` events each, spread over the modalities in proportion to their caps."""
    rng = np.random.default_rng(seed)
    total_cap = sum(m.max_events for m in config.modalities)
    parts = []
    for modality in config.modalities:
        mean = num_events * modality.max_events / total_cap
        counts = np.minimum(rng.poisson(mean, num_users), modality.max_events)
        vectors = rng.standard_normal((counts.sum(), config.vector_dim(modality))).astype(np.float32) / 20
        times = np.sort(1.7e9 + rng.random(counts.sum()) * 30 * 86_400)
        some = counts > 0
        parts.append(
            ModalityBatch(
                mean_BV=some[:, None]
                * rng.standard_normal((num_users, config.vector_dim(modality))).astype(np.float32),
                num_events_B=counts,
                first_event_B=some * 1.7e9,
                last_event_B=some * (1.7e9 + 30 * 86_400),
                num_recent_BR=np.stack([counts // 4, counts], axis=1),
                vectors_NV=vectors,
                times_N=times,
                offsets_B1=np.concatenate(([0], np.cumsum(counts))),
            )
        )
    return UserBatch(tuple(parts))


def one_pass_per_query(model: UserModel, batch: UserBatch) -> np.ndarray:
    """Hugging Face without any reuse."""
    states = []
    for prefix, suffixes in _inputs(model, batch):
        for suffix in suffixes:
            rows = torch.cat((prefix, suffix))[None]
            states.append(model.backbone.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state[0, -1])
    return _embeddings(model, states, batch)


def cached_sequential(model: UserModel, batch: UserBatch) -> np.ndarray:
    """Hugging Face with the prefix in a DynamicCache, one query after the other."""
    states = []
    for prefix, suffixes in _inputs(model, batch):
        cache = DynamicCache()
        model.backbone.base_model(inputs_embeds=prefix[None], past_key_values=cache, use_cache=True)
        for suffix in suffixes:
            output = model.backbone.base_model(inputs_embeds=suffix[None], past_key_values=cache, use_cache=True)
            states.append(output.last_hidden_state[0, -1])
            cache.crop(-len(suffix))
    return _embeddings(model, states, batch)


def _inputs(model: UserModel, batch: UserBatch) -> Any:
    suffixes, lengths = model._suffixes(QUERIES, ())
    packed = model.prefix(batch, model._embed_ids(model._instruction), suffixes)
    start = 0
    for length in packed.prefix_lengths_B.tolist():
        yield packed.rows_TD[start : start + length], suffixes.split(lengths)
        start += length + len(suffixes)


def _embeddings(model: UserModel, states: list[torch.Tensor], batch: UserBatch) -> np.ndarray:
    return model.head(torch.stack(states)).view(batch.num_users, len(QUERIES), -1).numpy()


METHODS: dict[str, Callable[[UserModel, UserBatch], np.ndarray]] = {
    "packed": lambda model, batch: model.embed(batch, QUERIES),
    "Hugging Face, KV cache, one query after the other": cached_sequential,
    "Hugging Face, one pass per query": one_pass_per_query,
}


@torch.inference_mode()
def measure(num_users: int = NUM_USERS, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row per prefix length and method: CPU milliseconds and users per second of one thread."""
    torch.set_num_threads(1)
    model = build_model()
    rows = []
    for num_events in (25, 85, 215):
        batch = make_users(model.config, num_users, num_events)
        results = {name: method(model, batch) for name, method in METHODS.items()}
        difference = max(float(np.abs(result - results["packed"]).max()) for result in results.values())
        seconds: dict[str, list[float]] = {name: [] for name in METHODS}
        for _ in range(rounds):
            for name, method in METHODS.items():
                start = process_time()
                method(model, batch)
                seconds[name].append((process_time() - start) / num_users)
        slowest = median(seconds["Hugging Face, one pass per query"])
        for name, times in seconds.items():
            rows.append(
                {
                    "prefix_tokens": round(float(model.prefix_lengths(batch).mean())),
                    "query_tokens": len(model._suffixes(QUERIES, ())[0]),
                    "method": name,
                    "ms_per_user": 1e3 * median(times),
                    "users_per_second": 1 / median(times),
                    "speedup": slowest / median(times),
                    "max_difference": difference,
                }
            )
    return rows


def main() -> None:
    print(f"{'prefix':>6} {'query':>6}  {'method':<50} {'ms/user':>8} {'users/s':>8} {'speedup':>8} {'max diff':>9}")
    for row in measure():
        print(
            f"{row['prefix_tokens']:>6} {row['query_tokens']:>6}  {row['method']:<50} {row['ms_per_user']:>8.2f} "
            f"{row['users_per_second']:>8.0f} {row['speedup']:>7.1f}x {row['max_difference']:>9.1e}"
        )


if __name__ == "__main__":
    main()
