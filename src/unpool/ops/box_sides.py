"""Where the boxes of a training set lie on the network's input, and which of them its anchors do not reach."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.anchors import REACHED, best_iou
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Samples

Pair = tuple[int, int]
MANY_UNREACHED = 0.05  # share of the boxes from which on a run says so


class SetBoxes(NamedTuple):
    """The boxes of a set, without crowds and what is difficult.

    Attributes:
        boxes: (N, 4) in pixels of the network's input, as in evaluation.
        input_hw: (N, 2) size of that input.
        labels: (N,) class of each.
        samples: (N,) position of its image in the set.
        without: number of images that have no box at all.
    """

    boxes: Tensor
    input_hw: Tensor
    labels: Tensor
    samples: Tensor
    without: int

    @property
    def sides_wh(self) -> Tensor:
        """(N, 2) width and height."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def boxes_of(samples: Samples, preprocessing: Preprocessing) -> SetBoxes:
    """Of all boxes of a set; no image is decoded where the reader's format allows that.

    >>> from unpool.data.box_scenes import BoxScenes
    >>> from unpool.data.store import scan
    >>> boxes_of(scan(BoxScenes(count=1)).samples, Preprocessing()).input_hw[0]
    tensor([96, 96])
    """
    each = [samples.targets(index) for index in range(len(samples))]
    counts = [_counts(targets) for targets in each]
    size_hw = torch.tensor(list(samples.sizes_hw)).reshape(-1, 2)
    shown = preprocessing.boxes(size_hw)
    scales = (shown[:, 2:] - shown[:, :2]) / size_hw.flip(1)  # (images, 2) of the input by the image
    boxes = [
        targets["boxes"][counted] * scale.repeat(2) + low.repeat(2)
        for targets, counted, scale, low in zip(each, counts, scales, shown[:, :2], strict=True)
    ]
    numbers = torch.tensor([int(counted.sum()) for counted in counts], dtype=torch.int64)
    kinds, kind = size_hw.unique(dim=0, return_inverse=True)
    inputs = torch.tensor([preprocessing.layout((h, w)).input_hw for h, w in kinds.tolist()]).reshape(-1, 2)
    return SetBoxes(
        boxes=torch.cat([torch.zeros(0, 4), *boxes]).float(),
        input_hw=inputs[kind].repeat_interleave(numbers, dim=0),
        labels=torch.cat([torch.zeros(0).long(), *(_labels(t)[c] for t, c in zip(each, counts, strict=True))]),
        samples=torch.arange(len(each)).repeat_interleave(numbers),
        without=sum(not len(targets["boxes"]) for targets in each),
    )


def _labels(targets: dict[str, Tensor]) -> Tensor:
    """(N,) the class of each box; 0 of boxes of people, who have no other."""
    return targets.get("labels", torch.zeros(len(targets["boxes"]), dtype=torch.int64))


def _counts(targets: dict[str, Tensor]) -> Tensor:
    """(N,) bool: the boxes that are learned from."""
    counts = torch.ones(len(targets["boxes"]), dtype=torch.bool)
    for key in ("crowd", "difficult"):
        if key in targets:
            counts &= ~targets[key].bool()
    return counts


def reach(set_boxes: SetBoxes, anchors_of: Callable[[Pair], tuple[Tensor, Tensor]]) -> Tensor:
    """(N,) IoU of each box with the anchor that overlaps it most, where both stand.

    Args:
        set_boxes: of the training set.
        anchors_of: size of an input -> anchors (A, 4) and the map (A,) of each.

    >>> one = SetBoxes(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[8, 8]]), torch.zeros(1), torch.zeros(1), 0)
    >>> reach(one, lambda size_hw: (torch.tensor([[0.0, 0.0, 4.0, 2.0]]), torch.tensor([0])))
    tensor([0.5000])
    """
    best = torch.zeros(len(set_boxes.boxes))
    for height, width in set_boxes.input_hw.unique(dim=0).tolist():
        is_here = (set_boxes.input_hw == torch.tensor([height, width])).all(1)
        best[is_here] = best_iou(set_boxes.boxes[is_here], *anchors_of((height, width)))
    return best


def on_input(set_boxes: SetBoxes, input_hw: Pair) -> SetBoxes:
    """The boxes of the images whose input has that size.

    >>> sizes = torch.tensor([[8, 8], [8, 16]])
    >>> two = SetBoxes(torch.zeros(2, 4), sizes, torch.tensor([3, 5]), torch.tensor([0, 1]), 0)
    >>> on_input(two, (8, 16)).labels
    tensor([5])
    """
    is_here = (set_boxes.input_hw == torch.tensor(input_hw)).all(1)
    return set_boxes._replace(**{k: v[is_here] for k, v in set_boxes._asdict().items() if isinstance(v, Tensor)})


def warning_of(set_boxes: SetBoxes, best: Tensor, classes: Sequence[str]) -> str:
    """That many boxes are reached by no anchor of the network, in words; empty where that is not so.

    Args:
        set_boxes: of the training set.
        best: (N,) as `reach` gives it.
        classes: their names.

    >>> one = SetBoxes(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[8, 8]]), torch.tensor([0]), torch.zeros(1), 0)
    >>> warning_of(one, torch.tensor([0.4]), ["bee"])[:71]
    '1 of 1 boxes of the training set are reached by no anchor at IoU 0.5, m'
    """
    missed, count = (best < REACHED).nonzero()[:, 0], len(best)
    if not count or len(missed) / count < MANY_UNREACHED:
        return ""
    worst = int(set_boxes.labels[missed].mode().values)
    width, height = set_boxes.sides_wh[missed].median(0).values.tolist()
    return (
        f"{len(missed)} of {count} boxes of the training set are reached by no anchor at IoU {REACHED}, most of class "
        f"{classes[worst]}, {width:.0f}x{height:.0f} pixels of the network's input at the median: they are learned "
        "badly. `unpool show anchors` lists them; other anchors or another data.size reach them"
    )
