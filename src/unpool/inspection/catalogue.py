"""Counts parameters, outputs and multiply-adds of a network of the catalogue, and compares them with its row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from unpool.inspection.shapes import without_drawing
from unpool.inspection.traced import trace
from unpool.models import MODELS, build

GIGA = 1e9
SMALL = 0.01  # published multiply-adds below this have two digits; others have four and more
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Figures of one network, each as counted and as published in its row.

    Attributes:
        params, published_params: learnable numbers.
        outputs, published_outputs: shapes without the batch.
        macs: multiply-adds counted for one image.
        published_gmacs: in 1e9; None where none is published.
    """

    name: str
    params: int
    published_params: int
    outputs: Shapes
    published_outputs: Shapes
    macs: int
    published_gmacs: float | None

    @property
    def wrong(self) -> tuple[str, ...]:
        """Figures that do not agree: of "parameters", "output", "GMACs"."""
        agree = {
            "parameters": self.params == self.published_params,
            "output": self.outputs == self.published_outputs,
            "GMACs": self.published_gmacs is None or _are_close(self.macs / GIGA, self.published_gmacs),
        }
        return tuple(what for what, is_right in agree.items() if not is_right)

    def cells(self) -> tuple[str, ...]:
        """A line of a table: name, parameters counted and published, output, 1e9 multiply-adds likewise, verdict."""
        published = "-" if self.published_gmacs is None else f"{self.published_gmacs:.5g}"
        verdict = f"differs: {', '.join(self.wrong)}" if self.wrong else "agrees"
        counts = f"{self.params:>13,}", f"{self.published_params:>13,}"
        return self.name, *counts, _text(self.outputs), f"{self.macs / GIGA:.5g}", published, verdict

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "params": self.params,
            "published_params": self.published_params,
            "outputs": [list(shape) for shape in self.outputs],
            "published_outputs": [list(shape) for shape in self.published_outputs],
            "gmacs": self.macs / GIGA,
            "published_gmacs": self.published_gmacs,
            "wrong": list(self.wrong),
        }


def count(name: str) -> Counted:
    """Builds a network of the catalogue without values and counts it on its published input.

    Raises:
        RecipeError: there is no such network.
    """
    with without_drawing():
        network = build(name)
    row = MODELS[name]
    traced = trace(network, row.input)
    return Counted(
        name=name,
        params=sum(p.numel() for p in network.parameters()),
        published_params=cast(int, row.params),  # only networks from elsewhere have none
        outputs=tuple(shape[1:] for shape in traced.calls[-1].outputs),
        published_outputs=_shapes(row.output),
        macs=sum(traced.macs),
        published_gmacs=row.gmacs,
    )


def _shapes(output: Sequence[Any]) -> Shapes:
    return (tuple(output),) if isinstance(output[0], int) else tuple(tuple(shape) for shape in output)


def _text(shapes: Shapes) -> str:
    """ "3 x 1000" of three outputs of one shape, "21x500x500" of one."""
    kinds = {shape: shapes.count(shape) for shape in shapes}
    return ", ".join(f"{n} x " * (n > 1) + "x".join(map(str, shape)) for shape, n in kinds.items() if shape)


def _are_close(counted: float, published: float) -> bool:
    rounding = 5e-6 if published < SMALL else max(1e-4 * published, 5e-5)
    return abs(counted - published) <= rounding
