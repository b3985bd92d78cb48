"""Detectors of a few weights that keep the contract of detection, and batches for them."""

from dataclasses import replace

import torch
from torch import nn
from torchvision.ops import roi_align

from unpool.models.detection.practice import FOCAL, FPN, SSD
from unpool.types import AnchoredBoxes, ClassifiedRegions, ProposedRegions

STRIDE, SHAPES = 8, ((12.0, 12.0), (24.0, 24.0))
FEW = replace(FPN, samples=16, proposing=replace(FPN.proposing, samples=16, train_most=40, most=30))


def anchors_of(rows, columns):
    """(A, 4) and the level (A,) of each: one map for each shape."""
    y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 2) * STRIDE
    boxes = [torch.cat([centres - torch.tensor(s) / 2, centres + torch.tensor(s) / 2], dim=1) for s in SHAPES]
    return torch.cat(boxes), torch.arange(len(SHAPES)).repeat_interleave(rows * columns)


class Body(nn.Module):
    """Maps of stride 8, and `numbers` for each anchor."""

    def __init__(self, numbers, width=16):
        super().__init__()
        torch.manual_seed(0)
        layers = [(3, width), (width, width), (width, width)]
        self.stem = nn.Sequential(*(m for a, b in layers for m in (nn.Conv2d(a, b, 3, 2, 1), nn.ReLU())))
        self.head = nn.Conv2d(width, numbers * len(SHAPES), 1)

    def forward(self, image):
        maps = self.stem(image)
        given = self.head(maps).unflatten(1, (len(SHAPES), -1)).permute(0, 1, 3, 4, 2)  # (B, shapes, h, w, numbers)
        return maps, given.flatten(1, 3), anchors_of(*maps.shape[-2:])


class OneStage(nn.Module):
    box_weights = (10.0, 10.0, 5.0, 5.0)

    def __init__(self, num_classes, *, is_exclusive):
        super().__init__()
        self.practice = SSD if is_exclusive else FOCAL
        self.body = Body(num_classes + is_exclusive + 4)

    def forward(self, image):
        _, given, (anchors, level) = self.body(image)
        return AnchoredBoxes(given[..., 4:], given[..., :4], anchors, level)


class TwoStages(nn.Module):
    box_weights = (10.0, 10.0, 5.0, 5.0)

    def __init__(self, num_classes, practice=FEW):
        super().__init__()
        self.practice = practice
        self.body = Body(5)
        self.last = nn.Linear(16 * 9, 5 * (num_classes + 1))

    def forward(self, image):
        maps, given, (anchors, level) = self.body(image)
        return ProposedRegions((maps,), given[..., 4], given[..., :4], anchors, level)

    def classify(self, maps, boxes, input_hw):
        pooled = roi_align(maps[0].float(), boxes, 3, 1 / STRIDE, aligned=True)
        given = self.last(pooled.flatten(1)).unflatten(1, (-1, 5))
        return ClassifiedRegions(given[..., 0], given[..., 1:])


class Branched(TwoStages):
    """With maps of 4x4 of each region: masks (R, num_classes + 1, 4, 4), or joints (R, channels, 4, 4)."""

    def __init__(self, num_classes=3, *, of_boxes="masks", channels=None, practice=FEW):
        super().__init__(num_classes, practice)
        self.of_boxes = of_boxes
        self.branch = nn.Conv2d(16, channels or num_classes + 1, 1)

    def region_maps(self, maps, boxes, input_hw):
        return self.branch(roi_align(maps[0].float(), boxes, 4, 1 / STRIDE, aligned=True))


def detector(kind, num_classes=3):
    return {
        "focal": lambda: OneStage(num_classes, is_exclusive=False),
        "exclusive": lambda: OneStage(num_classes, is_exclusive=True),
        "two": lambda: TwoStages(num_classes),
    }[kind]()


KINDS = ("focal", "exclusive", "two")


def scenes(*boxes, labels=None, side=64, seed=0, **more):
    """A batch of images in which each box is a square of the colour of its class."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(len(boxes), 3, side, side, generator=generator) * 0.2
    labels = [torch.arange(len(one)) % 3 for one in boxes] if labels is None else labels
    for image, of_image, kinds in zip(images, boxes, labels, strict=True):
        for (left, top, right, bottom), kind in zip(of_image.int().tolist(), kinds.tolist(), strict=True):
            image[:, top:bottom, left:right] = -0.5
            image[kind, top:bottom, left:right] = 1.5
    sizes = torch.full((len(boxes), 2), side)
    batch = {"image": images, "boxes": list(boxes), "labels": list(labels), "size_hw": sizes}
    return batch | {"index": torch.arange(len(boxes))} | more


TWO = torch.tensor([[4.0, 6.0, 18.0, 19.0], [30.0, 28.0, 56.0, 54.0]])
ONE = torch.tensor([[20.0, 10.0, 44.0, 33.0]])
NONE = torch.zeros(0, 4)
