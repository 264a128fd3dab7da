"""Several processes that train one model: who I am, work that is dealt out, and embeddings of everybody."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Job = TypeVar("Job")
Done = TypeVar("Done")

LONGEST_WAIT = timedelta(minutes=10)
"""How long a process waits for the others before it takes them for dead."""


@dataclass(frozen=True)
class Rank:
    """This process among those that train together."""

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the one that writes files and shows progress."""
        return self.index == 0

    def share(self, total: int) -> slice:
        """This process's part of `total` users, which `count` divides."""
        size = total // self.count
        return slice(self.index * size, (self.index + 1) * size)


def this_rank() -> Rank:
    """From the environment that `accelerate launch` or `torchrun` sets; alone without it."""
    return Rank(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def process_group(rank: Rank) -> Iterator[None]:
    """The processes that train together can talk to each other for the length of a `with` block, and of one in it."""
    if rank.count == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def wait_for_all(rank: Rank) -> None:
    """Go on when every process has come here."""
    if rank.count > 1:
        dist.barrier()


def deal_out(work: Callable[[Job], Done], jobs: Sequence[Job], rank: Rank) -> Iterator[Done]:
    """`work` of each job, in order and in every process: each process does its share and tells the others.

    They wait for each other after each round of a job for each, so that nobody holds more than a round's results twice.
    """
    for start in range(0, len(jobs), rank.count):
        mine = [work(job) for job in jobs[start : start + rank.count][rank.index : rank.index + 1]]
        told: list[list[Done]] = [mine] * rank.count
        if rank.count > 1:
            dist.all_gather_object(told, mine)
        for of_one in told:
            yield from of_one


def average_gradients(parameters: Iterable[nn.Parameter], rank: Rank) -> None:
    """Give every process the mean of all gradients, as if one had computed them from all users."""
    if rank.count == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= rank.count
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gather_rows(rows_ND: Tensor, rank: Rank) -> Tensor:
    """The rows of all processes, in their order, with gradients that flow back to where they came from."""
    if rank.count == 1:
        return rows_ND
    gathered: Tensor = _Gather.apply(rows_ND, rank)  # type: ignore[no-untyped-call]
    return gathered


def gather_numbers(numbers_N: Tensor, rank: Rank) -> Tensor:
    """The same without gradients."""
    if rank.count == 1:
        return numbers_N
    parts = [torch.empty_like(numbers_N) for _ in range(rank.count)]
    dist.all_gather(parts, numbers_N.contiguous())
    return torch.cat(parts)


def sum_over_ranks(value: float, rank: Rank) -> float:
    """The sum of every process's `value`."""
    if rank.count == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total)


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum of every process's gradient of these rows."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, rank: Rank) -> Tensor:
        ctx.rank, ctx.size = rank, len(rows_ND)
        return gather_numbers(rows_ND.detach(), rank)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total[ctx.rank.index * ctx.size : (ctx.rank.index + 1) * ctx.size], None
