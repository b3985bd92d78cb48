"""Recipes on small trees of files: signs by the side of the road in folders, and ponds with masks."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.mistakes.case import Case, Folders, OfRecipe

SIGNS = ("bend_left", "bend_right", "stop", "yield")
SIZE = 64


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _sign(rng: np.random.Generator, kind: str) -> Image.Image:
    """A sign of random place, size and light."""
    picture = Image.fromarray(_ground(rng, SIZE, SIZE, (60, 200)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    x, y, r = (int(rng.integers(*ends)) for ends in ((26, 38), (26, 38), (15, 22)))
    if kind == "stop":
        draw.regular_polygon((x, y, r), 8, fill=(190, 30, 35), outline="white")
        draw.rectangle((x - r // 2, y - 2, x + r // 2, y + 2), fill="white")
    elif kind == "yield":
        draw.regular_polygon((x, y, r), 3, rotation=60, fill="white", outline=(200, 30, 30), width=3)
    else:
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(30, 70, 170))
        way = -1 if kind == "bend_left" else 1
        draw.line(
            (x - way * r // 3, y + r // 2, x - way * r // 3, y - r // 5, x + way * r // 3, y - r // 5), "white", 4
        )
        tip = x + way * (r * 2 // 3)
        draw.polygon(
            ((tip, y - r // 5), (tip - way * 6, y - r // 5 - 6), (tip - way * 6, y - r // 5 + 6)), fill="white"
        )
    noisy = np.asarray(picture) * rng.uniform(0.7, 1.2) + rng.normal(0, 9, (SIZE, SIZE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_signs(root: Path, *, repeated: int = 0) -> None:
    """Folders of train and val; `repeated` pictures a class of val are those of train."""
    rng = np.random.default_rng(71)
    for kind in SIGNS:
        pictures = [_sign(rng, kind) for _ in range(64)]
        for split, chosen in (("train", pictures[:50]), ("val", pictures[50 - repeated : 64 - repeated])):
            (root / split / kind).mkdir(parents=True)
            for number, picture in enumerate(chosen):
                picture.save(root / split / kind / f"{split}_{number:03d}.png")


def signs(
    folders: Folders, *, repeated: int = 0, mirror: bool = False, values: Mapping[str, Any] | None = None
) -> OfRecipe:
    root = folders.scratch / "signs"
    write_signs(root, repeated=repeated)
    augment: list[dict[str, Any]] = [{"resized_crop": {"area": [0.7, 1.0]}}]
    if mirror:
        augment.append({"flip": {}})
    overrides = {
        "data.root": str(root),
        "data.size": [SIZE, SIZE],
        "data.augment": augment,
        "train.batch": 20,
        **(values or {}),
    }
    return OfRecipe("folder_resnet18", overrides)


def _pond(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """A meadow with ponds and reed around them, and its mask of three ids."""
    rows, columns = np.mgrid[:96, :96]
    ids = np.zeros((96, 96), np.uint8)
    for _ in range(rng.integers(2, 5)):
        y, x, a, b = *rng.uniform(10, 86, 2), *rng.uniform(9, 20, 2)
        far = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2
        ids[(far < 1.7) & (ids == 0)] = 2
        ids[far < 1] = 1
    colors = np.array([(110, 150, 60), (50, 80, 130), (170, 160, 90)]) + rng.normal(0, 7, (1, 3))
    picture = colors[ids] + rng.normal(0, 12, (96, 96, 3))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8)), Image.fromarray(ids)


def ponds(folders: Folders, *, halved: bool = False) -> OfRecipe:
    """Masks of the pictures' size; `halved`: drawn at half the size and enlarged as photographs are."""
    root = folders.scratch / "ponds"
    rng = np.random.default_rng(73)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    (root / "classes.txt").write_text("meadow\nwater\nreed\n", encoding="utf-8")
    for number in range(60):
        picture, mask = _pond(rng)
        if halved:
            mask = mask.resize((48, 48), Image.Resampling.NEAREST).resize((96, 96), Image.Resampling.BILINEAR)
        picture.save(root / "images" / f"pond_{number:03d}.png")
        mask.save(root / "masks" / f"pond_{number:03d}.png")
    return OfRecipe("folder_unet", {"data.root": str(root), "data.train_size": [64, 64], "train.batch": 8})


_sign_case = partial(Case, data="generated signs in folders", network="resnet18", of="later_tree_of_signs")
CASES: tuple[Case, ...] = (
    Case(
        "later_tree_of_signs",
        signs,
        "generated signs in folders",
        "resnet18",
        "a shipped recipe without its mirror, since two of the signs are mirror images of each other",
    ),
    Case(
        "later_tree_of_ponds",
        ponds,
        "generated ponds and masks",
        "unet on resnet18",
        "a shipped recipe on sixty pictures without a list of splits; reed is a thin ring",
    ),
    _sign_case(
        "later_tree_signs_mirrored",
        partial(signs, mirror=True),
        source="the recipe's own mirror is left in: a bend to the left becomes one to the right",
        cause="augment.changes_meaning",
    ),
    _sign_case(
        "later_tree_signs_in_both_splits",
        partial(signs, repeated=5),
        source="two exports of one collection, a third of the validation pictures are training ones under other names",
        cause="data.leak",
    ),
    _sign_case(
        "later_tree_signs_rate_for_large_batches",
        partial(signs, values={"train.lr": 1.0, "train.warmup_epochs": 0}),
        source="a rate scaled for large batches (Goyal et al. 2017) and kept, without its warm-up, at batch 20",
        cause="optim.rate_high",
    ),
    Case(
        "later_tree_ponds_masks_enlarged",
        partial(ponds, halved=True),
        "generated ponds and masks",
        "unet on resnet18",
        "masks of half the size enlarged as photographs are: between meadow (0) and reed (2) lies water (1)",
        cause="data.soft_mask",
        of="later_tree_of_ponds",
    ),
)
