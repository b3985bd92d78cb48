"""Mistakes in the data that a recipe reads."""

import shutil

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.mistakes.case import Folders, OfRecipe
from benchmarks.mistakes.tuning import generated, trees
from benchmarks.mistakes.tuning.pieces import as_bytes, planted
from benchmarks.mistakes.tuning.recipes import (
    BOXES,
    CAPTIONS,
    FOLDER,
    PAIRS,
    SCENES,
    SIGNS,
    small_captioner,
    small_classifier,
    small_denoiser,
    small_embedder,
    small_localizer,
    small_unet,
)


def copies_in_validation(folders: Folders) -> OfRecipe:
    """Four training pictures stand in validation under other names, one of them in another size."""
    train, _ = trees.texture_folders(folders.scratch)
    for i, path in enumerate(train[:4]):
        with Image.open(path) as picture:
            copy = picture.resize((40, 40)) if i == 0 else picture.copy()
        copy.save(folders.scratch / "val" / path.parent.name / f"copy_of_{path.stem}.jpg", quality=90)
    return small_classifier(folders)


def frames_of_one_video(folders: Folders) -> OfRecipe:
    """Frames of each video, drawn at random for training and validation."""
    images, labels = generated.textures(40, 1, size=40)
    rng = np.random.default_rng(0)
    for video, (picture, label) in enumerate(zip(as_bytes(images), labels.tolist(), strict=True)):
        for frame in range(8):
            top, left = rng.integers(0, 8, 2)
            light = rng.uniform(0.85, 1.15)
            noisy = picture[top : top + 32, left : left + 32] * light + rng.normal(0, 6, (32, 32, 3))
            split = "val" if rng.random() < 0.25 else "train"
            name = folders.scratch / split / generated.TEXTURES[label] / f"video{video:02d}_frame{frame}.png"
            trees.save(noisy.clip(0, 255).astype(np.uint8), name)
    return small_classifier(folders)


def wrong_folders(folders: Folders) -> OfRecipe:
    """One picture of twelve lies in the folder of another class."""
    train, _ = trees.texture_folders(folders.scratch)
    for i, path in enumerate(train):
        if i % 12 == 5:
            others = [name for name in generated.TEXTURES if name != path.parent.name]
            path.rename(path.parent.parent / others[i % 3] / path.name)
    return small_classifier(folders)


def not_available(folders: Folders) -> OfRecipe:
    """A third of the downloads of one class is the picture that says that there is none."""
    train, _ = trees.texture_folders(folders.scratch)
    blank = np.full((32, 32, 3), 238, np.uint8)
    blank[12:20, 4:28] = 190
    for path in [path for path in train if path.parent.name == "dots"][::3]:
        trees.save(blank, path)
    return small_classifier(folders)


def validation_at_night(folders: Folders) -> OfRecipe:
    """Validation was taken in the evening."""
    _, val = trees.texture_folders(folders.scratch)
    for path in val:
        with Image.open(path) as picture:
            dark = (np.array(picture) * 0.25).astype(np.uint8)
        trees.save(dark, path)
    return small_classifier(folders)


def pages_for_pictures(folders: Folders) -> OfRecipe:
    """Some downloads are pages that say 404, with the names of pictures, and some are empty."""
    train, _ = trees.texture_folders(folders.scratch)
    for i, path in enumerate(train[:20:2]):
        path.write_bytes(b"" if i % 3 == 0 else b"<!DOCTYPE html><title>404 Not Found</title>")
    return small_classifier(folders)


def class_of_training_only(folders: Folders) -> OfRecipe:
    """One class has no folder in validation."""
    trees.texture_folders(folders.scratch)
    shutil.rmtree(folders.scratch / "val" / "dots")
    return small_classifier(folders)


def rare_folder(folders: Folders) -> OfRecipe:
    """One of two classes has four pictures, the other hundreds."""
    for split, count, seed, rare in (("train", 300, 1, 0.02), ("val", 100, 2, 0.5)):
        images, labels = generated.textures(count, seed, shares=(0.0, 0.0, 1 - rare, rare))
        trees.class_folders(folders.scratch / split, images, labels, generated.TEXTURES)
    return small_classifier(folders)


def with_masks(folders: Folders, masks: Tensor, suffix: str = "png") -> OfRecipe:
    """The folder of scenes with other masks."""
    trees.mask_folders(folders.scratch, masks=masks, suffix=suffix)
    return small_unet(folders)


def right_masks() -> Tensor:
    """Those of the healthy run."""
    return generated.scenes(120, 21, border=False)[1]


def shifted_masks(folders: Folders) -> OfRecipe:
    """Masks are five pixels to the right and below, as a crop was made of the images only."""
    return with_masks(folders, right_masks().roll((5, 5), (1, 2)))


def masks_of_the_next(folders: Folders) -> OfRecipe:
    """Masks are numbered from 1 and images from 0, and were renamed to fit."""
    return with_masks(folders, right_masks().roll(1, 0))


def masks_from_one(folders: Folders) -> OfRecipe:
    """Ground is 1, disc 2 and square 3, and the list has three names."""
    return with_masks(folders, right_masks() + 1)


def masks_in_jpeg(folders: Folders) -> OfRecipe:
    """Masks exported as JPEG."""
    return with_masks(folders, right_masks(), "jpg")


def masks_blended(folders: Folders) -> OfRecipe:
    """Masks were enlarged and reduced with interpolation, so that between ground and square there is disc."""
    soft = torch.nn.functional.interpolate(right_masks()[:, None].float(), (120, 120), mode="bilinear")
    back = torch.nn.functional.interpolate(soft, (48, 48), mode="bilinear")[:, 0]
    return with_masks(folders, back.round().long())


def clean_of_another(folders: Folders) -> OfRecipe:
    """Clean pictures were sorted by their time and the noisy ones by their name."""
    trees.noisy_pairs(folders.scratch, np.random.default_rng(0).permutation(96).tolist())
    return small_denoiser(folders)


def rows_before_columns(folders: Folders) -> OfRecipe:
    """Corners as (row, column) under the names of x and y."""
    trees.box_table(folders.scratch, lambda boxes: boxes[:, [1, 0, 3, 2]])
    return small_localizer(folders)


def boxes_of_nothing(folders: Folders) -> OfRecipe:
    """A click without dragging leaves a box without extent, and a few end outside of the picture."""

    def change(boxes: Tensor) -> Tensor:
        written = boxes.clone()
        written[::10, 2:] = written[::10, :2]
        written[5::10, 2] = 90.0
        return written

    trees.box_table(folders.scratch, change)
    return small_localizer(folders)


def sentence_of_the_row_before(folders: Folders) -> OfRecipe:
    """A row was inserted in one of two columns."""
    trees.caption_table(folders.scratch, shift=1)
    return small_captioner(folders)


def people_under_two_names(folders: Folders) -> OfRecipe:
    """The signs of the pairs stand in training, too, in folders of other names."""
    paths = trees.sign_folders(folders.scratch)
    for sign in range(16, 24):
        (folders.scratch / f"SIGN_{sign:02d}_new").mkdir()
        for path in paths[sign]:
            with Image.open(path) as picture:
                lighter = (np.array(picture) * 0.95).astype(np.uint8)
            trees.save(lighter, folders.scratch / f"SIGN_{sign:02d}_new" / path.name)
    return small_embedder(folders)


CASES = (
    planted(FOLDER, "copies_in_the_folder_of_validation", "data.leak", copies_in_validation, "tqwei05/PlantSeg#11"),
    planted(
        FOLDER,
        "frames_of_one_video",
        "data.subject_leak",
        frames_of_one_video,
        "anhpd-glinteco/face-mask-detection#3",
        also=("data.leak",),
    ),
    planted(
        FOLDER, "files_in_wrong_folders", "data.label_noise", wrong_folders, "Northcutt et al. 2021, arXiv:2103.14749"
    ),
    planted(
        FOLDER,
        "picture_that_says_there_is_none",
        "data.constant",
        not_available,
        "photograph services answer so; hymenoptera has an imageNotFound.gif",
        also=("data.leak",),
    ),
    planted(
        FOLDER, "validation_at_night", "data.split_shift", validation_at_night, "parts are taken one after another"
    ),
    planted(
        FOLDER,
        "pages_with_names_of_pictures",
        "data.unreadable",
        pages_for_pictures,
        "downloads by a list of addresses",
    ),
    planted(
        FOLDER,
        "class_without_validation",
        "data.class_one_split",
        class_of_training_only,
        "folders are divided by hand",
    ),
    planted(FOLDER, "four_pictures_of_a_class", "data.imbalance", rare_folder, "defects are rare"),
    planted(
        SCENES,
        "masks_shifted_in_files",
        "data.mask_misaligned",
        shifted_masks,
        "images are cropped after their masks were drawn",
    ),
    planted(SCENES, "masks_of_the_next_image", "data.target_mismatch", masks_of_the_next, "minar09/cp-vton-plus#11"),
    planted(SCENES, "mask_files_from_one", "data.label_range", masks_from_one, "labels of Matlab count from 1"),
    planted(SCENES, "mask_files_in_jpeg", "data.soft_mask", masks_in_jpeg, "mantasu/glasses-detector#23"),
    planted(SCENES, "mask_files_interpolated", "data.soft_mask", masks_blended, "ykamikawa/tf-keras-PSPNet#2"),
    planted(PAIRS, "clean_pictures_of_others", "data.target_mismatch", clean_of_another, "tamarott/SinGAN#136"),
    planted(
        BOXES,
        "rows_in_columns_of_x",
        "data.box_format",
        rows_before_columns,
        "Fang-Haoshu/Halpe-FullBody#4 has another order; numpy gives rows first",
    ),
    planted(BOXES, "boxes_without_extent", "data.box_invalid", boxes_of_nothing, "two boxes of BCCD are so"),
    planted(
        CAPTIONS,
        "sentences_a_row_further",
        "data.target_mismatch",
        sentence_of_the_row_before,
        "a spreadsheet's cell was inserted",
    ),
    planted(
        SIGNS,
        "people_under_two_names",
        "data.subject_leak",
        people_under_two_names,
        "UCSD-AI4H/COVID-CT#11",
        also=("data.leak",),
    ),
)
