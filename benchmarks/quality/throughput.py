"""Pre-training's speed against the machine's: `python -m benchmarks.quality throughput`.

The matrix products and attentions of whole optimizer steps are recorded and run again bare, on the same shapes and in
turns with the steps. What lies between the two is layout, activations, the optimizer and Python.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from updater.model.checkpoint import create_model
from updater.model.config import create_config
from updater.runtime.deployment import Context
from updater.training.build import data_root
from updater.training.distributed import Rank
from updater.training.pairs import PairTable, read_pairs, users_of_step
from updater.training.pretrain import make_optimizer, step_losses
from updater.training.towers import Towers
from updater.training.train import read_all, standardized
from updater.training.useru.dataset import read_split

PRODUCTS = ("mm", "addmm", "bmm")
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"
REPEATS = 5

Call = Callable[[], Any]


class Recorder(TorchDispatchMode):
    """Keeps every product and attention that runs, with its operands."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[Call] = []
        self.attentions: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            self.products.append(_bare(func, args, kwargs or {}))
        elif name.startswith(ATTENTION):
            self.attentions.append(_bare(func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def _bare(func: Any, args: Any, kwargs: Any) -> Call:
    # A parameter changes with every step, its shape does not.
    kept = [arg.detach() if isinstance(arg, torch.Tensor) else arg for arg in args]
    return lambda: func(*kept, **kwargs)


def measure(context: Context) -> dict[str, float]:
    """Seconds of a step in one process and what share of it its bare products, and with attention, would take.

    Returns:
        `samples_per_second` (question-answer pairs), `seconds_per_step`, `products` and `products_and_attention` as
        shares of the step, each the median over interleaved repeats.
    """
    settings = context.settings
    options = settings.training
    options = dataclasses.replace(options, users_per_step=options.users_per_step // options.processes, processes=1)
    torch.set_num_threads(1)
    rows = read_split(data_root(settings), "train")
    anchor = max(rows["anchor_day"].to_pylist())
    rows = rows.filter([day == anchor for day in rows["anchor_day"].to_pylist()])
    profiles = read_all(context, [anchor])
    model = create_model(standardized(create_config(settings), list(profiles.values())))
    table = read_pairs(rows, profiles, model, options, set())
    towers = Towers(model, table.vocabulary)
    optimizer = make_optimizer(towers, options)

    def step(number: int) -> None:
        _step(towers, optimizer, table, options, number)

    step(0)
    found: dict[str, list[float]] = {"step": [], "products": [], "attentions": []}
    for repeat in range(1, REPEATS + 1):
        with Recorder() as recorder:
            step(repeat)
        found["step"].append(_seconds([lambda number=repeat: step(number)]))
        found["products"].append(_seconds(recorder.products))
        found["attentions"].append(_seconds(recorder.attentions))
    whole, products, attentions = (statistics.median(found[name]) for name in ("step", "products", "attentions"))
    return {
        "samples_per_second": options.users_per_step * options.pairs_per_user / whole,
        "seconds_per_step": whole,
        "products": products / whole,
        "products_and_attention": (products + attentions) / whole,
    }


def _step(towers: Towers, optimizer: torch.optim.Optimizer, table: PairTable, options: Any, number: int) -> None:
    rows = users_of_step(table, options, number)
    loss, _ = step_losses(towers, table, rows, options, number, Rank())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _seconds(calls: list[Call]) -> float:
    begin = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - begin
