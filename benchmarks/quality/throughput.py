"""Training's speed against the machine's: `python -m benchmarks.quality throughput`.

The matrix products and attentions of whole optimizer steps are recorded and run again bare, on the same shapes and in
turns with the steps. What lies between the two is layout, activations, the optimizer and Python.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from updater.domain.declared.training import Training
from updater.model.config import create_config
from updater.runtime.deployment import Context
from updater.training.build import plan_build
from updater.training.dense.labels.table import DenseTable, read_table
from updater.training.dense.layers import begin_layers
from updater.training.dense.steps import make_step
from updater.training.dense.task import DenseTask
from updater.training.dense.train import fitted_to
from updater.training.fitting import standardized
from updater.training.profiles import read_all
from updater.training.steps.distributed import Rank
from updater.training.steps.schedule import make_optimizer

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
    """Seconds of a step with layers, and what share of it its bare products, and with attention, would take.

    Returns:
        `samples_per_second` (a user under a question), `seconds_per_step`, `products` and `products_and_attention` as
        shares of the step, each the median over interleaved repeats.
    """
    settings = context.settings
    options = settings.training
    options = dataclasses.replace(options, processes=1)
    torch.set_num_threads(1)
    trained = plan_build(settings).trained(options.future_days)[-1:]
    table = read_table(context, trained[0] + timedelta(days=options.future_days), read_all(context, trained), trained)
    model = fitted_to(standardized(create_config(settings), table.trained_profiles()), table)
    task = DenseTask(model, table, options.seed)
    begin_layers(model, options)
    optimizer = make_optimizer(task, options)

    def step(number: int) -> None:
        _step(task, optimizer, table, options, number)

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
        "samples_per_second": options.layers_users_per_step * options.questions_per_step / whole,
        "seconds_per_step": whole,
        "products": products / whole,
        "products_and_attention": (products + attentions) / whole,
    }


def _step(task: DenseTask, optimizer: torch.optim.Optimizer, table: DenseTable, options: Training, number: int) -> None:
    made = make_step(table, options, options.layers_users_per_step, 1, number, Rank())
    answers, others, known = task(made, True)
    optimizer.zero_grad(set_to_none=True)
    ((answers + others) / known).backward()
    optimizer.step()


def _seconds(calls: list[Call]) -> float:
    begin = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - begin
