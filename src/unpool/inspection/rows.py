"""The rows of a network's table: what each layer gives, holds, costs and sees.

Activations are counted where a layer makes values that have to be kept: a layer that maps single values (an activation,
a dropout, a flattening) can work in place and counts none. Weights are without biases and without the scales of norms;
`params` has both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from torch import nn

from unpool.inspection.field import Field
from unpool.inspection.field_by_formula import seen
from unpool.inspection.traced import Traced
from unpool.tracing.recorder import Call

MIB = 1024**2
BYTES = 4  # of a value in float32


@dataclass(frozen=True, kw_only=True)
class Row:
    """One call of one layer; row 0 is the input.

    Attributes:
        name: dotted path inside the network.
        layer: in the words of the paper's table, "CONV3-64".
        kind: class of the module.
        output: shape of its first output without the batch.
        activations: values it makes for one image, 0 where it works in place.
        weights, params: its own, without and with biases and scales; 0 where an earlier row counted them.
        macs: multiply-adds for one image, see `cost`.
        field_size: input pixels seen, by axis (height, width); None where there is no formula.
        field_stride: input pixels between neighbours, by axis.
    """

    name: str
    layer: str
    kind: str
    output: tuple[int, ...]
    activations: int
    weights: int
    params: int
    macs: int
    field_size: tuple[int, ...] | None
    field_stride: tuple[float, ...] | None

    @property
    def memory_mib(self) -> float:
        """Of its activations for one image in float32."""
        return self.activations * BYTES / MIB


def input_row(shape: tuple[int, ...]) -> Row:
    """Makes the row of an input, without the batch."""
    one = tuple(1 for _ in shape[1:])
    return Row(
        name="",
        layer="INPUT",
        kind="Input",
        output=shape,
        activations=prod(shape),
        weights=0,
        params=0,
        macs=0,
        field_size=one,
        field_stride=one,
    )


def layer_rows(traced: Traced) -> list[Row]:
    """Layers, and the modules with layers inside that have parameters or multiply-adds of their own."""
    return [
        _row(call, macs=macs, field=field, stores=stores)
        for call, macs, field, stores in zip(traced.calls, traced.macs, traced.fields, traced.stores, strict=True)
        if call.is_leaf or call.params or macs
    ]


def part_rows(traced: Traced) -> dict[str, Row]:
    """The last call of each module with modules inside, as a row without counts, by name."""
    return {
        call.name: _row(call, macs=0, field=field, stores=False)
        for call, field in zip(traced.calls, traced.fields, strict=True)
        if not call.is_leaf
    }


def _row(call: Call, *, macs: int, field: Field | str, stores: bool) -> Row:
    output = call.outputs[0][1:] if call.outputs else ()
    sees = None if isinstance(field, str) else seen(field)
    return Row(
        name=call.name,
        layer=_layer(call),
        kind=call.kind,
        output=output,
        activations=sum(prod(shape[1:]) for shape in call.outputs[:1]) if stores and call.is_leaf else 0,
        weights=call.weights,
        params=call.params,
        macs=macs,
        field_size=sees.size if sees else None,
        field_stride=sees.stride if sees else None,
    )


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)


def _layer(call: Call) -> str:
    module = call.module
    if isinstance(module, CONVOLUTIONS):
        return f"CONV{_side(module.kernel_size)}-{module.out_channels}"
    if isinstance(module, TRANSPOSED):
        return f"DECONV{_side(module.kernel_size)}-{module.out_channels}"
    if isinstance(module, POOLS):
        return f"POOL{_side(module.kernel_size)}"
    if isinstance(module, nn.Linear):
        return f"FC-{module.out_features}"
    return call.kind


def _side(kernel: int | tuple[int, ...]) -> str:
    sides = {kernel} if isinstance(kernel, int) else set(kernel)
    return (
        str(sides.pop()) if len(sides) == 1 else "x".join(map(str, kernel if isinstance(kernel, tuple) else (kernel,)))
    )


def joined_row(name: str, rows: Sequence[Row], part: Row | None) -> Row:
    """One row for several, which follow one another: their sums, and what the module around them gives.

    Args:
        name: of the row.
        rows: of the layers.
        part: that of the module around them; None where no module ran as a whole, so that the last layer stands for it.
    """
    if len(rows) == 1:
        return rows[0]
    sums = {key: sum(getattr(row, key) for row in rows) for key in ("activations", "weights", "params", "macs")}
    return replace(part or rows[-1], name=name, layer=f"{len(rows)} layers", kind="", **sums)
