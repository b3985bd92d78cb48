"""Networks side by side: what they cost, how fast they are here, and the scores that their publishers state."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from unpool import models
from unpool.inspection.layer_table import Summary, summary
from unpool.inspection.throughput import images_per_s
from unpool.machine import processor
from unpool.models.published_figures import PublishedFigure, published_figure
from unpool.pages.blocks import note, table
from unpool.pages.bubbles import Bubble, bubble_chart, bubble_drawing
from unpool.pages.page import Section
from unpool.pages.view import View

OPERATIONS, SIZE = "multiply-adds, 1e9", "number of parameters"


class Network(NamedTuple):
    """The figures of one network; `speed` in images a second, None where it was not timed."""

    name: str
    table: Summary
    speed: float | None
    published: PublishedFigure | None

    def to_json(self) -> dict[str, Any]:
        figure = None if self.published is None else self.published._asdict()
        counts = {"params": self.table.params, "macs": self.table.macs, "activations": self.table.activations}
        left_out = [one._asdict() for one in self.table.uncounted]
        sizes = {"input": list(self.table.input), "uncounted": left_out}
        return {"name": self.name, **counts, "images_per_s": self.speed, "published": figure, **sizes}

    def cells(self) -> tuple[object, ...]:
        left_out = sum(one.macs or 0 for one in self.table.uncounted)
        table, score = self.table, "-" if self.published is None else f"{self.published.value:.2f} %"
        counts = round(table.params / 1e6, 2), round(table.macs / 1e9, 3), round(table.activations / 1e6, 2)
        speed = "-" if self.speed is None else round(self.speed, 1)
        return self.name, *counts, round(left_out / 1e9, 3) or "-", speed, score


HEADINGS = (
    *("network", "parameters, 1e6", "multiply-adds, 1e9", "activations, 1e6", "in products of two maps, 1e9"),
    *("images a second", "published score"),
)


def compare_networks(
    sources: Sequence[tuple[str, Any]],
    *,
    input_shape: tuple[int, ...] | None = None,
    batch: int = 1,
    seconds: float = 1.0,
    progress: Callable[[str], None] = lambda text: None,
) -> View:
    """Counts and times networks; see `compare`.

    Args:
        sources: a name to show, or "", and the network: a name or a module.
        input_shape: as in `compare`.
        batch: as in `compare`.
        seconds: as in `compare`.
        progress: as in `compare`.
    """
    networks = []
    for name, source in sources:
        progress(f"{name or _called(source)}")
        networks.append(_measured(name, source, input_shape, batch=batch, seconds=seconds))
    plots = _plots(networks)
    charts = [bubble_chart(title, dots, x=OPERATIONS, y=y, size=SIZE) for title, y, dots in plots]
    drawing = bubble_drawing(plots[0][0], plots[0][2], x=OPERATIONS, y=plots[0][1]) if plots else ""
    threads = torch.get_num_threads()
    here = f"Images a second: batches of {batch}, float32, {threads} threads of {processor()}; other work slows it."
    sections = [
        Section("Cost", [table([one.cells() for one in networks], headings=HEADINGS), note(here)]),
        Section("Score against operations", [*charts, note(_about(networks))]),
    ]
    values = {"networks": [one.to_json() for one in networks], "batch": batch, "threads": threads}
    names = ", ".join(one.name for one in networks)
    return View("Networks side by side", sections, values, drawing=drawing, subtitle=names)


def _called(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def _measured(name: str, source: Any, input_shape: tuple[int, ...] | None, *, batch: int, seconds: float) -> Network:
    counted = summary(source, input_shape)
    if isinstance(source, nn.Module):
        speed = images_per_s(source, counted.input, batch=batch, seconds=seconds) if seconds else None
        return Network(name or counted.network, counted, speed, None)
    if not seconds:
        return Network(name or str(source), counted, None, published_figure(str(source)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(str(source))
    speed = images_per_s(network, counted.input, batch=batch, seconds=seconds)
    return Network(name or str(source), counted, speed, published_figure(str(source)))


def _plots(networks: Sequence[Network]) -> list[tuple[str, str, list[Bubble]]]:
    """Title, name of the score and bubbles, for each score that two networks or more have."""
    kinds: dict[tuple[str, str], list[Bubble]] = {}
    for one in networks:
        if one.published is not None:
            bubble = Bubble(one.name, one.table.macs / 1e9, one.published.value, one.table.params)
            kinds.setdefault((one.published.dataset, one.published.metric), []).append(bubble)
    return [
        (f"{metric} on {dataset} against operations", f"{metric}, %", bubbles)
        for (dataset, metric), bubbles in kinds.items()
        if len(bubbles) > 1
    ]


def _about(networks: Sequence[Network]) -> str:
    figures = {one.name: one.published for one in networks if one.published is not None}
    stated = [f"{name}: {one.metric} on {one.dataset}, {one.source}" for name, one in figures.items()]
    without = [one.name for one in networks if one.published is None]
    lines = ["Scores are those that the publisher of the weights states, measured by him, not here."] if stated else []
    return " ".join([*lines, *(f"{line}." for line in stated), *_no_score(without)])


def _no_score(names: Sequence[str]) -> list[str]:
    return [f"No score is stated for {', '.join(names)}."] if names else []
