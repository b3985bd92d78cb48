"""The table of a network: output, cost and receptive field of each layer, as in the lecture's table of VGG-16.

Activations are counted where a layer makes values that have to be kept: a layer that maps single values (an activation,
a dropout, a flattening) can work in place and counts none. Weights are without biases and without the scales of norms;
`params` has both.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from math import prod
from typing import Any

from torch import nn

from unpool.inspection.field import Field
from unpool.inspection.field_by_formula import seen
from unpool.inspection.shapes import without_drawing
from unpool.inspection.table_text import shape_text, text_of
from unpool.inspection.traced import Traced, trace
from unpool.models import build, row_of
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


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary:
    """The rows of a network in the order of the forward pass, and their sums.

    Attributes:
        network: its name, or the class of the module.
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

    def to_text(self, width: int | None = None) -> str:
        """The table, one row a layer, then the sums.

        Args:
            width: characters that a line has; where they are too few, counts are shortened, then columns left out and
                named, then names cut. None prints all.
        """
        lines, lacks = text_of(self.rows, width)
        rule = "-" * max(map(len, lines))
        parts = [f"{self.network} on {shape_text(self.input)}", lines[0], rule, *lines[1:], rule, *self._sums()]
        left_out = [f"left out to fit {width} columns: {', '.join(lacks)}"] if lacks else []
        return "\n".join(parts + left_out)

    def at_depth(self, depth: int) -> "Summary":
        """The same with one row for all layers whose names agree in their first `depth` parts.

        Counts are summed; output, field and stride are those of the last of these layers.

        Raises:
            ValueError: depth is below 1.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}; it must be at least 1")
        groups = groupby(self.rows, lambda row: row.name.split(".")[:depth])
        return replace(self, rows=tuple(_joined(".".join(name), list(rows)) for name, rows in groups))

    def __str__(self) -> str:
        return self.to_text(shutil.get_terminal_size((0, 0)).columns or None)

    __repr__ = __str__

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


def summary(model: nn.Module | str, input_shape: Sequence[int] | None = None) -> Summary:
    """Lists output, memory, parameters, multiply-adds and receptive field of each layer, for one image.

    Nothing is computed where the network allows it: shapes only, so a large one takes a second and no memory.

    Args:
        model: any network of one image, on any device, which is not changed; or the name of one that `unpool models`
            lists.
        input_shape: (C, H, W) of one image, without the batch; None for that of a network by name.

    Raises:
        RecipeError: no network has this name.
        ValueError: the network takes more than one image, or `input_shape` is missing or no shape of one.
        ValueError, RuntimeError: the network's errors for such an input.

    Example:
        >>> found = summary(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (3, 32, 32))
        >>> found.params, found.macs, found.rows[1].field_size
        (224, 221184, (3, 3))
        >>> print(summary("lenet5_28").at_depth(1).to_text().splitlines()[0])
        lenet5_28 on 1x28x28
    """
    if isinstance(model, str):
        row = row_of(model)
        with without_drawing():  # shapes only: even the largest network needs no memory
            network = build(model)
        return replace(summary(network, input_shape or row.input), network=model)
    if input_shape is None:
        raise ValueError("a module does not say the size of its images: give input_shape, such as (3, 224, 224)")
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


def _joined(name: str, rows: Sequence[Row]) -> Row:
    """One row for several, which follow one another."""
    if len(rows) == 1:
        return rows[0]
    sums = {key: sum(getattr(row, key) for row in rows) for key in ("activations", "weights", "params", "macs")}
    return replace(rows[-1], name=name, layer=f"{len(rows)} layers", kind="", **sums)
