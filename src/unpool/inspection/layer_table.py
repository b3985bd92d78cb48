"""The table of a network: output, cost and receptive field of each layer, as in the lecture's table of VGG-16.

Activations are counted where a layer makes values that have to be kept: a layer that maps single values (an activation,
a dropout, a flattening) can work in place and counts none. Weights are without biases and without the scales of norms;
`params` has both.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from torch import nn

from unpool.inspection.field import Field
from unpool.inspection.field_by_formula import seen
from unpool.inspection.traced import Traced, trace
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


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The rows of a network in the order of the forward pass, and their sums.

    Attributes:
        params: of the whole network, also those that this input did not use.
        trainable: those of them that training changes.
        unused: parameters that no operation used for this input.
        no_field: why the receptive field ends somewhere; None where every layer has one.
    """

    network: str
    input: tuple[int, ...]
    rows: tuple[Row, ...]
    params: int
    trainable: int
    weights: int
    unused: int
    no_field: str | None

    @property
    def activations(self) -> int:
        """Values kept for one image, the image included."""
        return sum(row.activations for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(row.macs for row in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`: the fields of this class with its sums, and a list of rows."""
        values = {**asdict(self), "activations": self.activations, "macs": self.macs}
        for i, row in enumerate(self.rows):
            values["rows"][i]["memory_mib"] = row.memory_mib
        return values | {"rows": list(values["rows"])}

    def to_text(self) -> str:
        """The table, one row a layer, then the sums; no line is wider than its content."""
        lines = _aligned([HEADINGS, *map(_cells, self.rows)])
        rule = "-" * max(map(len, lines))
        return "\n".join([f"{self.network} on {_shape(self.input)}", *lines[:1], rule, *lines[1:], rule, *self._sums()])

    def _sums(self) -> list[str]:
        kept, stored = self.activations * BYTES / MIB, self.params * BYTES / MIB
        sums = [
            f"{self.activations:,} activations ({kept:,.1f} MiB an image in float32, forward)",
            f"{self.params:,} parameters ({stored:,.1f} MiB), {self.weights:,} without biases and scales",
            f"{self.macs:,} multiply-adds ({self.macs / 1e9:,.2f} G)",
        ]
        if self.trainable != self.params:
            sums.append(f"{self.trainable:,} of the parameters are trained")
        if self.unused:
            sums.append(f"{self.unused:,} of the parameters were not used for this input")
        if self.no_field:
            sums.append(f"'?': no receptive field by formula: {self.no_field}")
        return sums


HEADINGS = ("name", "layer", "output", "activations", "weights", "params", "MACs", "field", "stride")
LEFT = 3  # columns of text; the others are numbers


def summary(model: nn.Module, input_shape: Sequence[int]) -> Summary:
    """Lists output, memory, parameters, multiply-adds and receptive field of each layer, for one image.

    Nothing is computed where the network allows it: shapes only, so a large one takes a second and no memory.

    Args:
        model: any network of one image, on any device; it is not changed.
        input_shape: (C, H, W) of one image, without the batch.

    Raises:
        ValueError: the network takes more than one image, or `input_shape` is no shape of one.
        ValueError, RuntimeError: the network's errors for such an input.

    Example:
        >>> found = summary(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (3, 32, 32))
        >>> found.params, found.macs, found.rows[1].field_size
        (224, 221184, (3, 3))
    """
    traced = trace(model, input_shape)
    shape = tuple(input_shape)
    reasons = [field for field in traced.fields if isinstance(field, str)]
    params = list(model.parameters())
    return Summary(
        network=type(model).__name__,
        input=shape,
        rows=(_input_row(shape), *_rows(traced)),
        params=sum(p.numel() for p in params),
        trainable=sum(p.numel() for p in params if p.requires_grad),
        weights=sum(p.numel() for p in params if p.ndim > 1),
        unused=traced.unused,
        no_field=reasons[0] if reasons else None,
    )


def _input_row(shape: tuple[int, ...]) -> Row:
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


def _rows(traced: Traced) -> list[Row]:
    """Layers, and the modules with layers inside that have parameters or multiply-adds of their own."""
    return [
        _row(call, macs=macs, field=field, stores=stores)
        for call, macs, field, stores in zip(traced.calls, traced.macs, traced.fields, traced.stores, strict=True)
        if call.is_leaf or call.params or macs
    ]


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


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.activations, row.weights, row.params, row.macs)
    field = "?" if row.field_size is None else _per_axis(row.field_size)
    stride = "?" if row.field_stride is None else _per_axis(row.field_stride)
    return (
        row.name,
        row.layer,
        _shape(row.output),
        *(f"{count:,}" if count else "-" for count in counts),
        field,
        stride,
    )


def _per_axis(values: Sequence[float]) -> str:
    return "x".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1])) or "-"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
