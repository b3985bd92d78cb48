"""A tiny data set in each reader's own format."""

import gzip
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(values: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    return stream.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pixels(*shape: int, most: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, shape).astype(np.uint8)


def camvid(root: Path) -> Path:
    for split in ("train", "val"):
        lines = []
        for i in range(3):
            image, mask = f"CamVid/{split}/{i}.png", f"CamVid/{split}annot/{i}.png"
            written(root / image, encoded(pixels(6, 8, 3, seed=i)))
            written(root / mask, encoded(pixels(6, 8, most=12, seed=i)))
            lines.append(f"{image} {mask}\n")
        written(root / "CamVid" / f"{split}.txt", "".join(lines).encode())
    return root


def folder(root: Path) -> Path:
    for name in ("ant", "bee"):
        for i in range(5):
            written(root / name / f"{i}.png", encoded(pixels(4 + i, 7, 3, seed=i)))
    return root


def folder_masks(root: Path) -> Path:
    written(root / "classes.txt", b"sky\nroad\ncar\n")
    for i in range(5):
        written(root / "images" / f"{i}.png", encoded(pixels(6, 4 + i, 3, seed=i)))
        written(root / "masks" / f"{i}.png", encoded(pixels(6, 4 + i, most=3, seed=i)))
    return root


def images(root: Path) -> Path:
    for i in range(5):
        written(root / f"{i}.png", encoded(pixels(4 + i, 7, 3, seed=i)))
    return root


def image_pairs(root: Path) -> Path:
    for i in range(5):
        for name in ("noisy", "clean"):
            written(root / name / f"{i}.png", encoded(pixels(4 + i, 7, 3, seed=i + 10 * (name == "noisy"))))
    return root


def archived(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def cifar(root: Path) -> Path:
    for split, count in (("train", 3), ("test", 2)):
        names = [f"{split}/{name}/{i:04d}.jpg" for name in ("plane", "cat") for i in range(count)]
        archived(root / f"{split}.tar.gz", {n: encoded(pixels(32, 32, 3, seed=len(n)), "JPEG") for n in names})
    return root


def cifar_batches(root: Path) -> Path:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = pixels(4, 3073, seed=len(name))
        records[:, 0] = [3, 1, 9, 0]
        written(root / "cifar-10-batches-bin" / f"{name}.bin", records.tobytes())
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    written(root / "cifar-10-batches-bin" / "batches.meta.txt", "\n".join([*names, "", ""]).encode())
    return root


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def mnist(root: Path) -> Path:
    for stem, count in (("train", 6), ("t10k", 4)):
        written(root / f"{stem}-images-idx3-ubyte.gz", gzip.compress(idx(pixels(count, 28, 28))))
        written(root / f"{stem}-labels-idx1-ubyte.gz", gzip.compress(idx(np.arange(count, dtype=np.uint8))))
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "camvid": camvid,
    "cifar": cifar,
    "folder": folder,
    "folder_masks": folder_masks,
    "image_pairs": image_pairs,
    "images": images,
    "mnist": mnist,
}
