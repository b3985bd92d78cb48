"""Recipes on small trees of our own: the mistake stands in the files, or in a value as somebody writes it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.mistakes.case import Case, Folders, OfRecipe

Rng = np.random.Generator


def paper(rng: Rng, side: int, low: int, high: int) -> Image.Image:
    spots = Image.fromarray(rng.integers(low, high, (7, 7, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    return spots.filter(ImageFilter.GaussianBlur(1))


def grain(image: Image.Image, rng: Rng, much: float = 6.0) -> Image.Image:
    pixels = np.asarray(image).astype(float)
    return Image.fromarray((pixels + rng.normal(0, much, pixels.shape)).clip(0, 255).astype(np.uint8))


def bright(rng: Rng) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.integers(180, 255, 3))


# Road signs: one folder a class ------------------------------

TURNS = {"ahead": 0.0, "left": np.pi / 2, "right": -np.pi / 2}


def draw_sign(rng: Rng, turn: float, side: int = 56) -> Image.Image:
    """A round sign with an arrow that points up, to the left or to the right."""
    image = paper(rng, side, 20, 160)
    pen = ImageDraw.Draw(image)
    middle = side / 2 + rng.uniform(-5, 5, 2)
    radius = rng.uniform(15, 20)
    pen.ellipse([*(middle - radius), *(middle + radius)], fill=(30, 60, int(rng.integers(130, 220))))
    angle = turn + rng.normal(0, 0.12)
    ahead = np.array([-np.sin(angle), -np.cos(angle)]) * radius
    aside = np.array([ahead[1], -ahead[0]])
    fill = bright(rng)
    pen.line([*(middle - 0.7 * ahead), *(middle + 0.3 * ahead)], fill=fill, width=4)
    tip = [middle + 0.8 * ahead, middle + 0.1 * ahead + 0.5 * aside, middle + 0.1 * ahead - 0.5 * aside]
    pen.polygon([tuple(point) for point in tip], fill=fill)
    return grain(image, rng)


def write_signs(root: Path, *, copies: int = 0, deep: bool = False) -> None:
    """60 pictures a class to learn from, 20 to measure; `copies` of the 20 are pictures of training, saved again."""
    rng = np.random.default_rng(71)
    for name, turn in TURNS.items():
        for split, count in (("train", 60), ("val", 20)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture = draw_sign(rng, turn)
                if split == "val" and number < copies:
                    with Image.open(root / "train" / name / f"{name}_{number * 2:03}.jpg") as learned:
                        picture = learned.resize((64, 64), Image.BICUBIC)
                if deep:  # of a camera with 12 bits, in a file with 16
                    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 16 + rng.integers(0, 16, (56, 56))
                    Image.fromarray(grey.astype(np.uint16)).save(folder / f"{name}_{number:03}.png")
                else:
                    picture.save(folder / f"{name}_{number:03}.jpg", quality=90)


SIGNS = {
    "data.size": [48, 48],
    "data.augment": [{"resized_crop": {"area": [0.6, 1.0]}}, {"color_jitter": {"brightness": 0.3, "contrast": 0.3}}],
    "model.width": 16,
    "train.batch": 20,
}


def signs(folders: Folders, values: Mapping[str, Any], **how: Any) -> OfRecipe:
    write_signs(folders.scratch / "signs", **how)
    return OfRecipe("folder_resnet18", {"data.root": str(folders.scratch / "signs"), **SIGNS, **values})


# Fields from above: images, masks, classes.txt ------------------------------


def draw_field(rng: Rng, side: int = 72) -> tuple[Image.Image, Image.Image]:
    """Soil with round crops and a few thin weeds, and the class of each pixel: 0, 1, 2."""
    image, mask = paper(rng, side, 70, 130), Image.new("L", (side, side))
    pens = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for _ in range(rng.integers(2, 6)):
        at, radius = rng.uniform(6, side - 6, 2), rng.uniform(6, 12)
        box = [*(at - radius), *(at + radius)]
        pens[0].ellipse(box, fill=(40, int(rng.integers(120, 190)), 60))
        pens[1].ellipse(box, fill=1)
    for _ in range(rng.integers(1, 4)):
        at, angle = rng.uniform(8, side - 8, 2), rng.uniform(0, np.pi)
        way = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(5, 9)
        line = [*(at - way), *(at + way)]
        pens[0].line(line, fill=(150, int(rng.integers(190, 240)), 40), width=4)
        pens[1].line(line, fill=2, width=4)
    return grain(image, rng), mask


def write_fields(root: Path, *, enlarged: bool = False) -> None:
    rng = np.random.default_rng(72)
    for split, count in (("train", 60), ("val", 20)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            image, mask = draw_field(rng)
            if enlarged:  # the sheet was scanned at another size: both are brought to one, in the same way
                image, mask = image.resize((96, 96), Image.BILINEAR), mask.resize((96, 96), Image.BILINEAR)
                grey = mask.point(lambda value: value * 100)
                mask = grey.resize((72, 72), Image.BILINEAR).resize((96, 96), Image.BILINEAR)
            image.save(root / split / "images" / f"plot_{number:03}.png")
            mask.save(root / split / "masks" / f"plot_{number:03}.png")
    names = ["soil", "crop", "weed"]
    (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


FIELDS = {"data.train_size": [64, 64], "model.backbone": "cifar_resnet20", "train.epochs": 20}


def fields(folders: Folders, values: Mapping[str, Any], **how: Any) -> OfRecipe:
    write_fields(folders.scratch / "fields", **how)
    return OfRecipe("folder_unet", {"data.root": str(folders.scratch / "fields"), **FIELDS, **values})


# One part a picture, in YOLO's files ------------------------------

PARTS = ("washer", "plate", "wedge")


def write_parts(root: Path, *, first: int = 0, corners: bool = False) -> None:
    """Pictures of one thing each; labels are class, x and y of the middle, width, height, in shares."""
    rng = np.random.default_rng(73)
    for split, count in (("train", 150), ("val", 45)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image = paper(rng, 64, 40, 130)
            pen, label = ImageDraw.Draw(image), int(rng.integers(len(PARTS)))
            wide, high = (int(value) for value in rng.integers(16, 34, 2))
            left, top = int(rng.integers(0, 64 - wide)), int(rng.integers(0, 64 - high))
            box, fill = [left, top, left + wide - 1, top + high - 1], bright(rng)
            if label == 0:
                pen.ellipse(box, fill=fill)
            elif label == 1:
                pen.rectangle(box, fill=fill)
            else:
                pen.polygon([(left, box[3]), (left + wide / 2, top), (box[2], box[3])], fill=fill)
            x, y = (left, top) if corners else (left + wide / 2, top + high / 2)
            grain(image, rng).save(root / "images" / split / f"part_{number:03}.png")
            row = f"{label + first} {x / 64:.6f} {y / 64:.6f} {wide / 64:.6f} {high / 64:.6f}\n"
            (root / "labels" / split / f"part_{number:03}.txt").write_text(row, encoding="utf-8")
    text = f"train: images/train\nval: images/val\nnc: {len(PARTS)}\nnames: [{', '.join(PARTS)}]\n"
    (root / "data.yaml").write_text(text, encoding="utf-8")


PARTS_VALUES = {
    "data.reader": "yolo",
    "data.size": [64, 64],
    "model.width": 16,
    "model.hidden": 128,
    "train.epochs": 40,
    "train.lr": 1e-3,
    "train.weight_decay": 0.01,
}


def parts(folders: Folders, values: Mapping[str, Any], **how: Any) -> OfRecipe:
    write_parts(folders.scratch / "parts", **how)
    return OfRecipe("boxes_localizer", {"data.root": str(folders.scratch / "parts"), **PARTS_VALUES, **values})


# Captions in a table ------------------------------

COLOURS = {"red": (205, 50, 45), "green": (50, 165, 70), "blue": (50, 80, 205)}


def write_captions(root: Path, *, late: int = 0) -> None:
    """Balls and boxes in three colours; with `late` each row has the caption of the row so far above it."""
    rng = np.random.default_rng(74)
    for split, count in (("train", 360), ("val", 60)):
        (root / split).mkdir(parents=True)
        texts = []
        for number in range(count):
            image, colour, is_ball = paper(rng, 56, 100, 170), str(rng.choice(list(COLOURS))), bool(rng.integers(2))
            where = int(rng.integers(2))
            at = np.array([16 + 24 * where, 28]) + rng.uniform(-5, 5, 2)
            box = [*(at - 10), *(at + 10)]
            pen = ImageDraw.Draw(image)
            (pen.ellipse if is_ball else pen.rectangle)(box, fill=COLOURS[colour])
            grain(image, rng).save(root / split / f"scene_{number:03}.png")
            texts.append(f"a {colour} {'ball' if is_ball else 'box'} lies on the {('left', 'right')[where]}")
        rows = [f"scene_{number:03}.png,{texts[number - late]}" for number in range(count)]
        (root / split / "captions.csv").write_text("image,caption\n" + "\n".join(rows) + "\n", encoding="utf-8")


WORDS = {
    "data.reader": "captions_csv",
    "data.size": [32, 32],
    "model.backbone": "cifar_resnet20",
    "model.weights": None,
    "model.frozen": [],
    "model.embedding": 64,
    "model.hidden": 64,
    "train.epochs": 60,
    "train.batch": 16,
    "train.lr": 3e-3,
    "task.beam": 1,
}


def words(folders: Folders, values: Mapping[str, Any], **how: Any) -> OfRecipe:
    write_captions(folders.scratch / "scenes", **how)
    return OfRecipe("flickr8k_lstm", {"data.root": str(folders.scratch / "scenes"), **WORDS, **values})


def figures(folders: Folders, values: Mapping[str, Any]) -> OfRecipe:
    return OfRecipe("figures_simple_baselines", {"model.backbone": "cifar_resnet20", **FIGURES, **values})


FIGURES = {"data.count": 400, "train.batch": 16, "train.epochs": 30, "data.size": [64, 64]}


def _case(
    name: str,
    make: Callable[..., OfRecipe],
    values: Mapping[str, Any],
    source: str,
    cause: str | None = None,
    *,
    also: tuple[str, ...] = (),
    **how: Any,
) -> Case:
    data, network, healthy = ABOUT[make]
    return Case(
        name,
        lambda folders: make(folders, values, **how),
        data,
        network,
        source,
        cause=cause,
        of="" if cause is None else healthy,
        also=also,
    )


ABOUT = {
    signs: ("generated road signs in folders", "resnet18, width 16", "arrows_on_road_signs_without_a_mirror"),
    fields: ("generated fields with masks", "unet on cifar_resnet20", "crops_and_weeds_by_unet"),
    parts: ("generated parts in YOLO's files", "localizer on resnet18", "one_part_a_picture_in_yolo_files"),
    words: ("generated scenes in a table", "caption_lstm on cifar_resnet20", "captions_in_a_table_from_scratch"),
    figures: ("figures", "simple baselines on cifar_resnet20", "figures_of_64_pixels"),
}
CASES = (
    _case(ABOUT[signs][2], signs, {}, "No flip, since a mirror makes left of right; 60 pictures a class."),
    _case(ABOUT[fields][2], fields, {}, "Weeds are few pixels; weights by the square root of median frequency."),
    _case(ABOUT[parts][2], parts, {}, "Class and box of one thing; YOLO's files without a detector."),
    _case(ABOUT[words][2], words, {}, "Seven words, one caption an image, a CNN from random weights."),
    _case(ABOUT[figures][2], figures, {}, "400 generated figures to learn from, in small pictures."),
    _case(
        "arrows_are_mirrored",
        signs,
        {"data.augment": [{"resized_crop": {"area": [0.6, 1.0]}}, {"flip": {}}]},
        "The recipe for folders flips, as nearly all of photographs do; left is then labelled right.",
        "augment.changes_meaning",
    ),
    _case(
        "adamw_at_the_rate_of_sgd",
        parts,
        {"train.lr": 0.05},
        "The rate of a classifier's recipe with SGD is carried over to one with AdamW, fifty times its own.",
        "optim.rate_high",
    ),
    _case(
        "backbone_frozen_without_weights",
        signs,
        {"model.frozen": ["backbone"]},
        "The line for fine-tuning stays when the weights are left out: random features are never trained.",
        "norm.frozen",
    ),
    _case(
        "some_pictures_to_measure_by_were_learned_from",
        signs,
        {"data.allow_duplicates": True},
        "Pictures were collected twice, the second time scaled; the refusal is silenced with the key that it names.",
        "data.leak",
        copies=9,
    ),
    _case(
        "mean_of_bytes_for_shares",
        signs,
        {"data.mean": [123.675, 116.28, 103.53], "data.std": [58.395, 57.12, 57.375]},
        "Mean and deviation of mmdetection and Caffe, of 0..255, beside pixels of 0..1: every picture is nearly -2.1.",
        "data.normalization",
        also=("data.value_range",),
    ),
    _case(
        "twelve_bits_read_as_sixteen",
        signs,
        {"data.channels": 1, "data.range": [0, 65535], "data.mean": [0.5], "data.std": [0.25]},
        "Cameras and X-ray detectors write 12 bits in files of 16: a white of 4095 is read as a sixteenth.",
        "data.value_range",
        deep=True,
    ),
    _case(
        "milestones_of_the_trial_run",
        signs,
        {"train.schedule": "step", "train.milestones": [1, 2, 3], "train.warmup_epochs": 0},
        "Milestones of a trial of four epochs stay in a run of thirty: from the fourth on the rate is a thousandth.",
        "optim.schedule",
    ),
    _case(
        "masks_scaled_like_pictures",
        fields,
        {},
        "Masks go through the resize of the images, with interpolation; ids between the classes come about at edges.",
        "data.soft_mask",
        enlarged=True,
    ),
    _case(
        "weights_are_the_shares_of_the_classes",
        fields,
        {"task.class_weights": [0.72, 0.24, 0.04]},
        "Counted shares are given as weights, where their inverse was meant; weeds count nearly nothing.",
        "loss.weights_inverted",
    ),
    _case(
        "yolo_files_with_corners_in_place_of_middles",
        parts,
        {},
        "Rows of COCO's bbox (left, top, width, height) are divided by the size and written as YOLO's.",
        "data.box_format",
        corners=True,
    ),
    _case(
        "yolo_files_count_classes_from_one",
        parts,
        {},
        "Category ids of COCO begin with 1, YOLO's classes with 0; converters that copy the id are a common report.",
        "data.label_range",
        first=1,
    ),
    _case(
        "mirrored_figures_keep_their_left",
        figures,
        {"data.flip_pairs": []},
        "A set of one's own lists no pairs, though the recipe flips.",
        "augment.pairs_not_swapped",
    ),
    _case(
        "captions_one_row_late",
        words,
        {},
        "The column was pasted with its header, or sorted apart: every caption stands at the picture after its own.",
        "data.target_mismatch",
        late=1,
    ),
)
