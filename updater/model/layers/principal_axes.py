"""The directions in which rows vary most."""

import torch
from torch import Tensor


def principal_axes(centred_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` principal axes of rows without their mean, at most D of them.

    Returns:
        Sums of squares along each, shape (count,), falling, and the axes as columns, shape (D, count). An axis's sign
        is arbitrary and is fixed by its largest entry.
    """
    # Ascending eigenvalues.
    squares, axes = torch.linalg.eigh(centred_ND.T @ centred_ND)
    squares, axes = squares.flip(0)[:count], axes.flip(1)[:, :count]
    return squares, axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
