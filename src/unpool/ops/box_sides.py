"""How large the boxes of a training set are for the network, and which of them its anchors do not reach."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.anchors import REACHED, reached
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Samples

MANY_UNREACHED = 0.05  # share of the boxes from which on a run says so


class Sides(NamedTuple):
    """The boxes of a set, without crowds and what is difficult.

    Attributes:
        sides_wh: (N, 2) width and height in pixels of the network's input, as in evaluation.
        labels: (N,) class of each.
        samples: (N,) position of its image in the set.
        without: number of images that have no box at all.
    """

    sides_wh: Tensor
    labels: Tensor
    samples: Tensor
    without: int


def sides_of(samples: Samples, preprocessing: Preprocessing) -> Sides:
    """Of all boxes of a set; no image is decoded where the reader's format allows that."""
    each = [samples.targets(index) for index in range(len(samples))]
    counts = [_counts(targets) for targets in each]
    size_hw = torch.tensor(list(samples.sizes_hw)).reshape(-1, 2)
    shown = preprocessing.boxes(size_hw)
    scales = (shown[:, 2:] - shown[:, :2]) / size_hw.flip(1)  # (images, 2) of the input by the image
    sides = [
        (targets["boxes"][counted, 2:] - targets["boxes"][counted, :2]) * scale
        for targets, counted, scale in zip(each, counts, scales, strict=True)
    ]
    numbers = torch.tensor([int(counted.sum()) for counted in counts])
    return Sides(
        sides_wh=torch.cat([torch.zeros(0, 2), *sides]).float(),
        labels=torch.cat([torch.zeros(0).long(), *(t["labels"][c] for t, c in zip(each, counts, strict=True))]),
        samples=torch.arange(len(each)).repeat_interleave(numbers),
        without=sum(not len(targets["boxes"]) for targets in each),
    )


def _counts(targets: dict[str, Tensor]) -> Tensor:
    """(N,) bool: the boxes that are learned from."""
    counts = torch.ones(len(targets["boxes"]), dtype=torch.bool)
    for key in ("crowd", "difficult"):
        if key in targets:
            counts &= ~targets[key].bool()
    return counts


def sides_of_anchors(anchors: Tensor) -> Tensor:
    """(M, 2) the different widths and heights of anchors (A, 4), to a hundredth of a pixel.

    >>> sides_of_anchors(torch.tensor([[0.0, 0.0, 4.0, 8.0], [4.0, 0.0, 8.0, 8.0]]))
    tensor([[4., 8.]])
    """
    return ((anchors[:, 2:] - anchors[:, :2]) * 100).round().unique(dim=0).cpu() / 100


def unreached(sides: Sides, anchors_wh: Tensor) -> Tensor:
    """Positions among the boxes of those that no anchor (M, 2) reaches at IoU 0.5, were it to lie right."""
    return (reached(sides.sides_wh, anchors_wh) < REACHED).nonzero()[:, 0]


def warning_of(sides: Sides, anchors: Tensor, classes: Sequence[str]) -> str:
    """That many boxes are reached by no anchor of the network, in words; empty where that is not so."""
    missed = unreached(sides, sides_of_anchors(anchors))
    count = len(sides.sides_wh)
    if not count or len(missed) / count < MANY_UNREACHED:
        return ""
    worst = int(sides.labels[missed].mode().values)
    width, height = sides.sides_wh[missed].median(0).values.tolist()
    return (
        f"{len(missed)} of {count} boxes of the training set are reached by no anchor at IoU {REACHED}, most of class "
        f"{classes[worst]}, {width:.0f}x{height:.0f} pixels of the network's input at the median: they are learned "
        "badly. `unpool show anchors` lists them; other anchors or another data.size reach them"
    )
