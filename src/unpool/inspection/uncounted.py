"""Names what the count of `cost` leaves out: products of two feature maps, and operations that nobody has a rule for.

Published counts are without the first, which attention is made of; torch's FLOP counter has them. An operation is free
where it works value by value, or moves, selects, sums, pools, resizes or normalises values. Whatever else makes numbers
of numbers is named, so that nothing is counted as 0 in silence.
"""

from typing import Any, NamedTuple

from torch import Tensor

from unpool.inspection.field_rules import RULES
from unpool.inspection.operations import PRODUCTS, SHAPE_ONLY, VIEWS, is_pointwise, name_of
from unpool.tracing.recorder import tensors_of

ATTENTION = "aten._scaled_dot_product_"  # of query, key, value (..., L, E), (..., S, E), (..., S, F)
# move, select, sort or sum values, or give numbers that do not depend on any
FREE = {
    f"aten.{name}"
    for names in (
        ("as_strided", "as_strided_", "diagonal", "im2col", "col2im", "unfold", "roll", "rot90", "tril", "triu"),
        ("embedding", "gather", "index", "index_put", "index_put_", "masked_select", "scatter", "scatter_"),
        ("scatter_add", "slice_scatter", "select_scatter", "sort", "topk", "median", "cumsum", "prod", "logsumexp"),
        ("linalg_vector_norm", "norm", "bernoulli_", "fill_", "normal_", "uniform_", "zero_", "native_dropout"),
        ("upsample_nearest1d", "upsample_linear1d", "upsample_nearest3d", "upsample_trilinear3d"),
        ("grid_sampler_2d", "grid_sampler_3d", "adaptive_max_pool3d", "_adaptive_avg_pool3d"),
        ("reflection_pad1d", "reflection_pad3d", "replication_pad1d", "replication_pad3d"),
    )
    for name in names
} | {"torchvision.nms", "torchvision.roi_align", "torchvision.roi_pool"}


class Uncounted(NamedTuple):
    """An operation that the count of multiply-adds leaves out.

    Attributes:
        operation: its name in torch, such as "aten.bmm".
        calls: how often it ran.
        macs: its multiply-adds for one image; None where there is no rule for it.
    """

    operation: str
    calls: int
    macs: int | None

    def joined(self, other: "Uncounted | None") -> "Uncounted":
        """Adds the calls of the same operation."""
        if other is None:
            return self
        macs = None if self.macs is None or other.macs is None else self.macs + other.macs
        return Uncounted(self.operation, self.calls + other.calls, macs)


def uncounted_of(func: Any, args: tuple[Any, ...], output: Any) -> Uncounted | None:
    """Returns what an operation to which `multiply_adds` gives 0 computes all the same; None where it is free.

    Args:
        func: the operation.
        args: its arguments.
        output: its result.
    """
    name = name_of(func)
    if name in PRODUCTS:
        first = args[PRODUCTS[name][0]]
        return Uncounted(name, 1, output.numel() * first.shape[-1])
    if name.startswith(ATTENTION):
        query, key, value = args[:3]
        return Uncounted(name, 1, query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1]))
    if name in FREE or name in RULES or name in VIEWS or name in SHAPE_ONLY or is_pointwise(func):
        return None
    return Uncounted(name, 1, None) if _has_numbers(args) and _has_numbers(output) else None


def _has_numbers(values: Any) -> bool:
    return any(isinstance(one, Tensor) and one.is_floating_point() and one.numel() for one in tensors_of(values))
