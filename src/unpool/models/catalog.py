"""Rows of the papers' tables, and the only place where a network is chosen by a string."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, Literal

from torch import nn

from unpool.errors import RecipeError

RESERVED = ("in_channels", "num_classes")  # arguments that `build` fills in itself; never options of a row


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of a paper's table; its name alone builds the published network.

    Attributes:
        build: makes the module. Its keyword-only arguments are the row's options.
        kind: "backbone" (`build(in_channels=)` gives a Backbone, `head` makes it a classifier),
            "composed" (`build(backbone, num_classes=)`) or "whole" (`build(in_channels=, num_classes=)`).
        params: learnable numbers of the whole network at `classes` and `input`; None for networks that are not ours.
        source: paper, table and row, or the release the count was taken from.
        input: (C, H, W) the published counts are for.
        output: shape without B at that input; several where the network gives a NamedTuple, in its order.
        classes: classes of the published network.
        gmacs: published 1e9 multiply-adds of convolutions and linear layers at `input`.
        head: for a backbone: (channels of its last map, classes) -> module from that map to logits.
        backbone: for a composed network: the backbone of the published one.
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

    def options(self) -> dict[str, Any]:
        """Name and default of everything that can be set about the row."""
        parameters = signature(self.build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.name not in RESERVED}


def find(table: Mapping[str, Variant], name: str, *, what: str = "network") -> Variant:
    """The row called `name`; an unknown name is refused with its nearest neighbours."""
    if name not in table:
        near = get_close_matches(name.lower(), table, n=3, cutoff=0.5)
        told = f"did you mean: {', '.join(near)}?" if near else f"there are: {', '.join(sorted(table))}"
        raise RecipeError(f"no {what} is called {name!r}; {told}")
    return table[name]


def refuse_unknown(name: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuses the first option in `given` that is not in `known`, naming the nearest."""
    for option in given:
        if option not in known:
            near = get_close_matches(option, known, n=1, cutoff=0.5)
            told = f"did you mean {near[0]!r}? " if near else ""
            takes = ", ".join(known) or "no options"
            raise RecipeError(f"{name} has no option {option!r}; {told}It takes: {takes}")
