"""Cells, membranes and streets by pixels: mistakes of masks, augmentation, norms, losses and metrics."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import UNet
from benchmarks.mistakes.held.runs import Pictures, batches, plain, to_tensor

VOID = 255


class MeanIoU:
    """Intersection over union by class, counted over the set without void, and its mean over the classes there are."""

    def __init__(self, classes: int, ignored: int | None = VOID) -> None:
        self.classes, self.ignored = classes, ignored
        self.reset()

    def reset(self) -> None:
        self.counts = torch.zeros(self.classes, self.classes)

    def update(self, outputs: Tensor, masks: Tensor) -> None:
        kept = masks != self.ignored if self.ignored is not None else torch.ones_like(masks, dtype=torch.bool)
        pairs = masks[kept] * self.classes + outputs.argmax(1)[kept]
        self.counts += torch.bincount(pairs, minlength=self.classes**2).view(self.classes, self.classes)

    def compute(self) -> float:
        hits = self.counts.diag()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return (hits / union)[union > 0].mean().item()


def mean_iou(model: nn.Module, val: Any) -> float:
    """Mean intersection over union of the three classes over the set."""
    metric = MeanIoU(3)
    model.eval()
    with torch.no_grad():
        for images, masks in batches(val, 16):
            metric.update(model(images), masks)
    model.train()
    return metric.compute()


def flipped(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Both mirrored half of the time, in each direction."""
    for axis in (-1, -2):
        if torch.rand(()) < 0.5:
            image, mask = image.flip(axis), mask.flip(axis)
    return image, mask


def as_masks(masks: np.ndarray) -> list[Tensor]:
    """Masks as the loss takes them."""
    return [torch.from_numpy(mask.astype(np.int64)) for mask in masks]


def cell_sets(**options: Any) -> tuple[DataLoader, Pictures]:
    """160 pictures in batches of 8, and 40 to validate."""
    (pictures, masks), (val_pictures, val_masks) = drawn.cells(160, 1), drawn.cells(40, 2)
    train = Pictures(pictures, as_masks(masks), **options)
    return DataLoader(train, 8, shuffle=True), Pictures(val_pictures, as_masks(val_masks))


def without_void(outputs: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy over the pixels that have a class."""
    return F.cross_entropy(outputs, masks, ignore_index=VOID)


def cells_run(model: nn.Module, *, sets: tuple[Any, Any] | None = None, **more: Any) -> Plain:
    """A run on cells; predict answers a mask of the picture's size."""
    train, val = sets or cell_sets(augment=flipped)

    def predict(picture: Any) -> np.ndarray:
        model.eval()
        height, width = picture.shape[:2]
        image = F.pad(to_tensor(picture)[None], (0, -width % 4, 0, -height % 4), mode="replicate")
        with torch.no_grad():
            return model(image)[0, :, :height, :width].argmax(0).numpy()

    more = {"evaluate": mean_iou, "metric": MeanIoU(3), "predict": predict, "task": "segmentation"} | more
    return plain(model, train, val, more.pop("loss", without_void), **more)


def cells(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return cells_run(UNet(3), augment=flipped)


def mask_drawn_anew(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def augment(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        def transform(x: Tensor) -> Tensor:
            return x.flip(-1) if torch.rand(()) < 0.5 else x

        return transform(image), transform(mask)

    return cells_run(UNet(3), sets=cell_sets(augment=augment), augment=augment)


def turned(how: InterpolationMode) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Rotation by up to 30 degrees; what comes in from outside is void."""

    def augment(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        angle = float(torch.empty(()).uniform_(-30, 30))
        image = TF.rotate(image, angle, InterpolationMode.BILINEAR)
        return image, TF.rotate(mask[None].float(), angle, how, fill=[VOID])[0].round().long()

    return augment


def mask_turned_smoothly(folders: Folders) -> Plain:
    torch.manual_seed(0)
    augment = turned(InterpolationMode.BILINEAR)

    def loss(outputs: Tensor, masks: Tensor) -> Tensor:
        return F.cross_entropy(outputs, masks.where(masks < 3, VOID), ignore_index=VOID)

    return cells_run(UNet(3), sets=cell_sets(augment=augment), augment=augment, loss=loss)


def left_in_evaluation_mode(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = UNet(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def step(batch: Any) -> Tensor:
        images, masks = batch
        optimizer.zero_grad()
        loss = without_void(model(images), masks)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanIoU(3)
        model.eval()
        with torch.no_grad():
            for images, masks in batches(val, 16):
                metric.update(model(images), masks)
        return metric.compute()

    run = cells_run(model, optimizer=optimizer, step=step, evaluate=evaluate)
    evaluate(model, run.arguments["val"])
    return run


def iou_of_batches(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def batch_iou(outputs: Tensor, masks: Tensor) -> float:
        answers, kept = outputs.argmax(1), masks != VOID
        scores = []
        for c in range(3):
            hits = ((answers == c) & (masks == c)).sum().item()
            union = (((answers == c) | (masks == c)) & kept).sum().item()
            scores.append(hits / union if union else 0.0)
        return float(np.mean(scores))

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            return float(np.mean([batch_iou(model(images), masks) for images, masks in DataLoader(val, 4)]))

    return cells_run(UNet(3), metric=batch_iou, evaluate=evaluate)


def void_counts_as_wrong(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def pixel_accuracy(outputs: Tensor, masks: Tensor) -> Tensor:
        return (outputs.argmax(1) == masks).float().mean()

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        right = total = 0
        with torch.no_grad():
            for images, masks in batches(val, 16):
                right += (model(images).argmax(1) == masks).sum().item()
                total += masks.numel()
        return right / total

    return cells_run(UNet(3), metric=pixel_accuracy, evaluate=evaluate)


def probabilities_over_the_batch(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanIoU(3)
        model.eval()
        with torch.no_grad():
            for images, masks in batches(val, 16):
                metric.update(F.softmax(model(images), dim=0), masks)
        model.train()
        return metric.compute()

    def metric(outputs: Tensor, masks: Tensor) -> Tensor:
        answers, kept = F.softmax(outputs, dim=0).argmax(1), masks != VOID
        return (answers[kept] == masks[kept]).float().mean()

    return cells_run(UNet(3), evaluate=evaluate, metric=metric)


def evaluated_in_training_mode(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanIoU(3)
        with torch.no_grad():
            for images, masks in batches(val, 16):
                metric.update(model(images), masks)
        return metric.compute()

    return cells_run(UNet(3), evaluate=evaluate)


CASES: tuple[Case, ...] = (
    Case(
        "cells",
        cells,
        "generated cells",
        "UNet",
        "a rim of void around each cell, 255, left out by loss and metric",
    ),
    Case(
        "mask_drawn_anew",
        mask_drawn_anew,
        "generated cells",
        "UNet",
        "Project-MONAI/MONAI#1102, albumentations-team/albumentations#397: picture and mask draw their own numbers",
        cause="augment.target_left",
        of="cells",
    ),
    Case(
        "mask_turned_smoothly",
        mask_turned_smoothly,
        "generated cells",
        "UNet",
        "divamgupta/image-segmentation-keras#11, kornia/kornia#476: masks interpolated as pictures are",
        cause="augment.mask_interpolated",
        of="cells",
        also=("data.soft_mask",),
    ),
    Case(
        "left_in_evaluation_mode",
        left_in_evaluation_mode,
        "generated cells",
        "UNet",
        "wkentaro/pytorch-fcn#57, ermongroup/ncsn#2: back from evaluation without a call of train",
        cause="norm.frozen",
        of="cells",
    ),
    Case(
        "iou_of_batches",
        iou_of_batches,
        "generated cells",
        "UNet",
        "IvLabs/stagewise-knowledge-distillation#12: mean over batches, where an absent class counts as 0",
        cause="metric.averaged_batches",
        of="cells",
        also=("metric.not_perfect",),
    ),
    Case(
        "void_counts_as_wrong",
        void_counts_as_wrong,
        "generated cells",
        "UNet",
        "void has no class, so that no answer is right there; the score divides by all pixels",
        cause="metric.ignored_counted",
        of="cells",
        also=("metric.not_perfect",),
    ),
    Case(
        "probabilities_over_the_batch",
        probabilities_over_the_batch,
        "generated cells",
        "UNet",
        "softmax over the wrong axis before argmax: pictures of a batch compete",
        cause="metric.wrong_axis",
        of="cells",
        also=("metric.averaged_batches",),
    ),
    Case(
        "evaluated_in_training_mode",
        evaluated_in_training_mode,
        "generated cells",
        "UNet",
        "ashafahi/free_adv_train#4, pliang279/MultiBench#26: no call of eval in evaluation",
        cause="metric.train_mode",
        of="cells",
    ),
)
