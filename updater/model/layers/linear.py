"""Linear layers for serving, issued with a fixed number of rows, so that a row's bits depend on that row alone.

A matrix product picks its kernel, and with it the order of additions, by its shape. With one shape for every call a
row's result is a function of the row and the weights, whatever shares the call with it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from updater.model.layers.torch_internals import (
    has_bfloat16,
    has_packed_products,
    pack_weight,
    packed_product,
    with_children,
)


class PackedLinear(nn.Module):
    """`x @ weight.T + bias` without autograd, with the weight stored in the layout that the CPU kernel wants.

    Rows are rounded to `dtype` first, which is that of the result too; sums are float32. oneDNN uses AVX-512 on every
    CPU that has it; MKL, the default, does not on AMD (2.3 times slower there).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        weight, bias = weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
        self.bias = bias
        self.dtype = dtype
        self.packed = _has_onednn(weight)
        self.weight = pack_weight(weight, rows) if self.packed else weight

    def forward(self, x: Tensor) -> Tensor:
        """Rows (…, in) to (…, out)."""
        x = x.to(self.dtype)
        if self.packed:
            return packed_product(x, self.weight, self.bias)
        return nn.functional.linear(x, self.weight, self.bias)


def _has_onednn(weight: Tensor) -> bool:
    return (
        has_packed_products()
        and weight.device.type == "cpu"
        and (weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and has_bfloat16()))
    )


def pack_linears(module: nn.Module, rows: int) -> nn.Module:
    """A copy of `module` for inference in which every nn.Linear is a PackedLinear for calls of `rows` rows."""
    if isinstance(module, nn.Linear):
        return PackedLinear(module.weight, module.bias, rows)
    return with_children(module, lambda child: pack_linears(child, rows))


def in_chunks(layer: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """`layer` over (N, in) in calls of exactly `rows` rows; zeros fill the last one. Returns (N, out)."""
    num_rows = x.shape[0]
    # An empty x still takes one call, which gives the width of the result.
    num_calls = max(-(-num_rows // rows), 1)
    if short := num_calls * rows - num_rows:
        x = torch.cat((x, x.new_zeros(short, x.shape[1])))
    return torch.cat([layer(chunk) for chunk in torch.split(x, rows)])[:num_rows]
