"""Folders of pictures as recipes read them."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.segmentation import VOID


def class_folders(root: Path, *, change: Callable[[Path], None] | None = None) -> Path:
    """Textures in DIR/{train,val}/<class>: 360 and 90."""
    for split, count, seed in (("train", 360, 1), ("val", 90, 2)):
        for i, (picture, label) in enumerate(zip(*drawn.textures(count, seed), strict=True)):
            folder = root / split / drawn.TEXTURES[label].replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{split}_{i:03d}.png")
    if change is not None:
        change(root)
    return root


def mask_folders(root: Path, change: Callable[[np.ndarray], np.ndarray] = lambda mask: mask) -> Path:
    """Cells in DIR/{train,val}/{images,masks} with classes.txt: 120 and 30; their rims count as ground."""
    for split, count, seed in (("train", 120, 1), ("val", 30, 2)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for i, (picture, mask) in enumerate(zip(*drawn.cells(count, seed), strict=True)):
            Image.fromarray(picture).save(root / split / "images" / f"{split}_{i:03d}.png")
            known = np.where(mask == VOID, 0, mask).astype(np.uint8)
            Image.fromarray(change(known)).save(root / split / "masks" / f"{split}_{i:03d}.png")
    (root / "classes.txt").write_text("ground\nround\nlong\n")
    return root


def box_rows(root: Path, change: Callable[[np.ndarray], np.ndarray] = lambda box: box, *, scale: float = 1) -> Path:
    """One thing a picture, in train.csv and val.csv."""
    for split, count, seed in (("train", 300, 1), ("val", 60, 2)):
        (root / split).mkdir(parents=True)
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "xmin", "ymin", "xmax", "ymax", "class"])
            for i, (picture, box, label) in enumerate(zip(*drawn.things(count, seed), strict=True)):
                size = round(64 * scale)
                Image.fromarray(picture).resize((size, size)).save(root / split / f"{i:03d}.png")
                rows.writerow([f"{split}/{i:03d}.png", *(f"{v:.1f}" for v in change(box)), drawn.SHAPES[label]])
    return root


def caption_rows(root: Path, *, shift: int = 0) -> Path:
    """Scenes of one shape with a caption each, in train.csv and val.csv."""
    for split, count, seed in (("train", 400, 1), ("val", 80, 2)):
        pictures, captions, _ = drawn.scenes(3 * count, seed)
        single = [i for i, caption in enumerate(captions) if "left" not in caption][:count]
        pictures, captions = pictures[single], [captions[i] for i in single]
        (root / split).mkdir(parents=True)
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "caption"])
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(root / split / f"{i:03d}.png")
                rows.writerow([f"{split}/{i:03d}.png", captions[(i + shift) % count]])
    return root


def noisy_pairs(root: Path, *, first: int = 0) -> Path:
    """Noisy and clean drawings of equal names in DIR/{train,val}/{noisy,clean}; the clean ones count from `first`."""
    for split, count, seed in (("train", 120, 1), ("val", 24, 2)):
        clean = drawn.plates(count + 1, seed, size=64)
        noise = np.random.default_rng(seed).normal(0, 25, clean.shape)
        noisy = (clean + noise).clip(0, 255).astype(np.uint8)
        for kind, pictures, start in (("noisy", noisy, 0), ("clean", clean, first)):
            (root / split / kind).mkdir(parents=True)
            for i in range(count):
                picture = Image.fromarray(pictures[i + start]).convert("RGB")
                picture.save(root / split / kind / f"{split}_{i:03d}.png")
    return root
