"""Pictures to train on where no data set is at hand: noise of real sizes and file sizes, in the layouts of real sets.

What a picture shows changes nothing about the time that reading, augmenting and training on it takes.
"""

from pathlib import Path

import numpy as np
from PIL import Image

CIFAR_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CAMVID_HW = (360, 480)
PHOTO_HW = (375, 500)
COARSE = 6  # pixels a grain: JPEG files of such noise weigh about what photographs weigh


def write_photos(root: Path, *, count: int, seed: int) -> Path:
    """`root/{train,val}/{ants,bees}/N.jpg`, `count` of them to train on and a fifth of that to validate."""
    generator = np.random.default_rng(seed)
    for split, number in (("train", count), ("val", count // 5 + 2)):
        for index in range(number):
            path = root / split / ("ants", "bees")[index % 2] / f"{index:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _photo(generator, PHOTO_HW).save(path, quality=90)
    return root


def write_camvid(root: Path, *, count: int, seed: int) -> Path:
    """`root/CamVid/{train,val}` JPEG images, `.../{train,val}annot` PNG masks of 0..11 and the lists beside them."""
    generator = np.random.default_rng(seed)
    for split, number in (("train", count), ("val", count // 5 + 2)):
        lines = []
        for index in range(number):
            image, mask = f"CamVid/{split}/{index:04d}.jpg", f"CamVid/{split}annot/{index:04d}.png"
            for name in (image, mask):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
            _photo(generator, CAMVID_HW).save(root / image, quality=90)
            Image.fromarray(_blocks(generator.integers(0, 12, (9, 12), np.uint8), CAMVID_HW)).save(root / mask)
            lines.append(f"{image} {mask}")
        (root / "CamVid" / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_cifar(root: Path, *, count: int, seed: int) -> Path:
    """`root/cifar-10-batches-bin` with the five training batches and the test batch, `count` images to train on."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    for name in names:
        records = generator.integers(0, 256, (max(1, count // 5), 3073), np.uint8)
        records[:, 0] %= len(CIFAR_CLASSES)
        (folder / name).write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES) + "\n", encoding="utf-8")
    return root


def read_cifar(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training batches: images (N, 32, 32, 3) uint8 and labels (N,) int64."""
    paths = sorted((root / "cifar-10-batches-bin").glob("data_batch_*.bin"))
    records = np.concatenate([np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073) for path in paths])
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def _photo(generator: np.random.Generator, size_hw: tuple[int, int]) -> Image.Image:
    height, width = size_hw
    grains = generator.integers(0, 256, (height // COARSE + 1, width // COARSE + 1, 3), np.uint8)
    return Image.fromarray(grains).resize((width, height), Image.Resampling.BILINEAR)


def _blocks(coarse: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    return np.repeat(np.repeat(coarse, height // len(coarse), 0), width // coarse.shape[1], 1)
