"""All that this project uses of torch and that torch does not offer as public.

`tests/unit/test_internals.py` fails when one of these functions changes, and names the versions that are permitted.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def has_packed_products() -> bool:
    """True if this build of torch has oneDNN's products with a weight in the kernel's own layout."""
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def pack_weight(weight: Tensor, rows: int) -> Tensor:
    """A weight (out, in) in the layout that products of `rows` rows want."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return packed


def packed_product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """Rows (…, in) times a packed weight, plus `bias`: (…, out)."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return y


def has_bfloat16() -> bool:
    """True if the processor multiplies bfloat16 in hardware (AMX or AVX-512)."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def with_children(module: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy of `module` with its own children changed. It shares all parameters that `change` leaves alone."""
    clone = copy.copy(module)
    children = module._modules.items()
    clone._modules = {name: None if child is None else change(child) for name, child in children}
    return clone
