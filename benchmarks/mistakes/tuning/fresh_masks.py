"""Membranes in slices of an electron microscope: a U-Net with one output, in loss and evaluation of its own."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageSequence
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

Pair = tuple[Tensor, Tensor]
SIDE, MARGIN = 64, 12


def _stack(path: Path) -> np.ndarray:
    with Image.open(path) as pages:
        return np.stack([np.array(page) for page in ImageSequence.Iterator(pages)])


def _both_flipped(image: Tensor, target: Tensor) -> Pair:
    for axis in (1, 2):
        if torch.rand(()) < 0.5:
            image, target = image.flip(axis), target.flip(axis)
    return image, target


def _image_flipped(image: Tensor, target: Tensor) -> Pair:
    for axis in (1, 2):
        if torch.rand(()) < 0.5:
            image = image.flip(axis)
    return image, target


class Slices(Dataset[Pair]):
    """Crops of the slices: random ones of training, a grid of validation."""

    def __init__(self, data: Path | None, split: str, change: Callable[[Tensor, Tensor], Pair] | None = None) -> None:
        if data is None:
            raise FileNotFoundError("isbi2012_em is needed")
        part = slice(0, 19) if split == "train" else slice(20, 24)  # 19 is too like 20
        self.images = self.padded(_stack(data / "isbi2012_em" / "train-volume.tif")[part])
        self.labels = _stack(data / "isbi2012_em" / "train-labels.tif")[part]
        self.split, self.change = split, change

    def padded(self, images: np.ndarray) -> np.ndarray:
        return images

    def __len__(self) -> int:
        return 160 if self.split == "train" else 4 * 9

    def __getitem__(self, index: int) -> Pair:
        if self.split == "train":
            page = index % len(self.images)
            top, left = (int(v) for v in torch.randint(0, 512 - SIDE, (2,)))
        else:
            page, (top, left) = index // 9, (160 * (index % 9 // 3), 160 * (index % 3))
        window = (slice(top, top + SIDE), slice(left, left + SIDE))
        image = torch.from_numpy(self.images[page][window]).float()[None] / 255
        membrane = torch.from_numpy(self.labels[page][window] == 0).float()[None]
        return self.change(image, membrane) if self.change else (image, membrane)


class PaddedSlices(Slices):
    """Slices with a mirrored margin, as the U-Net's paper has them."""

    def padded(self, images: np.ndarray) -> np.ndarray:
        return np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="reflect")


def _twice(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Three scales, skips by concatenation, dropout at the bottom."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.down1, self.down2 = _twice(1, width), _twice(width, 2 * width)
        self.bottom = nn.Sequential(_twice(2 * width, 4 * width), nn.Dropout2d(0.3))
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.merge2 = _twice(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge1 = _twice(2 * width, width)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.merge2(torch.cat([self.up2(c), b], 1))
        return self.out(self.merge1(torch.cat([self.up1(b), a], 1)))


def dice(outputs: Tensor, targets: Tensor) -> Tensor:
    """Soft Dice of the batch."""
    p = outputs.sigmoid().flatten()
    t = targets.flatten()
    return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def _dice_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return 1 - dice(outputs, targets)


def _iou(model: nn.Module, loader: Iterable[Pair]) -> float:
    both = either = 0
    for x, y in loader:
        hit, true = model(x) > 0, y > 0.5
        both += int((hit & true).sum())
        either += int((hit | true).sum())
    return both / max(either, 1)


def _evaluate(model: nn.Module, loader: Iterable[Pair]) -> float:
    model.eval()
    with torch.no_grad():
        return _iou(model, loader)


def _membranes(folders: Folders, slices: type[Slices] = Slices, change: Any = _both_flipped) -> dict[str, Any]:
    torch.manual_seed(21)
    model = UNet()

    def predict(image: Tensor) -> Tensor:
        model.eval()
        height, width = image.shape[-2:]
        x = F.pad(image[None], (0, -width % 4, 0, -height % 4), mode="reflect")
        with torch.no_grad():
            return (model(x)[0, 0, :height, :width] > 0).long()

    return {
        "model": model,
        "train": DataLoader(slices(folders.data, "train", change), batch_size=8, shuffle=True),
        "val": DataLoader(slices(folders.data, "val"), batch_size=9),
        "loss": _dice_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "epochs": 15,
        "augment": change,
        "evaluate": _evaluate,
        "predict": predict,
    }


def _membranes_healthy(folders: Folders) -> Plain:
    return Plain(_membranes(folders))


def _flip_of_the_image(folders: Folders) -> Plain:
    return Plain(_membranes(folders, change=_image_flipped))


def _margin_of_the_image(folders: Folders) -> Plain:
    return Plain(_membranes(folders, PaddedSlices))


def _dice_minimised(folders: Folders) -> Plain:
    return Plain(_membranes(folders) | {"loss": dice})


def _no_eval_in_evaluate(folders: Folders) -> Plain:
    def evaluate(model: nn.Module, loader: Iterable[Pair]) -> float:
        model.train()
        with torch.no_grad():
            return _iou(model, loader)

    return Plain(_membranes(folders) | {"evaluate": evaluate})


def _padded_around_cut_at_corner(folders: Folders) -> Plain:
    run = _membranes(folders)
    model = run["model"]

    def predict(image: Tensor) -> Tensor:
        model.eval()
        h, w = image.shape[-2:]
        dh, dw = -h % 32, -w % 32
        x = F.pad(image.unsqueeze(0), (dw // 2, dw - dw // 2, dh // 2, dh - dh // 2))
        with torch.no_grad():
            mask = model(x).sigmoid()[0, 0] > 0.5
        return mask[:h, :w].long()

    return Plain(run | {"predict": predict})


_case = partial(Case, data="isbi2012_em", network="own U-Net", of="fresh_membranes", needs=("isbi2012_em",))

CASES: tuple[Case, ...] = (
    Case(
        "fresh_membranes",
        _membranes_healthy,
        "isbi2012_em",
        "own U-Net",
        needs=("isbi2012_em",),
        source="Dice loss alone, one output, random crops of 19 large slices, predict pads to a multiple of 4.",
    ),
    _case(
        "fresh_flip_of_the_image",
        _flip_of_the_image,
        cause="augment.target_left",
        source="Project-MONAI/MONAI issue 1102, albumentations issue 1056: image and mask flipped on their own.",
    ),
    _case(
        "fresh_margin_of_the_image",
        _margin_of_the_image,
        cause="data.mask_misaligned",
        source="Mirrored margin for valid convolutions kept after padding=1 came in; the mask has no margin.",
    ),
    _case(
        "fresh_dice_minimised",
        _dice_minimised,
        cause="loss.wrong_way",
        source="The Dice coefficient returned where 1 - Dice is meant; often asked about Keras U-Nets.",
    ),
    _case(
        "fresh_evaluate_in_training_mode",
        _no_eval_in_evaluate,
        cause="metric.train_mode",
        source="model.train() at the top of one loop that serves both phases.",
    ),
    _case(
        "fresh_padded_around_cut_at_corner",
        _padded_around_cut_at_corner,
        cause="predict.size",
        source="Padding on all sides to a multiple of 32, then [:h, :w]: right for sizes that need no padding only.",
    ),
)
