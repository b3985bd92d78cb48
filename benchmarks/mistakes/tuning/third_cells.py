"""Cells on a grey ground against the rest of the picture: a small U-Net under Dice and cross-entropy."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

SIDE = 64


def slide(rng: np.random.Generator, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of bent, soft cells on a mottled ground with bright dust, and the mask of the cells."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    mask = np.zeros((SIDE, SIDE))
    for _ in range(cells):
        centre, angle = rng.uniform(6, SIDE - 6, 2), rng.uniform(0, np.pi)
        long, wide = rng.uniform(7, 11), rng.uniform(4, 6)
        u = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
        v = (y - centre[1]) * np.cos(angle) - (x - centre[0]) * np.sin(angle) + 0.04 * u**2
        mask = np.maximum(mask, ((u / long) ** 2 + (v / wide) ** 2 < 1).astype(float))
    ground = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 5) * 1.2
    fine = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 0.8)
    dust = gaussian_filter((rng.random((SIDE, SIDE)) < 0.004).astype(float), 0.8) * 3
    picture = ground + dust + 0.25 * fine + mask * (0.45 + 0.8 * fine)
    return picture + rng.normal(0, 0.08, picture.shape), mask


def slides(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """As many slides; every fifth has no cell."""
    rng = np.random.default_rng(seed)
    pairs = [slide(rng, 0 if index % 5 == 4 else int(rng.integers(1, 6))) for index in range(count)]
    pictures, masks = (torch.from_numpy(np.stack(part)).float()[:, None] for part in zip(*pairs, strict=True))
    return pictures, masks


def flipped_together(picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    for axis in (-1, -2):
        if torch.rand(()) < 0.5:
            picture, mask = picture.flip(axis), mask.flip(axis)
    return picture, mask


def flipped_apart(picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    def transform(x: Tensor) -> Tensor:
        for axis in (-1, -2):
            if torch.rand(()) < 0.5:
                x = x.flip(axis)
        return x

    return transform(picture), transform(mask)


class Slides(Dataset):
    def __init__(self, pairs: tuple[Tensor, Tensor], augment: Callable | None = None) -> None:
        self.pictures, self.masks = pairs
        self.augment = augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pictures[index], self.masks[index]
        return self.augment(*pair) if self.augment else pair


def double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


def bilinear(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(before, after, 1))


def transposed(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)


class UNet(nn.Module):
    """Three levels; the decoder's blocks stand in `container`."""

    def __init__(self, widths: tuple[int, ...], up: Callable[[int, int], nn.Module], container: Callable) -> None:
        super().__init__()
        self.down = nn.ModuleList(double(a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.ups = nn.ModuleList(up(a, b) for a, b in pairs)
        self.decoder = container([double(2 * b, b) for _, b in pairs])
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for block in self.down:
            x = block(functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        kept.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([up(x), kept.pop()], 1))
        return self.last(x)


class DiceLoss(nn.Module):
    """One less the overlap of the batch; `from_logits` as other packages name it."""

    def __init__(self, *, inverted: bool = False) -> None:
        super().__init__()
        self.from_logits, self.inverted = True, inverted

    def forward(self, outputs: Tensor, masks: Tensor) -> Tensor:
        if self.from_logits != self.inverted:
            outputs = outputs.sigmoid()
        both = (outputs * masks).sum()
        return 1 - (2 * both + 1) / (outputs.sum() + masks.sum() + 1)


def mixed(outputs: Tensor, masks: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, masks) + DiceLoss()(outputs, masks)


def iou_of_set(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    both = either = 0
    with torch.no_grad():
        for pictures, masks in loader:
            said, true = model(pictures) > 0, masks > 0.5
            both += int((said & true).sum())
            either += int((said | true).sum())
    return both / max(either, 1)


def iou_of_batches(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    scores = []
    with torch.no_grad():
        for pictures, masks in loader:
            said, true = model(pictures) > 0, masks > 0.5
            scores.append(((said & true).sum() + 1e-6) / ((said | true).sum() + 1e-6))
    return float(torch.stack(scores).mean())


def run(
    folders: Folders,
    *,
    augment: Callable = flipped_together,
    up: Callable[[int, int], nn.Module] = bilinear,
    container: Callable = nn.ModuleList,
    loss: Callable[[Tensor, Tensor], Tensor] = mixed,
    evaluate: Callable[[nn.Module, DataLoader], float] = iou_of_set,
    val_batch: int = 8,
) -> Plain:
    torch.manual_seed(0)
    train_set, val_set = Slides(slides(160, 1), augment), Slides(slides(50, 2))
    train = DataLoader(train_set, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    val = DataLoader(val_set, val_batch)
    model = UNet((12, 24, 48), up, container)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    arguments = {
        "model": model,
        "train": train,
        "val": val,
        "loss": loss,
        "optimizer": optimizer,
        "epochs": 15,
        "augment": augment,
        "evaluate": evaluate,
        "task": "segmentation",
    }
    return Plain(arguments)


HEALTHY = "cells_by_unet_dice_and_entropy"
planted = partial(Case, data="generated cells", network="small U-Net", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated cells",
        "small U-Net",
        "one output a pixel, masks as floats, every fifth picture without a cell, sum of two losses",
    ),
    planted(
        "cells_dice_of_raw_scores",
        partial(run, loss=DiceLoss(inverted=True)),
        cause="network.double_softmax",
        source="mberkay0/pretrained-backbones-unet #7: `if not from_logits` where `if` was meant, so Dice sees raw "
        "scores",
    ),
    planted(
        "cells_picture_and_mask_flipped_apart",
        partial(run, augment=flipped_apart),
        cause="augment.target_left",
        source="people give torchvision's random transforms once to the picture and once to the mask; each draws anew",
    ),
    planted(
        "cells_iou_averaged_over_batches",
        partial(run, evaluate=iou_of_batches, val_batch=4),
        cause="metric.averaged_batches",
        source="IvLabs/stagewise-knowledge-distillation #12, qubvel-org/segmentation_models.pytorch #207: another "
        "batch size, "
        "another IoU",
    ),
    planted(
        "cells_transposed_kernel_3_stride_2",
        partial(run, up=transposed),
        cause="network.checkerboard",
        source="Odena et al. 2016, Deconvolution and Checkerboard Artifacts; U-Nets of Keras tutorials use "
        "Conv2DTranspose(filters, 3, strides=2)",
    ),
    planted(
        "cells_decoder_in_a_list",
        partial(run, container=list),
        cause="network.unused_layer",
        source="torch's documentation of ModuleList: modules in a Python list are not registered; the decoder stays "
        "random",
        also=("optim.missing_parameters",),
    ),
)
