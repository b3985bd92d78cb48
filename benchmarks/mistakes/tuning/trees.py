"""Folders of files as people keep them, written from generated pictures, for runs by recipe."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.mistakes.case import Folders
from benchmarks.mistakes.tuning import generated, sets
from benchmarks.mistakes.tuning.pieces import as_bytes


def save(picture: np.ndarray, path: Path) -> Path:
    """Writes a picture, and its folder; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.squeeze()).save(path, quality=92)
    return path


def class_folders(root: Path, images: Tensor, labels: Tensor, names: Sequence[str], *, first: int = 0) -> list[Path]:
    """A folder for each class; returns the path of each picture."""
    return [
        save(picture, root / names[label] / f"{first + i:04d}.png")
        for i, (picture, label) in enumerate(zip(as_bytes(images), labels.tolist(), strict=True))
    ]


def texture_folders(root: Path, *, train: int = 240, val: int = 100) -> tuple[list[Path], list[Path]]:
    """train/<class> and val/<class> of textures; returns the paths of both."""
    return (
        class_folders(root / "train", *generated.textures(train, 1), generated.TEXTURES),
        class_folders(root / "val", *generated.textures(val, 2), generated.TEXTURES),
    )


def digit_folders(folders: Folders) -> None:
    """train/<digit> and val/<digit> of MNIST."""
    for split, part, count in (("train", "train", 600), ("val", "t10k", 200)):
        images, labels = sets.digits(folders, part, count)
        class_folders(folders.scratch / split, images, labels, [str(digit) for digit in range(10)])


def mask_folders(root: Path, *, masks: Tensor | None = None, count: int = 120, suffix: str = "png") -> None:
    """images, masks of ground, disc and square, and classes.txt; `masks` takes the place of the right ones."""
    images, right = generated.scenes(count, 21, border=False)
    (root / "classes.txt").write_text("ground\ndisc\nsquare\n")
    for i, (picture, mask) in enumerate(zip(as_bytes(images), right if masks is None else masks, strict=True)):
        save(picture, root / "images" / f"{i:03d}.png")
        save(mask.byte().numpy(), root / "masks" / f"{i:03d}.{suffix}")


def clean_pictures(root: Path, *, count: int = 96) -> None:
    """train and val of clean grey pictures."""
    for split, seed in (("train", 31), ("val", 32)):
        for i, picture in enumerate(as_bytes(generated.leaves(count if split == "train" else 24, seed, size=48))):
            save(picture, root / split / f"{i:03d}.png")


def noisy_pairs(root: Path, order: Sequence[int] | None = None, *, count: int = 96) -> None:
    """noisy and clean pictures of equal names in train and val; `order` says which clean one gets which name."""
    for split, seed, many in (("train", 31, count), ("val", 32, 24)):
        clean = generated.leaves(many, seed, size=48)
        noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
        for i, (first, second) in enumerate(zip(as_bytes(noisy), as_bytes(clean), strict=True)):
            number = i if order is None or split == "val" else order[i]
            save(first, root / split / "noisy" / f"{i:03d}.png")
            save(second, root / split / "clean" / f"{number:03d}.png")


def box_table(root: Path, change: Callable[[Tensor], Tensor] | None = None) -> None:
    """images of one ellipse, and train.csv and val.csv of its corners; `change` of them (N, 4) is what is written."""
    for split, seed, count in (("train", 51, 200), ("val", 52, 60)):
        images, boxes = generated.boxed(count, seed)
        names = [f"{split}_{i:03d}.png" for i in range(count)]
        for picture, name in zip(as_bytes(images), names, strict=True):
            save(picture, root / "images" / name)
        written = boxes if change is None else change(boxes)
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("file", "xmin", "ymin", "xmax", "ymax", "class"))
            rows.writerows(
                (name, *(round(v, 1) for v in box), "ellipse")
                for name, box in zip(names, written.tolist(), strict=True)
            )


def caption_table(root: Path, *, shift: int = 0) -> None:
    """images of shapes, and train.csv and val.csv of image and sentence, `shift` rows apart in training."""
    for split, seed, count in (("train", 71, 240), ("val", 72, 60)):
        images, sentences = generated.described(count, seed)
        texts = [" ".join(generated.WORDS[word] for word in sentence.tolist() if word > 2) for sentence in sentences]
        moved = texts if split == "val" or not shift else texts[-shift:] + texts[:-shift]
        for i, picture in enumerate(as_bytes(images)):
            save(picture, root / "images" / f"{split}_{i:03d}.png")
        with (root / f"{split}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("image", "caption"))
            rows.writerows((f"{split}_{i:03d}.png", text) for i, text in enumerate(moved))


def sign_folders(root: Path, *, people: int = 24, each: int = 6) -> list[list[Path]]:
    """A folder for each sign, and pairs.csv of signs that are not learned; returns the paths by sign."""
    images, labels = generated.signs(people, each, 61)
    paths: list[list[Path]] = [[] for _ in range(people)]
    for i, (picture, label) in enumerate(zip(as_bytes(images), labels.tolist(), strict=True)):
        paths[label].append(save(picture, root / f"sign{label:02d}" / f"{i % each}.png"))
    with (root / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("first", "second", "same"))
        for sign in range(people - 8, people):
            other = people - 8 + (sign + 3) % 8
            for i in range(each - 1):
                rows.writerow((f"sign{sign:02d}/{i}.png", f"sign{sign:02d}/{i + 1}.png", 1))
                rows.writerow((f"sign{sign:02d}/{i}.png", f"sign{other:02d}/{i}.png", 0))
    return paths
