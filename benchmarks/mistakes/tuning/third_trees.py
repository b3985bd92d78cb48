"""Recipes on folders of files: signs of four kinds in a tree of classes, and fields in pictures with masks."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance
from scipy.ndimage import gaussian_filter

from benchmarks.mistakes.case import Case, Folders, OfRecipe

SIGNS = ("ahead", "left", "no_entry", "right")
SIDE = 48
FIELDS = ("soil", "crop", "meadow", "road")
FIELD_SIDE = 64


def sign(kind: str, rng: np.random.Generator) -> Image.Image:
    """A blue sign with a white arrow, or a red one with a bar, before a street of noise."""
    size = SIDE * 2
    grain = gaussian_filter(rng.uniform(40, 200, (size, size, 3)), (6, 6, 0))
    image = Image.fromarray(((grain - grain.mean()) * 4 + rng.uniform(70, 160)).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    radius = rng.uniform(24, 36)
    x, y = (float(v) for v in size / 2 + rng.uniform(-9, 9, 2))
    colour = (200, 30, 30) if kind == "no_entry" else (30, 70, 190)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    reach = radius * 0.6
    if kind == "no_entry":
        draw.rectangle((x - reach, y - reach / 3, x + reach, y + reach / 3), fill="white")
    elif kind == "ahead":
        draw.line((x, y + reach, x, y), fill="white", width=8)
        draw.polygon([(x - reach / 1.5, y), (x + reach / 1.5, y), (x, y - reach)], fill="white")
    else:
        way = -1 if kind == "left" else 1
        draw.line((x - way * reach, y, x, y), fill="white", width=8)
        draw.polygon([(x, y - reach / 1.5), (x, y + reach / 1.5), (x + way * reach, y)], fill="white")
    image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR).resize((SIDE, SIDE), Image.Resampling.BOX)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.2))
    return Image.fromarray((np.asarray(image) + rng.normal(0, 7, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8))


def altered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A copy as tools for more data write it: a little brighter and moved by a pixel or two."""
    moved = image.transform(
        image.size, Image.Transform.AFFINE, (1, 0, int(rng.integers(-2, 3)), 0, 1, int(rng.integers(-2, 3)))
    )
    return ImageEnhance.Brightness(moved).enhance(rng.uniform(0.9, 1.1))


def write_signs(root: Path, *, copied_first: bool) -> None:
    rng = np.random.default_rng(4)
    for kind in SIGNS:
        pictures = [(f"{number:03}", sign(kind, rng)) for number in range(80)]
        if copied_first:
            pictures = pictures[:40] + [(f"{name}_copy", altered(one, rng)) for name, one in pictures[:40]]
        for position, index in enumerate(rng.permutation(len(pictures))):
            folder = root / ("train" if position < 60 else "val") / kind
            folder.mkdir(parents=True, exist_ok=True)
            name, picture = pictures[index]
            picture.save(folder / f"{name}.png")


def signs(folders: Folders, *, copied_first: bool = False, **changes: Any) -> OfRecipe:
    write_signs(folders.scratch / "signs", copied_first=copied_first)
    overrides = {
        "data.root": str(folders.scratch / "signs"),
        "data.size": [SIDE, SIDE],
        "data.augment": [
            {"resized_crop": {"area": [0.6, 1.0]}},
            {"color_jitter": {"brightness": 0.3, "contrast": 0.3}},
        ],
        "train.batch": 16,
        "train.epochs": 20,
        "train.lr": 0.02,
        "train.ema": None,
    }
    return OfRecipe("folder_resnet18", overrides | {name.replace("__", "."): value for name, value in changes.items()})


def fields(rng: np.random.Generator, scale: int) -> tuple[Image.Image, np.ndarray]:
    """A picture and its ids, which an annotator drew at `scale` times the size of the picture."""
    size = FIELD_SIDE * scale
    drawn = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(drawn)
    for kind in (1, 2, 1, 2):
        x, y, wide, high = rng.uniform(0, 0.6), rng.uniform(0, 0.6), rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.4)
        lean = rng.uniform(-0.1, 0.1)
        corners = [(x, y), (x + wide, y + lean), (x + wide + lean, y + high), (x + lean, y + high - lean)]
        draw.polygon([(a * size, b * size) for a, b in corners], fill=kind)
    left, right = rng.uniform(0.1, 0.9, 2) * size
    draw.line((left, 0, right, size), fill=3, width=6 * scale)
    ids = np.asarray(drawn.resize((FIELD_SIDE, FIELD_SIDE), Image.Resampling.NEAREST))
    colours = np.array([[120, 95, 70], [90, 125, 60], [135, 150, 85], [125, 125, 130]]) + rng.normal(0, 9, (4, 3))
    fine = gaussian_filter(rng.standard_normal((FIELD_SIDE, FIELD_SIDE)), 0.7)
    stripes = np.sin(np.arange(FIELD_SIDE) * 1.6)[None] * 14
    texture = np.stack([fine * 12, stripes + 0 * fine, fine * 26, 0 * fine])
    values = colours[ids] + np.take_along_axis(texture, ids[None], 0)[0][..., None]
    values = values + rng.normal(0, 7, values.shape)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)), np.asarray(drawn)


def write_fields(root: Path, rule: Image.Resampling, *, transposed: bool) -> None:
    rng = np.random.default_rng(6)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(FIELDS) + "\n", encoding="utf-8")
    for number in range(90):
        picture, drawn = fields(rng, 3)
        mask = Image.fromarray(drawn).resize((FIELD_SIDE, FIELD_SIDE), rule)
        if transposed:
            mask = mask.transpose(Image.Transpose.TRANSPOSE)
        picture.save(root / "images" / f"plot_{number:03}.png")
        mask.save(root / "masks" / f"plot_{number:03}.png")


def plots(
    folders: Folders,
    *,
    rule: Image.Resampling = Image.Resampling.NEAREST,
    transposed: bool = False,
    **changes: Any,
) -> OfRecipe:
    write_fields(folders.scratch / "plots", rule, transposed=transposed)
    overrides = {
        "data.root": str(folders.scratch / "plots"),
        "data.train_size": [FIELD_SIDE, FIELD_SIDE],
        "data.augment": [{"flip": {}}, {"crop": {}}, {"color_jitter": {"brightness": 0.2, "contrast": 0.2}}],
        "train.batch": 6,
        "train.epochs": 16,
        "train.ema": None,
    }
    return OfRecipe("folder_unet", overrides | {name.replace("__", "."): value for name, value in changes.items()})


HEALTHY_SIGNS, HEALTHY_PLOTS = "signs_by_recipe_without_flips", "plots_by_recipe_of_masks"
of_signs = partial(Case, data="generated signs in folders", network="resnet18", of=HEALTHY_SIGNS)
of_plots = partial(Case, data="generated plots with masks", network="unet of resnet18", of=HEALTHY_PLOTS)
DEFAULTS = [
    {"resized_crop": {"area": [0.6, 1.0]}},
    {"flip": {}},
    {"color_jitter": {"brightness": 0.3, "contrast": 0.3}},
]

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY_SIGNS,
        signs,
        "generated signs in folders",
        "resnet18",
        "60 pictures a class, classes that differ by left and right, so no flip",
    ),
    Case(
        HEALTHY_PLOTS,
        plots,
        "generated plots with masks",
        "unet of resnet18",
        "small pictures, masks drawn larger and brought down by nearest, one split drawn by the recipe",
    ),
    of_signs(
        "signs_mirrored",
        partial(signs, data__augment=DEFAULTS),
        cause="augment.changes_meaning",
        source="people keep the flip of a default list for signs that say left and right; the German traffic signs of "
        "Stallkamp et al. 2012 pair such classes",
    ),
    of_signs(
        "signs_at_the_rate_of_a_batch_of_1024",
        partial(signs, train__lr=1.3),
        cause="optim.rate_high",
        source="Goyal et al. 2017's linear rule taken the wrong way: the rate of 64 times the batch",
    ),
    of_signs(
        "signs_at_the_rate_of_fine_tuning",
        partial(signs, train__lr=3e-5),
        cause="optim.rate_low",
        source="people copy AdamW's 3e-5 of fine-tuning to SGD and weights from scratch",
    ),
    of_signs(
        "signs_copied_before_the_split",
        partial(signs, copied_first=True),
        cause="data.leak",
        source="people write altered copies to disk, for more data, and split afterwards",
    ),
    of_signs(
        "signs_with_the_mean_of_detectron",
        partial(signs, data__mean=[123.675, 116.28, 103.53], data__std=[58.395, 57.12, 57.375]),
        cause="data.normalization",
        source="open-mmlab/mmdetection #475: mean and deviation of 0 to 255, here on pictures of 0 to 1",
        also=("data.value_range",),
    ),
    of_plots(
        "plots_masks_resized_bicubically",
        partial(plots, rule=Image.Resampling.BICUBIC),
        cause="data.soft_mask",
        source="Pillow's Image.resize: bicubic by default for masks of mode L; ids between two classes along each "
        "border",
    ),
    of_plots(
        "plots_masks_transposed_by_matlab",
        partial(plots, transposed=True),
        cause="data.mask_misaligned",
        source="h5py's documentation: a .mat file of version 7.3 stores columns first, so arrays arrive transposed; "
        "the "
        "pictures are square",
    ),
)
