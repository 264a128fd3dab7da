"""Other ways to the same embeddings, all by plain transformers, and the matrix products that no way can do without.

Each builds the prefix by the same adapters and reads off the same head. All are compared with `UserModel.embed` before
their times count.
"""

from collections.abc import Callable, Iterator, Sequence
from time import process_time

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import DynamicCache

from updater.model.batch import Float32, UserBatch
from updater.model.layers.decoder import ROWS
from updater.model.layers.linear import PackedLinear
from updater.model.user_model import UserModel

Method = Callable[[UserModel, UserBatch, Sequence[str]], Float32]
Product = Callable[[Tensor], object]
TOLERANCE = 1e-4
"""Largest difference to what is timed."""
TRIAL_ROWS = 2 * ROWS
"""With which the layouts of weights are compared."""


def one_pass_per_query(model: UserModel, batch: UserBatch, queries: Sequence[str]) -> Float32:
    """Hugging Face without any reuse."""
    states: list[Tensor] = []
    for prefix_PD, suffixes in _inputs(model, batch, queries):
        for suffix in suffixes:
            rows = torch.cat((prefix_PD, suffix))[None]
            states.append(model.backbone.base_model(inputs_embeds=rows, use_cache=False).last_hidden_state[0, -1])
    return _embeddings(model, states, batch)


def cached_prefix(model: UserModel, batch: UserBatch, queries: Sequence[str]) -> Float32:
    """Hugging Face with the prefix in a DynamicCache, one query after the other."""
    states: list[Tensor] = []
    for prefix_PD, suffixes in _inputs(model, batch, queries):
        cache = DynamicCache()
        model.backbone.base_model(inputs_embeds=prefix_PD[None], past_key_values=cache, use_cache=True)
        for suffix in suffixes:
            output = model.backbone.base_model(inputs_embeds=suffix[None], past_key_values=cache, use_cache=True)
            states.append(output.last_hidden_state[0, -1])
            # A negative count removes that many; without it the next query would see this one.
            cache.crop(-len(suffix))
    return _embeddings(model, states, batch)


def one_masked_pass(model: UserModel, batch: UserBatch, queries: Sequence[str]) -> Float32:
    """Hugging Face, prefix and all queries in one pass with a 4-D mask: what training does."""
    embeddings: Float32 = model(batch, queries).numpy()
    return embeddings


def _inputs(model: UserModel, batch: UserBatch, queries: Sequence[str]) -> Iterator[tuple[Tensor, Sequence[Tensor]]]:
    """Per user the prefix and the suffixes."""
    users = model.layout.users(batch)
    ends_BSD, packed, words = model.ends(users, queries), model.prefix_rows(batch), model.words(queries, ())
    prefixes = torch.split(packed.rows_TD, packed.prefix_lengths_B.tolist())
    for prefix_PD, ends_SD in zip(prefixes, ends_BSD, strict=True):
        yield prefix_PD, [torch.cat((rows, end[None])) for rows, end in zip(words, ends_SD, strict=True)]


def _embeddings(model: UserModel, states: list[Tensor], batch: UserBatch) -> Float32:
    return np.asarray(model.head(torch.stack(states)).view(batch.num_users, -1, model.config.embedding_dim))


class BareProducts:
    """Time of the matrix products alone that a pack of users and questions needs, without padding.

    Products of a few layers are timed and counted for all of them. Weights lie in whichever of the layouts and calls
    that torch offers is the fastest at these shapes on this machine, so that the limit is as hard as can be.
    """

    def __init__(self, model: UserModel, num_rows: int, num_read: int, dtype: torch.dtype, num_layers: int = 4) -> None:
        layers = model.backbone.model.layers
        self._times = len(layers) - 1
        self._num_layers = min(num_layers, self._times)
        self._x = {}
        weights = [_weights(layer) for layer in layers[: self._num_layers]]
        for width in {weight.shape[1] for weight in weights[0]}:
            self._x[width] = torch.randn(num_rows, width, dtype=dtype)
        make = min((_whole, _in_calls, _packed), key=lambda make: self._trial(make, weights[0], dtype))
        self._products = [(weight.shape[1], make(weight.to(dtype))) for each in weights for weight in each]
        # Of the last layer only keys and values are needed of every row.
        qkv, *rest = _weights(layers[-1])
        width, num_q = qkv.shape[1], layers[-1].self_attn.q_proj.out_features
        self._last_kv = make(qkv[num_q:].to(dtype))
        self._last = [(weight.shape[1], make(weight.to(dtype))) for weight in (qkv[:num_q], *rest)]
        self._width, self._num_read = width, num_read

    def seconds(self) -> float:
        """CPU seconds of all layers."""
        start = process_time()
        for width, product in self._products:
            product(self._x[width])
        middle = process_time()
        self._last_kv(self._x[self._width])
        for width, product in self._last:
            product(self._x[width][: self._num_read])
        return (middle - start) / self._num_layers * self._times + process_time() - middle

    def _trial(self, make: Callable[[Tensor], Product], weights: list[Tensor], dtype: torch.dtype) -> float:
        products = [(weight.shape[1], make(weight.to(dtype))) for weight in weights]
        best = float("inf")
        for _ in range(2):
            start = process_time()
            for width, product in products:
                product(self._x[width][:TRIAL_ROWS])
            best = min(best, process_time() - start)
        return best


def _weights(layer: torch.nn.Module) -> list[Tensor]:
    """A layer's four matrices: query, key and value; output; gate and up; down."""
    attention, mlp = layer.self_attn, layer.mlp
    groups = (
        (attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj,),
        (mlp.gate_proj, mlp.up_proj),
        (mlp.down_proj,),
    )
    return [torch.cat([each.weight.detach() for each in group]) for group in groups]


def _whole(weight: Tensor) -> Product:
    return lambda x: linear(x, weight)


def _packed(weight: Tensor) -> Product:
    return PackedLinear(weight, None, 8192, weight.dtype)


def _in_calls(weight: Tensor) -> Product:
    packed = PackedLinear(weight, None, ROWS, weight.dtype)
    return lambda x: [packed(part) for part in x.split(ROWS)]
