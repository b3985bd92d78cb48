"""The table of a network: output, cost and receptive field of each layer, as in the lecture's table of VGG-16."""

import shutil
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

from torch import nn

from unpool.inspection.inputs import InputShape
from unpool.inspection.rows import BYTES, MIB, Row, input_row, joined_row, layer_rows, part_rows
from unpool.inspection.shapes import without_drawing
from unpool.inspection.table_text import csv_of, markdown_of, shape_text, text_of
from unpool.inspection.traced import trace
from unpool.inspection.training_memory import Memory, count_memory
from unpool.inspection.uncounted import Uncounted
from unpool.models import build, row_of


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary:
    """The rows of a network in the order of the forward pass, and their sums.

    Attributes:
        network: its name, or the class of the module.
        inputs: shapes of its inputs without the batch; `input` is the first.
        params: of the whole network, also those that this input did not use.
        trainable: those of them that training changes.
        unused: parameters that no operation used for this input.
        no_field: why the receptive field ends somewhere; None where every layer has one.
        uncounted: operations whose multiply-adds are in no row, by name.
        memory: of inference and training; None where no optimiser was named.
        parts: what each module with modules inside gives, by name.
    """

    network: str
    inputs: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    params: int
    trainable: int
    weights: int
    unused: int
    no_field: str | None
    uncounted: tuple[Uncounted, ...] = ()
    memory: Memory | None = None
    parts: dict[str, Row] = field(default_factory=dict)

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return self.inputs[0]

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
        sums = {"input": self.input, "activations": self.activations, "macs": self.macs}
        values = {**asdict(replace(self, memory=None, parts={})), **sums}
        values["uncounted"] = [one._asdict() for one in self.uncounted]
        values["memory"] = None if self.memory is None else self.memory.to_json()
        for i, row in enumerate(self.rows):
            values["rows"][i]["memory_mib"] = row.memory_mib
        return {key: value for key, value in values.items() if key != "parts"} | {"rows": list(values["rows"])}

    def to_csv(self) -> str:
        """The rows as CSV, with plain numbers."""
        return csv_of(self.rows)

    def to_markdown(self) -> str:
        """The table in Markdown, then the sums, a line each."""
        return "\n".join([markdown_of(self.rows), "", *(f"- {line}" for line in self._sums())])

    def to_text(self, width: int | None = None) -> str:
        """The table, one row a layer, then the sums.

        Args:
            width: characters that a line has; where they are too few, counts are shortened, then columns left out and
                named, then names cut. None prints all.
        """
        lines, lacks = text_of(self.rows, width)
        rule = "-" * max(map(len, lines))
        title = f"{self.network} on {' and '.join(map(shape_text, self.inputs))}"
        parts = [title, lines[0], rule, *lines[1:], rule, *self._sums()]
        left_out = [f"left out to fit {width} columns: {', '.join(lacks)}"] if lacks else []
        return "\n".join(parts + left_out)

    def at_depth(self, depth: int) -> "Summary":
        """The same with one row for all layers whose names agree in their first `depth` parts.

        Counts are summed; output, field and stride are those of the module with that name, or of the last of these
        layers.

        Raises:
            ValueError: depth is below 1.
        """
        if depth < 1:
            raise ValueError(f"depth is {depth}; it must be at least 1")
        groups = groupby(self.rows, lambda row: row.name.split(".")[:depth])
        named = ((".".join(name), list(rows)) for name, rows in groups)
        return replace(self, rows=tuple(joined_row(name, rows, self.parts.get(name)) for name, rows in named))

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
        sums += [_left_out(one) for one in self.uncounted]
        if self.trainable != self.params:
            sums.append(f"{self.trainable:,} of the parameters are trained")
        if self.unused:
            sums.append(f"{self.unused:,} of the parameters were not used for this input")
        if self.no_field:
            sums.append(f"'?': no receptive field by formula: {self.no_field}")
        return sums + ([] if self.memory is None else self.memory.to_lines())


def _left_out(one: Uncounted) -> str:
    calls = f"{one.calls} {'call' if one.calls == 1 else 'calls'} of {one.operation}"
    if one.macs is None:
        return f"not counted: the multiply-adds of {calls}, which has no rule"
    return f"not counted: {one.macs:,} multiply-adds in {calls}, products of two maps, which published counts leave out"


def summary(
    model: nn.Module | str, input_shape: InputShape | None = None, *, optimizer: str | None = None, batch: int = 1
) -> Summary:
    """Lists output, memory, parameters, multiply-adds and receptive field of each layer, for one image.

    Nothing is computed where the network allows it: shapes only, so a large one takes a second and no memory.

    Args:
        model: any network, on any device, which is not changed; or the name of one that `unpool models` lists.
        input_shape: (C, H, W) of one image, without the batch; of several inputs a shape for each, or an example with
            the batch, such as whole numbers for an embedding; None for that of a network by name.
        optimizer: counts the memory of training with it too, and that of inference: a key of
            `training.optim.OPTIMIZERS`, such as "sgd".
        batch: images of that memory.

    Raises:
        RecipeError: no network has this name.
        ValueError: the network takes another number of inputs, `input_shape` is missing or no shape, or there is no
            such optimiser.
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
        return replace(summary(network, input_shape or row.input, optimizer=optimizer, batch=batch), network=model)
    if input_shape is None:
        raise ValueError("a module does not say the size of its images: give input_shape, such as (3, 224, 224)")
    traced = trace(model, input_shape)
    reasons = [one for one in traced.fields if isinstance(one, str)]
    params = list(model.parameters())
    return Summary(
        network=type(model).__name__,
        inputs=traced.inputs,
        rows=(*map(input_row, traced.inputs), *layer_rows(traced)),
        params=sum(p.numel() for p in params),
        trainable=sum(p.numel() for p in params if p.requires_grad),
        weights=sum(p.numel() for p in params if p.ndim > 1),
        unused=traced.unused,
        no_field=reasons[0] if reasons else None,
        uncounted=traced.uncounted,
        parts=part_rows(traced),
        memory=None if optimizer is None else count_memory(model, input_shape, batch=batch, optimizer=optimizer),
    )
