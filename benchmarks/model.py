"""The model stage: ten scenarios per user against Hugging Face, and against the matrix products alone.

One thread, CPU seconds, methods in turns. The models' weights are random; sizes are the demo model's and the paper's.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.model_counts import counts_row
from benchmarks.model_references import (
    TOLERANCE,
    BareProducts,
    Method,
    cached_prefix,
    one_masked_pass,
    one_pass_per_query,
)
from benchmarks.model_setup import QUERIES, QUERY_TOKENS, half_billion_model, make_users, tiny_model
from benchmarks.row import Row, measured
from benchmarks.timing import cpu_seconds, in_turns, ratios, top_operators
from updater.model.batch import Float32, UserBatch
from updater.model.inference import InferenceModel
from updater.model.layers.torch_internals import has_bfloat16
from updater.model.user_model import UserModel

TEN = QUERIES[:10]
SECONDS = 200
"""After which no further round of one prefix begins."""
REFERENCES: dict[str, tuple[Method, str]] = {
    "its DynamicCache, one query after the other": (cached_prefix, ">= 1.8"),
    "all in one pass with a 4-D mask": (one_masked_pass, ">= 1.15"),
}


@dataclass(frozen=True)
class Size:
    """How much is measured of a model."""

    name: str
    model: Callable[[], UserModel]
    prefixes: tuple[int, ...]
    users: int
    """Users of our pack: as many as fill its calls of 512 rows to 93 % or more, as packs of a daily run do."""
    reference_users: int
    """Users of the references, which have no packs: their cost per user does not depend on how many there are."""
    queries_per_round: int
    """Queries of which one pass per query is timed, and counted for all ten: each pass has the same shape."""
    rounds: int
    marginal: tuple[tuple[int, int, int, int], ...]
    """(prefix, users, fewer queries, more queries): the difference fills whole calls."""
    products: bool = False


TINY = Size("demo model", tiny_model, (200, 450, 700), 16, 4, 10, 9, tuple((p, 32, 2, 10) for p in (200, 450, 700)))
HALF_BILLION = Size(
    "0.5B shape", partial(half_billion_model, 24), (200, 450, 700), 4, 1, 1, 3, ((480, 2, 2, 18),), products=True
)
SMOKE = (
    Size("demo model", tiny_model, (200,), 4, 1, 1, 2, ((200, 32, 2, 10),)),
    Size("0.5B shape", partial(half_billion_model, 2), (200,), 2, 1, 1, 1, (), products=True),
)


def rows(smoke: bool) -> Iterator[Row]:
    """Rows of both models, and of the counts."""
    torch.set_num_threads(1)
    for size in SMOKE if smoke else (TINY, HALF_BILLION):
        model = size.model()
        for prefix in size.prefixes:
            with torch.inference_mode():
                yield from _scenarios(size, model, prefix)
        for prefix, num_users, fewer, more in size.marginal:
            with torch.inference_mode():
                yield _marginal(size, model, prefix, num_users, fewer, more)
    with torch.inference_mode():
        yield counts_row(smoke)


def _scenarios(size: Size, model: UserModel, prefix: int) -> Iterator[Row]:
    """Ours, the references and the bare products, in turns; no time counts before its result was compared."""
    ours = _Ours(model, make_users(model, size.users, prefix))
    few = ours.batch.select(range(size.reference_users))
    methods: dict[str, Callable[[], float]] = {"ours": ours.seconds}
    methods["passes"] = _Passes(model, few, ours, size.queries_per_round).seconds
    for name, (method, _) in REFERENCES.items():
        methods[name] = partial(_reference_seconds, name, method, model, few, ours)
    if size.products:
        num_rows = size.users * (prefix + len(TEN) * QUERY_TOKENS)
        methods["products"] = BareProducts(model, num_rows, size.users * len(TEN), torch.float32).seconds
    rounded = _in_bfloat16(ours) if size.products and has_bfloat16() else None
    if rounded:
        methods["rounded"] = rounded.seconds
        methods["rounded products"] = BareProducts(model, num_rows, size.users * len(TEN), torch.bfloat16).seconds
    seconds = in_turns(methods, size.rounds, SECONDS)
    mine = [each / size.users for each in seconds["ours"]]

    @cache
    def where() -> str:
        return top_operators(lambda: ours.inference.embed(few, TEN))

    label = f"{size.name}, prefix {prefix}"
    bound = len(TEN) * (prefix + QUERY_TOKENS) / (prefix + len(TEN) * QUERY_TOKENS)
    speedups = ratios(seconds["passes"], mine)
    yield measured(
        f"{label}: ten scenarios over one pass of Hugging Face per query, as a share of the bound {bound:.2f}",
        [speedup / bound for speedup in speedups],
        ">= 0.95",
        note=f"{min(speedups):.2f} to {max(speedups):.2f} times as fast, {np.median(mine):.4g} CPU seconds per user",
        where=where,
    )
    for name, (_, target) in REFERENCES.items():
        what = f"{label}: ten scenarios over Hugging Face, {name}"
        yield measured(what, ratios(seconds[name], mine), target, note=_at_most(size, seconds, name), where=where)
    if size.products:
        shares = ratios(seconds["products"], seconds["ours"])
        what = f"{label}: time of the bare matrix products over the model stage's, float32"
        yield measured(what, shares, ">= 0.8", where=where)
        yield _bfloat16(label, seconds, ours, rounded)


def _at_most(size: Size, seconds: dict[str, list[float]], name: str) -> str:
    """What the ratio would be if everything but our matrix products took no time."""
    if not size.products:
        return ""
    products = [each / size.users for each in seconds["products"]]
    return f"the bare products alone would give {np.median(ratios(seconds[name], products)):.2f}"


def _in_bfloat16(ours: "_Ours") -> "_Ours":
    """The same with `model.precision` bfloat16."""
    model = copy.copy(ours.model)
    model.config = replace(model.config, precision="bfloat16")
    return _Ours(model, ours.batch)


def _bfloat16(label: str, seconds: dict[str, list[float]], ours: "_Ours", rounded: "_Ours | None") -> Row:
    what, target = f"{label}: time of the bare matrix products over the model stage's, bfloat16", ">= 0.55"
    if rounded is None or rounded.embeddings is None or ours.embeddings is None:
        return Row(what, None, target, note="the processor has no bfloat16 products")
    shares = ratios(seconds["rounded products"], seconds["rounded"])
    faster = float(np.median(ratios(seconds["ours"], seconds["rounded"])))
    loss = float((1 - (ours.embeddings * rounded.embeddings).sum(axis=-1)).max())
    note = f"{faster:.2f} times as fast as float32; cosine with it at least 1 - {loss:.1e}"
    few = ours.batch.select([0])
    return measured(
        what, shares, target, note=note, where=lambda: top_operators(lambda: rounded.inference.embed(few, TEN))
    )


def _marginal(size: Size, model: UserModel, prefix: int, num_users: int, fewer: int, more: int) -> Row:
    """What one more question costs, over what the prefix costs, over its share of tokens."""
    batch, inference = make_users(model, num_users, prefix), InferenceModel(model)

    def run(num_queries: int) -> Any:
        # In one pack, so that only the tokens differ and not how many packs they fall into.
        return inference.embed(batch, QUERIES[:num_queries], tokens_per_pack=1_000_000)

    run(fewer)
    methods = {str(number): partial(cpu_seconds, partial(run, number)) for number in (fewer, more)}
    seconds = in_turns(methods, size.rounds, SECONDS)
    share, found = QUERY_TOKENS / prefix, []
    for few, many in zip(seconds[str(fewer)], seconds[str(more)], strict=True):
        one = (many - few) / (more - fewer)
        found.append(one / (few - fewer * one) / share)
    return measured(
        f"{size.name}, prefix {prefix}: cost of one more scenario over the prefix's, over its share of tokens",
        found,
        "<= 1.2",
        where=lambda: top_operators(lambda: run(fewer)),
    )


class _Ours:
    """`InferenceModel.embed`, timed, and what it gave."""

    def __init__(self, model: UserModel, batch: UserBatch) -> None:
        self.model, self.batch, self.inference = model, batch, InferenceModel(model)
        self.embeddings: Float32 | None = None

    def seconds(self) -> float:
        """CPU seconds of all users."""
        return cpu_seconds(self._run)

    def _run(self) -> None:
        self.embeddings = self.inference.embed(self.batch, TEN)

    def check(self, name: str, found: Float32, queries: slice) -> None:
        """Raise RuntimeError if a reference gave something else."""
        if self.embeddings is None:
            raise RuntimeError("A reference ran before what it is compared with.")
        difference = float(np.abs(found - self.embeddings[: len(found), queries]).max())
        if not difference <= TOLERANCE:
            raise RuntimeError(
                f"Hugging Face, {name}: embeddings differ by {difference:.1e}, so its time says nothing."
            )


class _Passes:
    """One pass per query; each round takes other queries, until all have been compared."""

    def __init__(self, model: UserModel, few: UserBatch, ours: _Ours, num_queries: int) -> None:
        self.model, self.few, self.ours, self.num_queries = model, few, ours, num_queries
        self._next = 0

    def seconds(self) -> float:
        """CPU seconds of all ten queries, per user."""
        chosen = slice(self._next, self._next + self.num_queries)
        self._next = chosen.stop % len(TEN)
        found: list[Float32] = []
        seconds = cpu_seconds(lambda: found.append(one_pass_per_query(self.model, self.few, TEN[chosen])))
        self.ours.check("one pass per query", found[0], chosen)
        return seconds * len(TEN) / self.num_queries / self.few.num_users


def _reference_seconds(name: str, method: Method, model: UserModel, few: UserBatch, ours: _Ours) -> float:
    """CPU seconds per user."""
    found: list[Float32] = []
    seconds = cpu_seconds(lambda: found.append(method(model, few, TEN)))
    ours.check(name, found[0], slice(None))
    return seconds / few.num_users
