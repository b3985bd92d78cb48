"""Classifiers made convolutional against the classifier slid over the image: what differs, and images/s of both.

Weights and batch-norm statistics are drawn. A score is compared with what the classifier's own layers give for its
window with the pixels around it (on a part of an image that reaches its margin on every side, the head reading the
window), and with what the classifier gives for the window alone. Differences are shares of the largest score.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.record import RESULTS, Row, write_result
from unpool import models
from unpool.convert import FullyConvolutional, fully_convolutional
from unpool.types import Backbone

SEED = 0
TITLES = {
    "lenet5": "LeNet-5",
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "googlenet": "GoogLeNet",
    "resnet18": "ResNet-18",
}
TOLERANCE = 1e-5
BATCH, ENOUGH_S, RUNS = 32, 10.0, 3
SPARE = 2  # scores inside from one edge to the other, less one


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Largest differences of scores: inside, at the border (None without one), and from plain crops.

    Without padding all scores of an image are compared, else three inside and three of the border.
    """

    size: int
    margin: tuple[int, int]
    border: tuple[int, int]
    inside: float
    at_border: float | None
    from_crops: float
    same_class: int
    compared: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images/s of both at one size; the slid classifier was timed on `timed` of its windows."""

    size: int
    scores: int
    timed: int
    dense: float
    slid: float


@torch.no_grad()
def randomised(network: nn.Module) -> nn.Module:
    """The network with weights of He's variance, and biases and statistics off their start."""
    generator = torch.Generator().manual_seed(SEED)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            layer.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-0.1, 0.1, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1, generator=generator)  # pyright: ignore[reportOptionalMemberAccess]
            layer.running_var.uniform_(0.5, 1.5, generator=generator)  # pyright: ignore[reportOptionalMemberAccess]
            layer.weight.uniform_(0.5, 1.0, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
    return network.eval()


def parts_of(network: Any) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    """The maps that a classifier of ours makes, and its head."""
    body = network.backbone if isinstance(getattr(network, "backbone", None), Backbone) else network.features
    return (lambda x: body(x)[-1]) if isinstance(body, Backbone) else body, network.head


def picture(channels: int, size: int) -> Tensor:
    """Noise at several scales, so that neighbouring windows differ."""
    generator = torch.Generator().manual_seed(SEED)
    whole = torch.zeros(1, channels, size, size)
    for cells in (8, 32, 128, size):
        noise = torch.randn(1, channels, cells, cells, generator=generator)
        whole += nn.functional.interpolate(noise, (size, size), mode="bilinear", align_corners=False)
    return whole


@torch.no_grad()
def differences(classifier: nn.Module, network: FullyConvolutional) -> Differences:
    """What the scores of an image differ from, inside, at its border, and from crops."""
    own, step, (before, after) = network.size_hw[0], network.stride[0], network.margin[0]
    first, last = -(-before // step), -(-after // step)
    reach = (first + last) * step + own  # pixels that hold a window and its margin, on the grid of the scores
    size = reach + SPARE * step
    around = picture(_channels(classifier), size + reach - own)
    image = around[:, :, first * step :, first * step :][:, :, :size, :size]
    scores = network(image)
    rows = network.inside((size, size))[0]
    ends = (rows.start, rows.stop - 1)
    inside = {(ends[0], ends[0]), (ends[1], ends[0]), (ends[1], ends[1])}
    corner = scores.shape[2] - 1
    border = {(0, 0), (0, rows.start), (corner, corner)} if before + after else set()
    if not border:
        inside = {(i, j) for i in range(corner + 1) for j in range(corner + 1)}
    body, head = parts_of(classifier)
    own_map = body(image[:, :, :own, :own]).shape[2]

    def surrounded(i: int, j: int) -> Tensor:
        maps = body(around[:, :, i * step : i * step + reach, j * step : j * step + reach])
        return head(maps[:, :, first : first + own_map, first : first + own_map])[0]

    def alone(i: int, j: int) -> Tensor:
        return classifier(image[:, :, i * step : i * step + own, j * step : j * step + own])[0]

    def off(places: set[tuple[int, int]], reference: Callable[[int, int], Tensor]) -> float:
        wanted = {(i, j): reference(i, j) for i, j in places}
        largest = max(float(w.abs().max()) for w in wanted.values())
        return max(float((scores[0, :, i, j] - w).abs().max()) for (i, j), w in wanted.items()) / largest

    every = inside | border
    same = sum(int(alone(i, j).argmax() == scores[0, :, i, j].argmax()) for i, j in every)
    return Differences(
        size=size,
        margin=(before, after),
        border=(rows.start, scores.shape[2] - rows.stop),
        inside=off(inside, surrounded),
        at_border=off(border, surrounded) if border else None,
        from_crops=off(every, alone),
        same_class=same,
        compared=len(every),
    )


@torch.inference_mode()
def speed(classifier: nn.Module, network: FullyConvolutional, size: int) -> Speed:
    """Both on one image; the windows of the classifier go through it in batches, until all did or time is up."""
    image, own, step = picture(_channels(classifier), size), network.size_hw[0], network.stride[0]
    times: list[float] = []
    count = 0
    while len(times) < RUNS and sum(times) < ENOUGH_S:
        started = time.perf_counter()
        count = network(image)[0, 0].numel()
        times.append(time.perf_counter() - started)
    starts = range(0, size - own + 1, step)
    windows = [image[:, :, i : i + own, j : j + own] for i in starts for j in starts]
    classifier(torch.cat(windows[:BATCH]))
    timed, started = 0, time.perf_counter()
    while timed < len(windows) and time.perf_counter() - started < ENOUGH_S:
        batch = torch.cat(windows[timed : timed + BATCH])
        classifier(batch)
        timed += len(batch)
    slid_s = (time.perf_counter() - started) * len(windows) / timed
    return Speed(size=size, scores=count, timed=timed, dense=1 / min(times), slid=1 / slid_s)


def _channels(network: nn.Module) -> int:
    return next(layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d))


def rows_of(title: str, found: Differences, speeds: Sequence[Speed]) -> list[Row]:
    inside = f"{title}, scores inside an image of {found.size} pixels, from the classifier with its surroundings"
    rows = [Row(what=inside, figure=f"off by {found.inside:.0e}", reference=f"at most {TOLERANCE:.0e}")]
    if found.at_border is not None:
        what = f"{title}, border of {found.border[0]} scores above and {found.border[1]} below"
        figure = f"off by {found.at_border:.1e}: reads {found.margin[0]} and {found.margin[1]} pixels beyond its window"
        rows.append(Row(what=what, figure=figure, reference="padding of the image instead of what surrounds it"))
    plain = f"off by {found.from_crops:.0e}, same class at {found.same_class} of {found.compared}"
    wanted = "at most 1e-05" if found.at_border is None else "each crop has padding of its own"
    rows.append(Row(what=f"{title}, from the classifier on crops", figure=plain, reference=wanted))
    for s in speeds:
        timed = "" if s.timed >= s.scores else f", timed on {s.timed}"
        slid = f"{s.slid:.3g} slid over {s.scores:,} windows{timed}: {s.dense / s.slid:.0f} times"
        rows.append(Row(what=f"{title}, images/s at {s.size}x{s.size}", figure=f"{s.dense:.3g}", reference=slid))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fully_convolutional", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(TITLES), choices=list(TITLES), metavar="NETWORK")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024], metavar="PIXELS", help="to time")
    parser.add_argument("--json", type=Path, default=RESULTS / "fully_convolutional.json")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    rows, details, passed = [], {}, True
    for name in options.networks:
        torch.manual_seed(SEED)
        classifier = randomised(models.build(name))
        network = fully_convolutional(classifier, image=torch.zeros(1, *models.row_of(name).input))
        found = differences(classifier, network)
        speeds = [speed(classifier, network, size) for size in options.sizes]
        passed &= found.inside <= TOLERANCE and (found.at_border is not None or found.from_crops <= TOLERANCE)
        details[name] = {"differences": asdict(found), "speeds": [asdict(s) for s in speeds]}
        rows += rows_of(TITLES[name], found, speeds)
        print("\n".join(f"{row.what}: {row.figure} ({row.reference})" for row in rows_of(TITLES[name], found, speeds)))
        sys.stdout.flush()
    command = ["python", "-m", "benchmarks.fully_convolutional", *(sys.argv[1:] if arguments is None else arguments)]
    wall_s = time.monotonic() - started
    write_result(options.json, rows, command=shlex.join(command), seed=SEED, wall_s=wall_s, details=details)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
