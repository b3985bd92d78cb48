"""Runs by recipe on boxes, captions, figures, faces and pairs, with mistakes in files or values."""

from pathlib import Path
from typing import Any

from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.held.trees import box_rows, caption_rows, noisy_pairs


def boxes_recipe(root: Path) -> OfRecipe:
    """The shipped localizer on things of 64x64."""
    augment = [{"translate": {"fraction": 0.1}}, {"flip": {}}]
    values = {"data.root": str(root), "data.size": [64, 64], "data.augment": augment, "train.epochs": 12}
    return OfRecipe("boxes_localizer", values | {"train.warmup_epochs": 1})


def boxes(folders: Folders) -> OfRecipe:
    return boxes_recipe(box_rows(folders.scratch))


def boxes_row_first(folders: Folders) -> OfRecipe:
    return boxes_recipe(box_rows(folders.scratch, lambda box: box[[1, 0, 3, 2]]))


def boxes_of_smaller_pictures(folders: Folders) -> OfRecipe:
    return boxes_recipe(box_rows(folders.scratch, scale=1.5))


def captions_recipe(root: Path, **changes: Any) -> OfRecipe:
    """A small Show and Tell, trained from scratch on scenes of 48x48."""
    values = {
        "data.root": str(root), "data.reader": "captions_csv", "data.size": [48, 48], "data.least_count": 1,
        "model.backbone": "cifar_resnet20", "model.weights": None, "model.frozen": [], "model.embedding": 64,
        "model.hidden": 96, "task.beam": 1, "train.epochs": 24, "train.lr": 3e-3,
    }  # fmt: skip
    return OfRecipe("flickr8k_lstm", values | changes)


def captions(folders: Folders) -> OfRecipe:
    return captions_recipe(caption_rows(folders.scratch))


def captions_one_row_off(folders: Folders) -> OfRecipe:
    return captions_recipe(caption_rows(folders.scratch, shift=1))


def rate_of_fine_tuning(folders: Folders) -> OfRecipe:
    return captions_recipe(caption_rows(folders.scratch), **{"train.lr": 1e-6})


def figures_recipe(**changes: Any) -> OfRecipe:
    """The shipped recipe on generated figures, eight epochs of 600."""
    return OfRecipe("figures_simple_baselines", {"data.count": 600, "train.epochs": 8, "data.size": [64, 64]} | changes)


def figures(folders: Folders) -> OfRecipe:
    return figures_recipe()


def figures_without_pairs(folders: Folders) -> OfRecipe:
    return figures_recipe(**{"data.flip_pairs": []})


def faces_recipe(folders: Folders, **changes: Any) -> OfRecipe:
    """The shipped recipe of ORL's faces, six epochs of it."""
    root = str(folders.data and folders.data / "orl_faces")
    return OfRecipe("orl_arcface", {"data.root": root, "train.epochs": 6, "data.repeat": 4} | changes)


def faces(folders: Folders) -> OfRecipe:
    return faces_recipe(folders)


def cosines_not_scaled(folders: Folders) -> OfRecipe:
    return faces_recipe(folders, **{"task.scale": 1.0})


def pairs_recipe(root: Path) -> OfRecipe:
    """A small U-Net from noisy to clean drawings."""
    values = {"data.root": str(root), "data.repeat": 4, "model.width": 16, "train.epochs": 4, "train.batch": 16}
    return OfRecipe("pairs_unet", values | {"data.train_size": [48, 48]})


def pairs(folders: Folders) -> OfRecipe:
    return pairs_recipe(noisy_pairs(folders.scratch))


def pairs_counted_from_one(folders: Folders) -> OfRecipe:
    return pairs_recipe(noisy_pairs(folders.scratch, first=1))


CASES: tuple[Case, ...] = (
    Case(
        "boxes_by_recipe",
        boxes,
        "generated things, files",
        "localizer by recipe",
        "the shipped recipe for one box a picture",
    ),
    Case(
        "boxes_row_first",
        boxes_row_first,
        "generated things, files",
        "localizer by recipe",
        "columns in the order of TensorFlow, y before x, under the names of the other order",
        cause="data.box_format",
        of="boxes_by_recipe",
        also=("data.mask_misaligned",),
    ),
    Case(
        "boxes_of_smaller_pictures",
        boxes_of_smaller_pictures,
        "generated things, files",
        "localizer by recipe",
        "pictures enlarged after their boxes were drawn",
        cause="data.mask_misaligned",
        of="boxes_by_recipe",
        also=("data.box_format",),
    ),
    Case(
        "captions_by_recipe",
        captions,
        "generated scenes, files",
        "caption_lstm by recipe",
        "the shipped recipe for captions, a backbone trained from scratch",
    ),
    Case(
        "captions_one_row_off",
        captions_one_row_off,
        "generated scenes, files",
        "caption_lstm by recipe",
        "a column of a table that slipped by a row",
        cause="data.target_mismatch",
        of="captions_by_recipe",
    ),
    Case(
        "rate_of_fine_tuning",
        rate_of_fine_tuning,
        "generated scenes, files",
        "caption_lstm by recipe",
        "a rate for fine-tuning, kept with a network that has learned nothing yet",
        cause="optim.rate_low",
        of="captions_by_recipe",
    ),
    Case(
        "figures_by_recipe",
        figures,
        "generated figures by recipe",
        "simple_baselines by recipe",
        "the shipped recipe of stick figures, shorter",
    ),
    Case(
        "figures_without_pairs",
        figures_without_pairs,
        "generated figures by recipe",
        "simple_baselines by recipe",
        "pairs set to none for another set, and mirrors kept",
        cause="augment.pairs_not_swapped",
        of="figures_by_recipe",
    ),
    Case(
        "faces_by_recipe",
        faces,
        "orl_faces",
        "embedder by recipe",
        "the shipped recipe, shorter; people are known again by other pictures, which is the protocol",
        needs=("orl_faces",),
    ),
    Case(
        "cosines_not_scaled",
        cosines_not_scaled,
        "orl_faces",
        "embedder by recipe",
        "Wang et al., arXiv:1704.06369: cosines that are not scaled keep the loss from falling",
        cause="loss.scale",
        of="faces_by_recipe",
        needs=("orl_faces",),
    ),
    Case(
        "pairs_by_recipe",
        pairs,
        "generated drawings, files",
        "unet_regression by recipe",
        "the shipped recipe for pairs, narrower",
    ),
    Case(
        "pairs_counted_from_one",
        pairs_counted_from_one,
        "generated drawings, files",
        "unet_regression by recipe",
        "two programs that number the same pictures from 0 and from 1",
        cause="data.target_mismatch",
        of="pairs_by_recipe",
    ),
)
