"""Several processes that train one model: who I am, and embeddings of everybody."""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


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
