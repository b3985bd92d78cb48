"""Runs by recipe on trees of files: photographs in folders, boxes in YOLO's form, pairs of noisy and clean pictures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageEnhance

from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.tuning.third_photos import lay_out
from benchmarks.mistakes.tuning.third_shapes import scene


def folders_of_classes(folders: Folders, *, leaking: bool = False, **values: Any) -> OfRecipe:
    lay_out(folders)
    if leaking:
        for file in sorted((folders.scratch / "val").rglob("*.png"))[::2]:
            with Image.open(file) as picture:
                brighter = ImageEnhance.Brightness(picture.crop((2, 2, 78, 78)).resize((80, 80))).enhance(1.08)
            brighter.save(folders.scratch / "train" / file.parent.name / f"aug_{file.stem}.jpg", quality=92)
    chosen = {"data.root": str(folders.scratch), "data.size": [64, 64], **values}
    return OfRecipe("folder_resnet18", chosen)


def yolo_boxes(folders: Folders, *, letterboxed: bool = False) -> OfRecipe:
    """data.yaml, images of 96x72 and label files; `letterboxed` boxes are those of the image padded to a square."""
    draw = np.random.default_rng(0)
    above, height = (12, 96) if letterboxed else (0, 72)
    for split, count in (("train", 240), ("val", 60)):
        for part in ("images", "labels"):
            (folders.scratch / part / split).mkdir(parents=True)
        for number in range(count):
            image, boxes, kinds = wide_scene(draw)
            Image.fromarray(image).save(folders.scratch / "images" / split / f"{number:04}.png")
            lines = []
            for (x1, y1, x2, y2), kind in zip(boxes, kinds, strict=True):
                box = ((x1 + x2) / 192, ((y1 + y2) / 2 + above) / height, (x2 - x1) / 96, (y2 - y1) / height)
                lines.append(" ".join([str(kind - 1), *(f"{value:.5f}" for value in box)]))
            (folders.scratch / "labels" / split / f"{number:04}.txt").write_text("\n".join(lines) + "\n")
    about = {"path": ".", "train": "images/train", "val": "images/val", "names": {0: "square", 1: "disc"}}
    (folders.scratch / "data.yaml").write_text(yaml.safe_dump(about))
    return OfRecipe("yolo_ssd", {"data.root": str(folders.scratch), "data.size": [72, 96], "train.batch": 8})


def wide_scene(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The upper three quarters of a scene where all its things are there."""
    while True:
        image, boxes, kinds = scene(draw, 96)
        if (boxes[:, 3] < 72).all():
            return image[:72], boxes, kinds


def noisy_pairs(folders: Folders, *, shift: int = 0, numbered_apart: bool = False) -> OfRecipe:
    """Crops of 88x88 and the same with noise, as two exposures of a camera; `shift` lies between the two."""
    draw = np.random.default_rng(0)
    files = sorted((folders.data / "bsd_denoise/CBSD68").glob("*.jpg"))
    for split, some in (("train", files[:26]), ("val", files[26:])):
        for part in ("noisy", "clean"):
            (folders.scratch / split / part).mkdir(parents=True)
        number = 0
        for file in some:
            picture = np.asarray(Image.open(file).convert("RGB"))
            for _ in range(3):
                y, x = (int(draw.integers(8, side - 96)) for side in picture.shape[:2])
                clean = picture[y : y + 88, x : x + 88]
                moved = picture[y + shift : y + shift + 88, x + shift : x + shift + 88]
                noisy = (moved + draw.normal(0, 25, moved.shape)).round().clip(0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(folders.scratch / split / "noisy" / f"{number:03}.png")
                other = (number + 1) % (3 * len(some)) if numbered_apart else number
                Image.fromarray(clean).save(folders.scratch / split / "clean" / f"{other:03}.png")
                number += 1
    values = {"data.root": str(folders.scratch), "model.width": 8, "train.batch": 8, "data.repeat": 4}
    return OfRecipe("pairs_unet", values)


def case(
    name: str,
    of: str,
    make: Callable[..., OfRecipe],
    cause: str | None,
    source: str,
    also: tuple[str, ...] = (),
    **change: Any,
) -> Case:
    data, network, needs = {
        folders_of_classes: ("caltech101_loc3 pictures of 80 pixels", "resnet18", ("caltech101_loc3",)),
        yolo_boxes: ("generated squares and discs", "ssd on resnet18", ()),
        noisy_pairs: ("bsd_denoise colour crops", "unet_regression of width 8", ("bsd_denoise",)),
    }[make]
    return Case(
        name=name,
        make=lambda folders: make(folders, **change),
        data=data,
        network=network,
        source=source,
        cause=cause,
        of=of,
        also=also,
        needs=needs,
    )


PHOTOGRAPHS = "photographs_in_folders"
YOLO = "shapes_in_yolo_files"
PAIRS = "noisy_and_clean_files"
CASES = (
    case(
        PHOTOGRAPHS, "", folders_of_classes, None, "two hundred pictures from scratch, one class scarce, small inputs"
    ),
    case(YOLO, "", yolo_boxes, None, "small images, two classes, one to three boxes that do not overlap"),
    case(PAIRS, "", noisy_pairs, None, "clipped noise in files of eight bits, the narrowest U-Net"),
    case(
        "augmented_before_split",
        PHOTOGRAPHS,
        folders_of_classes,
        "data.leak",
        "robinreni96/Font_Recognition-DeepFont issue 2: augmented first and split afterwards, so that the other "
        "version of a validation picture is trained on",
        leaking=True,
    ),
    case(
        "rate_scaled_by_batch",
        PHOTOGRAPHS,
        folders_of_classes,
        "optim.rate_high",
        "the linear rule of Goyal et al. 2017 applied to the batch itself, not to the batch over 256: 0.05 times 32",
        **{"train.lr": 1.6},
    ),
    case(
        "mean_in_bytes",
        PHOTOGRAPHS,
        folders_of_classes,
        "data.normalization",
        "OpenMMLab's configurations give mean 123.675 and deviation 58.395 for bytes; copied to where images are 0..1",
        ("data.value_range",),
        **{"data.mean": [123.675, 116.28, 103.53], "data.std": [58.395, 57.12, 57.375]},
    ),
    case(
        "labels_of_letterboxed_images",
        YOLO,
        yolo_boxes,
        "data.mask_misaligned",
        "labels made by a detector whose boxes were not scaled back from its padded square, which Ultralytics' "
        "scale_boxes does, and written as fractions of that square",
        letterboxed=True,
    ),
    case(
        "second_exposure_moved",
        PAIRS,
        noisy_pairs,
        "data.mask_misaligned",
        "the camera moved between the noisy and the clean exposure and nobody registered the two",
        shift=4,
    ),
    case(
        "numbered_from_one",
        PAIRS,
        noisy_pairs,
        "data.target_mismatch",
        "two folders renamed by two scripts, one counting from 0 and one from 1: equal names, other pictures",
        numbered_apart=True,
    ),
)
