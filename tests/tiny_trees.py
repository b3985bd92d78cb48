"""Data sets of a few small images, each written in its reader's own format."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.readers.box_trees import voc_of_one
from tests.data.readers.trees import TREES

CAMVID_CLASSES = 11


def write_tree(reader: str, root: Path) -> Path:
    """A tiny set for `reader` below `root`; returns what `data.root` should be."""
    root.mkdir(parents=True, exist_ok=True)
    WRITERS[reader](root)
    return root


def _camvid(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        lines = []
        for i in range(count):
            image, mask = Path(f"CamVid/{split}/{i}.jpg"), Path(f"CamVid/{split}annot/{i}.png")
            _picture(root / image, rng, (48, 64))
            _mask(root / mask, rng, (48, 64), CAMVID_CLASSES + 1)
            lines.append(f"{image.as_posix()} {mask.as_posix()}")
        (root / "CamVid" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def _folder(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        for i in range(6):
            _picture(root / name / f"{i}.jpg", rng, (40 + i, 50 if name == "ant" else 52))


def _folder_masks(root: Path) -> None:
    rng = np.random.default_rng(0)
    (root / "classes.txt").write_text("ground\nplant\n")
    (root / "images").mkdir(exist_ok=True)
    for i in range(8):
        _picture(root / "images" / f"{i}.jpg", rng, (48, 64))
        _mask(root / "masks" / f"{i}.png", rng, (48, 64), 2)


def _images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for folder, count in (("Train400", 8), ("BSD68", 3), ("Set12", 1)):
        for i in range(count):
            _picture(root / folder / f"{i}.png", rng, (40 + i, 50))


def _image_pairs(root: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(10):
        for name in ("noisy", "clean"):
            _picture(root / name / f"{i}.png", rng, (40, 50 + i))


def _cifar(root: Path) -> None:
    rng = np.random.default_rng(0)
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(exist_ok=True)
    (folder / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n")
    for names, count in (([f"data_batch_{i}" for i in range(1, 6)], 12), (["test_batch"], 6)):
        records = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(count) % 10
        for name, batch in zip(names, np.array_split(records, len(names)), strict=True):
            (folder / f"{name}.bin").write_bytes(batch.tobytes())


def _mnist(root: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", 12), ("t10k", 6)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        image_bytes = struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes()
        label_bytes = struct.pack(">2I", 0x801, count) + labels.tobytes()
        (root / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(image_bytes))
        (root / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(label_bytes))


def _picture(path: Path, rng: np.random.Generator, size_hw: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)).save(path)


def _mask(path: Path, rng: np.random.Generator, size_hw: tuple[int, int], values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = rng.integers(0, values, (size_hw[0] // 8, size_hw[1] // 8), dtype=np.uint8)
    Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(path)


WRITERS: dict[str, Callable[[Path], Path | None]] = {
    **TREES,  # what follows is larger, for training on
    "camvid": _camvid,
    "cifar": _cifar,
    "digit_strings": _mnist,
    "folder": _folder,
    "folder_masks": _folder_masks,
    "image_pairs": _image_pairs,
    "images": _images,
    "mnist": _mnist,
    "voc_of_one": voc_of_one,
}
