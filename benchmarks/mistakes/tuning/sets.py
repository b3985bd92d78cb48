"""Parts of public sets, cut to some hundred samples, in memory."""

import gzip
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.mistakes.case import Folders


def folder(folders: Folders, name: str) -> Path:
    """The folder of a public set.

    Raises:
        FileNotFoundError: there are no public sets.
    """
    if folders.data is None or not (folders.data / name).is_dir():
        raise FileNotFoundError(
            f"{folders.data}/{name}: a folder with the public set {name} was expected; name it in data"
        )
    return folders.data / name


def digits(folders: Folders, part: str, count: int, *, first: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) from 0 to 1 of MNIST's `train` or `t10k`, and labels."""
    root = folder(folders, "mnist")
    with gzip.open(root / f"{part}-images-idx3-ubyte.gz") as file:
        struct.unpack(">4I", file.read(16))
        pixels = np.frombuffer(file.read((first + count) * 784), np.uint8)[first * 784 :].reshape(-1, 1, 28, 28)
    with gzip.open(root / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8)[8 + first : 8 + first + count]
    return torch.tensor(pixels) / 255, torch.tensor(labels.astype(np.int64))


def cifar(folders: Folders, part: str) -> tuple[np.ndarray, Tensor]:
    """Bytes (N, 32, 32, 3) of CIFAR-10's `data_batch_1` (500) or `test_batch` (200), and labels."""
    records = np.fromfile(folder(folders, "cifar10_jpeg") / f"cifar-10-batches-bin/{part}.bin", np.uint8).reshape(
        -1, 3073
    )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy(), torch.tensor(
        records[:, 0].astype(np.int64)
    )


def streets(folders: Folders, split: str, count: int, size_wh: tuple[int, int] = (96, 72)) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) from 0 to 1 of CamVid, and masks of 11 classes, with 255 where nothing is labelled."""
    root = folder(folders, "camvid") / "CamVid"
    images, masks = [], []
    for line in (root / f"{split}.txt").read_text().splitlines()[:: 3 if split == "train" else 2][:count]:
        image, mask = (Image.open(root.parent / name) for name in line.split())
        images.append(np.array(image.convert("RGB").resize(size_wh, Image.Resampling.BILINEAR)))
        ids = np.array(mask.resize(size_wh, Image.Resampling.NEAREST))
        masks.append(np.where(ids == 11, 255, ids))
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return pixels, torch.from_numpy(np.stack(masks).astype(np.int64))


def membranes(
    folders: Folders, slices: range, *, crop: int = 64, each: int = 6, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Crops (N, 1, crop, crop) from 0 to 1 of slices of ISBI 2012, and their masks of bytes, 255 in a cell."""
    root = folder(folders, "isbi2012_em")
    rng = np.random.default_rng(seed)
    images, masks = [], []
    with Image.open(root / "train-volume.tif") as volume, Image.open(root / "train-labels.tif") as labels:
        for index in slices:
            volume.seek(index)
            labels.seek(index)
            image, mask = np.array(volume.reduce(2)), np.array(labels.resize((256, 256), Image.Resampling.NEAREST))
            for top, left in rng.integers(0, 256 - crop, (each, 2)):
                images.append(image[top : top + crop, left : left + crop])
                masks.append(mask[top : top + crop, left : left + crop])
    return torch.from_numpy(np.stack(images))[:, None].float() / 255, torch.from_numpy(np.stack(masks))[:, None]


def photographs(folders: Folders, part: str, count: int, *, crop: int = 48, seed: int = 0) -> Tensor:
    """Crops (N, 1, crop, crop) from 0 to 1 of the grey pictures in a folder of the Berkeley set."""
    rng = np.random.default_rng(seed)
    crops = []
    for path in sorted((folder(folders, "bsd_denoise") / part).glob("*.png"))[:count]:
        picture = np.array(Image.open(path).convert("L"))
        top, left = rng.integers(0, [picture.shape[0] - crop, picture.shape[1] - crop])
        crops.append(picture[top : top + crop, left : left + crop])
    return torch.from_numpy(np.stack(crops))[:, None].float() / 255


def cells(folders: Folders, split: str, size_wh: tuple[int, int] = (64, 64)) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) of BCCD with exactly one white cell, and its box from 0 to 1: x1, y1, x2, y2."""
    root = folder(folders, "bccd") / "BCCD"
    images, boxes = [], []
    for name in (root / f"ImageSets/Main/{split}.txt").read_text().split():
        things = ElementTree.parse(root / f"Annotations/{name}.xml").getroot().findall("object")
        white = [thing for thing in things if thing.findtext("name") == "WBC"]
        if len(white) == 1:
            corners = [float(white[0].findtext(f"bndbox/{key}") or 0) for key in ("xmin", "ymin", "xmax", "ymax")]
            image = Image.open(root / f"JPEGImages/{name}.jpg").convert("RGB")
            boxes.append([c / side for c, side in zip(corners, 2 * image.size, strict=True)])
            images.append(np.array(image.resize(size_wh, Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255, torch.tensor(boxes)


def faces(folders: Folders, people: range, numbers: range) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 56, 48) from 0 to 1 of people of ORL, and who it is."""
    root = folder(folders, "orl_faces")
    pairs = [(root / f"s{person + 1}/{number}.pgm", person) for person in people for number in numbers]
    pixels = np.stack([np.array(Image.open(path).resize((48, 56), Image.Resampling.BILINEAR)) for path, _ in pairs])
    return torch.from_numpy(pixels)[:, None].float() / 255, torch.tensor([person for _, person in pairs])


def sentences(folders: Folders, split: str, count: int, words: list[str] | None) -> tuple[Tensor, Tensor, list[str]]:
    """Images (N, 3, 64, 64) of Flickr8k, their first sentences as numbers (N, 16), and the words that these count."""
    root = folder(folders, "flickr8k_mini")
    names = (root / f"Flickr8k_text/Flickr_8k.{split}Images.txt").read_text().split()[:count]
    lines = (root / "Flickr8k_text/Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    first = {line.split("#0\t")[0]: line.split("#0\t")[1].lower().split() for line in lines if "#0\t" in line}
    if words is None:
        counts: dict[str, int] = {}
        for name in names:
            for word in first[name]:
                counts[word] = counts.get(word, 0) + 1
        words = ["<pad>", "<start>", "<end>", "<rare>", *sorted(w for w, n in counts.items() if n >= 5)]
    index = {word: i for i, word in enumerate(words)}
    texts = torch.zeros(len(names), 16, dtype=torch.long)
    for text, name in zip(texts, names, strict=True):
        numbers = [1, *(index.get(word, 3) for word in first[name][:14]), 2]
        text[: len(numbers)] = torch.tensor(numbers)
    pixels = [np.array(Image.open(root / "Flicker8k_Dataset" / name).convert("RGB").resize((64, 64))) for name in names]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255, texts, words
