"""Rows of the papers' tables, and the only file where a network is looked up by a string."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, Literal, cast

from torch import nn

from unpool.errors import RecipeError, quoted, shortened
from unpool.network_names import not_listed

MOST = 65_536  # of a count among the options of a network: channels, units, cells
MOST_OF = {"depth": 16, "stages": 100, "output_stride": 1024}  # halvings: 2**16 is more than the side of an image
MOST_ITEMS = 64  # of a list of counts
RESERVED = ("in_channels", "num_classes")  # arguments that `build` fills in itself; never options of a row


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a paper's table; its name alone builds the published network.

    Attributes:
        build: makes the module. Its keyword-only arguments are the row's options.
        kind: "backbone" (`build(in_channels=)` returns a Backbone, `head` makes it a classifier),
            "composed" (`build(backbone, num_classes=)`) or "whole" (`build(in_channels=, num_classes=)`).
        params: learnable numbers of the whole network at `classes` and `input`; of a network without a
            paper, what `unpool summary` counts; None for networks of other packages.
        source: paper, table and row, or the release that the count was taken from.
        input: (C, H, W) that the published counts are for.
        output: shape without B at that input; several where the network returns a NamedTuple, in its order. Of anchors
            (A, 4) and their maps (A,), which have no B, without A.
        classes: classes of the published network.
        gmacs: published 1e9 multiply-adds of convolutions and linear layers at `input`.
        head: of a backbone's row: makes the module from the last map to logits out of (channels, classes).
        backbone: of a composed network's row: the backbone of the published network; of a whole localizer's, the
            classifier in it; of R-CNN's, the network that its weights start from.
        reads_proposals: whether it classifies regions that are given with the image (`RegionMaps`).
        of_boxes: what a detector's `region_maps` say of each box: "masks" or "joints"; empty where it has none.
    """

    build: Callable[..., nn.Module]
    kind: Literal["backbone", "composed", "whole"]
    params: int | None
    source: str
    input: tuple[int, int, int]
    output: tuple[int, ...] | tuple[tuple[int, ...], ...]
    classes: int
    gmacs: float | None = None
    head: Callable[[int, int], nn.Module] | None = None
    backbone: str | None = None
    reads_proposals: bool = False
    of_boxes: Literal["", "masks", "joints"] = ""

    @property
    def gives(self) -> str:
        """What its outputs are, by their shapes: a key of `network_names.OUTPUTS`."""
        if self.reads_proposals:
            return "boxes_of_proposals"
        shapes = [shape if isinstance(shape, tuple) else self.output for shape in self.output]
        first, *more = cast(list[tuple[int, ...]], shapes)
        is_grid = len(first) == 3 and any(len(shape) == 4 for shape in more)  # of cells, with the boxes of each
        if is_grid or (4,) in more[1:]:  # anchors, behind scores and deltas at least
            return f"boxes_and_{self.of_boxes}" if self.of_boxes else "boxes"
        if len(first) == 1:
            if any(shape[-1] == 4 for shape in more):
                return "scores_and_boxes"
            if first[0] != self.classes:
                return "coordinates"
            return "words" if any(shape != first for shape in more) else "scores"
        if len(first) == 2:
            return "strings"
        if any(shape[0] != first[0] for shape in more):
            return "fields"
        return "maps" if 2 * first[1] >= self.input[1] else "heatmaps"

    def options(self) -> dict[str, Any]:
        """Returns the name and default of each option: a keyword-only argument of `build` that is not in RESERVED."""
        parameters = signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.name not in RESERVED}


def find(table: Mapping[str, Variant], name: str, *, what: str = "network") -> Variant:
    """Returns the row called `name`.

    Args:
        table: rows by name.
        name: the row to return.
        what: what the table holds, for the message.

    Raises:
        RecipeError: there is no such row; the message has the nearest names.
    """
    if name not in table:
        raise RecipeError(not_listed(name, table, what=what))
    return table[name]


def refuse_unknown(name: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises if `options` has a key that `known` has not.

    Raises:
        RecipeError: the message has the first unknown option, the nearest known one, and all known ones.
    """
    for option in options:
        if option not in known:
            near = get_close_matches(shortened(option), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            takes = ", ".join(known) or "no options"
            raise RecipeError(f"{name} has no option {quoted(option)}; {hint}It takes: {takes}")
