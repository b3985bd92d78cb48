"""Runs by recipe whose mistake stands in the files of the set, or in a value of the recipe."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.held.trees import class_folders, mask_folders


def textures_recipe(root: Path, **changes: Any) -> OfRecipe:
    """A small residual network on textures."""
    augment = [{"translate": {"pixels": 4}}, {"flip": {}}]
    values = {
        "data.root": str(root), "data.size": [32, 32], "data.augment": augment, "model.name": "cifar_resnet20",
        "train.epochs": 12, "train.warmup_epochs": 1, "train.ema": None,
    }  # fmt: skip
    return OfRecipe("folder_resnet18", values | changes)


def textures(folders: Folders) -> OfRecipe:
    return textures_recipe(class_folders(folders.scratch))


def sorted_in_a_hurry(folders: Folders) -> OfRecipe:
    def change(root: Path) -> None:
        rng = np.random.default_rng(0)
        files = sorted((root / "train").rglob("*.png"))
        kinds = sorted((root / "train").iterdir())
        for i in rng.choice(len(files), len(files) * 8 // 100, replace=False):
            others = [kind for kind in kinds if kind != files[i].parent]
            files[i].rename(others[int(rng.integers(len(others)))] / files[i].name)

    return textures_recipe(class_folders(folders.scratch, change=change))


def validated_with_another_camera(folders: Folders) -> OfRecipe:
    def change(root: Path) -> None:
        for file in (root / "val").rglob("*.png"):
            grey = ImageOps.grayscale(Image.open(file)).point([v // 3 for v in range(256)])
            grey.convert("RGB").save(file)

    return textures_recipe(class_folders(folders.scratch, change=change))


def copies_allowed(folders: Folders) -> OfRecipe:
    def change(root: Path) -> None:
        copies = np.random.default_rng(0).choice(sorted((root / "train").rglob("*.png")), 30, replace=False)
        for file in copies:
            again = root / "val" / file.parent.name / f"copy_{file.stem}.jpg"
            Image.open(file).save(again, quality=92)

    return textures_recipe(class_folders(folders.scratch, change=change), **{"data.allow_duplicates": True})


def crops_of_a_few_pixels(folders: Folders) -> OfRecipe:
    augment = [{"resized_crop": {"area": [0.004, 0.02]}}, {"flip": {}}]
    return textures_recipe(class_folders(folders.scratch), **{"data.augment": augment})


def rate_times_the_batch(folders: Folders) -> OfRecipe:
    return textures_recipe(class_folders(folders.scratch), **{"train.lr": 0.1 * 32, "train.warmup_epochs": 0})


def milestones_of_a_short_run(folders: Folders) -> OfRecipe:
    changes = {"train.schedule": "step", "train.milestones": [1, 2, 3], "train.warmup_epochs": 0}
    return textures_recipe(class_folders(folders.scratch), **changes)


def two_pictures_a_batch(folders: Folders) -> OfRecipe:
    return textures_recipe(
        class_folders(folders.scratch), **{"model.name": "resnet18", "train.batch": 2, "train.lr": 0.005}
    )


def digits_recipe(folders: Folders, **changes: Any) -> OfRecipe:
    """The shipped recipe of MNIST, an epoch of it."""
    return OfRecipe(
        "mnist_convnet", {"data.root": str(folders.data and folders.data / "mnist"), "train.epochs": 1} | changes
    )


def digits(folders: Folders) -> OfRecipe:
    return digits_recipe(folders)


def digits_mirrored_and_turned(folders: Folders) -> OfRecipe:
    return digits_recipe(folders, **{"data.augment": [{"flip": {}}, {"turn": {}}]})


def statistics_of_bytes(folders: Folders) -> OfRecipe:
    return digits_recipe(folders, **{"data.mean": [33.3], "data.std": [78.6]})


def clipped_to_a_hundredth(folders: Folders) -> OfRecipe:
    return digits_recipe(
        folders, **{"train.optimizer": "sgd", "train.lr": 0.05, "train.clip_norm": 0.01, "train.schedule": "constant"}
    )


def cells_recipe(root: Path, **changes: Any) -> OfRecipe:
    """A U-Net on cells of 64x64."""
    values = {
        "data.root": str(root), "data.train_size": [64, 64], "data.augment": [{"flip": {}}, {"crop": {}}],
        "train.epochs": 10, "train.ema": None,
    }  # fmt: skip
    return OfRecipe("folder_unet", values | changes)


def cells(folders: Folders) -> OfRecipe:
    return cells_recipe(mask_folders(folders.scratch))


def masks_from_below(folders: Folders) -> OfRecipe:
    return cells_recipe(mask_folders(folders.scratch, lambda mask: np.ascontiguousarray(mask[::-1])))


def masks_made_smaller(folders: Folders) -> OfRecipe:
    def change(mask: np.ndarray) -> np.ndarray:
        fine = Image.fromarray(mask).resize((96, 96), Image.Resampling.NEAREST)
        return np.asarray(fine.resize((64, 64), Image.Resampling.BILINEAR))

    return cells_recipe(mask_folders(folders.scratch, change))


def frozen_without_weights(folders: Folders) -> OfRecipe:
    return cells_recipe(mask_folders(folders.scratch), **{"model.frozen": ["backbone"]})


CASES: tuple[Case, ...] = (
    Case(
        "textures_by_recipe",
        textures,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "the shipped recipe for folders, with a small network",
    ),
    Case(
        "sorted_in_a_hurry",
        sorted_in_a_hurry,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "Northcutt et al., arXiv:2103.14749: a few percent of the labels of common sets are wrong; 8 in 100 here",
        cause="data.label_noise",
        of="textures_by_recipe",
    ),
    Case(
        "validated_with_another_camera",
        validated_with_another_camera,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "pictures of validation taken later, dark and without colour",
        cause="data.split_shift",
        of="textures_by_recipe",
    ),
    Case(
        "copies_allowed",
        copies_allowed,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "Barz and Denzler, arXiv:1902.00423: copies in validation; the refusal was silenced rather than looked into",
        cause="data.leak",
        of="textures_by_recipe",
    ),
    Case(
        "crops_of_a_few_pixels",
        crops_of_a_few_pixels,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "the least area of RandomResizedCrop lowered by a decade too many, on pictures that are small already",
        cause="augment.too_strong",
        of="textures_by_recipe",
    ),
    Case(
        "rate_times_the_batch",
        rate_times_the_batch,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "the linear rule (Goyal et al., arXiv:1706.02677) taken as rate times batch size",
        cause="optim.rate_high",
        of="textures_by_recipe",
    ),
    Case(
        "milestones_of_a_short_run",
        milestones_of_a_short_run,
        "generated textures, files",
        "cifar_resnet20 by recipe",
        "milestones of a trial of four epochs kept in a run of twelve",
        cause="optim.schedule",
        of="textures_by_recipe",
        also=("optim.rate_low",),
    ),
    Case(
        "two_pictures_a_batch",
        two_pictures_a_batch,
        "generated textures, files",
        "resnet18 by recipe",
        "Wu and He, arXiv:1803.08494: batches of two under batch norm",
        cause="norm.small_batch",
        of="textures_by_recipe",
    ),
    Case(
        "digits_by_recipe",
        digits,
        "mnist",
        "mnist_convnet by recipe",
        "the shipped recipe, one epoch",
        needs=("mnist",),
    ),
    Case(
        "digits_mirrored_and_turned",
        digits_mirrored_and_turned,
        "mnist",
        "mnist_convnet by recipe",
        "flips and quarter turns of photographs used on digits, where 6 becomes 9",
        cause="augment.changes_meaning",
        of="digits_by_recipe",
        needs=("mnist",),
    ),
    Case(
        "statistics_of_bytes",
        statistics_of_bytes,
        "mnist",
        "mnist_convnet by recipe",
        "mean and deviation of bytes where values are from 0 to 1",
        cause="data.normalization",
        of="digits_by_recipe",
        also=("data.value_range",),
        needs=("mnist",),
    ),
    Case(
        "clipped_to_a_hundredth",
        clipped_to_a_hundredth,
        "mnist",
        "mnist_convnet by recipe",
        "a bound of another problem: the norm is over it in every step (Pascanu et al., arXiv:1211.5063)",
        cause="optim.always_clipped",
        of="digits_by_recipe",
        also=("optim.rate_low",),
        needs=("mnist",),
    ),
    Case(
        "cells_by_recipe",
        cells,
        "generated cells, files",
        "unet by recipe",
        "the shipped recipe for masks, for cells of two kinds",
    ),
    Case(
        "masks_from_below",
        masks_from_below,
        "generated cells, files",
        "unet by recipe",
        "masks written by a program that counts rows from below",
        cause="data.mask_misaligned",
        of="cells_by_recipe",
    ),
    Case(
        "masks_made_smaller",
        masks_made_smaller,
        "generated cells, files",
        "unet by recipe",
        "shekkizh/FCN.tensorflow#4, tensorflow/docs#2159: masks resized smoothly; between 0 and 2 lies 1, a class",
        cause="data.soft_mask",
        of="cells_by_recipe",
        also=("data.label_noise",),
    ),
    Case(
        "frozen_without_weights",
        frozen_without_weights,
        "generated cells, files",
        "unet by recipe",
        "`frozen` kept from a recipe with trained weights: a random backbone that never learns",
        cause="norm.frozen",
        of="cells_by_recipe",
        also=("network.no_gradient", "optim.missing_parameters"),
    ),
)
