"""Readers of drawn images with targets of kinds that no task of the source reads."""

import math
from pathlib import Path

import torch
from torch import Tensor

from unpool.types import DataInfo, Fault, Sample

SIDE, COUNT = 32, 12


class _Drawn:
    """A reader of images drawn from (split, index)."""

    gives: tuple[str, ...]
    info = DataInfo()

    def __init__(self, root: Path | None = None, split: str = "train", *, count: int = COUNT) -> None:
        self.split = split
        self.names = [f"{split}/{i}" for i in range(count)]
        self.faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self.names)

    def noise(self, index: int) -> tuple[Tensor, torch.Generator]:
        """A grey image (3, SIDE, SIDE) uint8 and the generator of what is drawn on it."""
        generator = torch.Generator().manual_seed(1000 * (self.split == "train") + index)
        return torch.randint(100, 140, (3, SIDE, SIDE), dtype=torch.uint8, generator=generator), generator


class Things(_Drawn):
    """Dark and light rectangles, none in each third image, so that targets differ in number."""

    gives = ("image", "boxes", "labels")
    info = DataInfo(classes=("dark", "light"))

    def __getitem__(self, index: int) -> Sample:
        image, generator = self.noise(index)
        boxes, labels = [], []
        for _ in range(index % 3):
            left, top, width, height, label = torch.randint(0, 15, (5,), generator=generator).tolist()
            right, bottom = left + 4 + width, top + 4 + height
            image[:, top:bottom, left:right] = 220 if label % 2 else 20
            boxes.append([left, top, right, bottom])
            labels.append(label % 2)
        boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return {"image": image, "boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64)}


class OneThing(_Drawn):
    """A dark or a light rectangle."""

    gives = ("image", "boxes", "labels")
    info = DataInfo(classes=("dark", "light"))

    def __getitem__(self, index: int) -> Sample:
        image, generator = self.noise(index)
        left, top, width, height = torch.randint(0, 12, (4,), generator=generator).tolist()
        right, bottom = left + 8 + width, top + 8 + height
        image[:, top:bottom, left:right] = 220 if index % 2 else 20
        boxes = torch.tensor([[left, top, right, bottom]], dtype=torch.float32)
        return {"image": image, "boxes": boxes, "labels": torch.tensor([index % 2])}


class Bars(_Drawn):
    """One bright line through the middle, at an angle from 0 to 180 degrees."""

    gives = ("image", "angle_deg")

    def __getitem__(self, index: int) -> Sample:
        image, generator = self.noise(index)
        angle_deg = 180 * torch.rand((), generator=generator)
        return {"image": draw_line(image, float(angle_deg)), "angle_deg": angle_deg}


def draw_line(image: Tensor, angle_deg: float) -> Tensor:
    """The image (3, H, W) uint8 with a white line through its middle."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) - height / 2, torch.arange(width) - width / 2, indexing="ij")
    turn = math.radians(angle_deg)
    return torch.where((x * math.sin(turn) - y * math.cos(turn)).abs() < 2, 255, image).to(torch.uint8)
