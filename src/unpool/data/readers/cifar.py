"""CIFAR-10: the original binary batches, or train.tar.gz and test.tar.gz of class folders, which are not unpacked.

An archive holds its whole split and is preferred to batches. There is no validation split, so val is test.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images"; a record is 1 label byte, then 32x32
red, green and blue bytes.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.archive import Archive, read_archive
from unpool.data.classes import match, require_two
from unpool.data.decode import decode_image
from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, is_junk
from unpool.data.measure import Measure
from unpool.data.readers.splits import Split, missing_split, origin_of, require_split
from unpool.data.root import require_root
from unpool.data.text_file import MOST_CLASSES, read_text
from unpool.errors import DataError
from unpool.types import RGB, DataInfo, Decoding, Fault, Sample

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE
_BATCHES = "cifar-10-batches-bin"


class Cifar:
    """Images of 32x32 pixels with a label each.

    Args:
        classes: class names by index; by default those of batches.meta.txt, else the sorted folders of the archive.
    """

    gives: tuple[str, ...] = ("image", "label")

    def __init__(
        self, root: Path, split: Split, *, classes: Sequence[str] | None = None, decoding: Decoding = RGB
    ) -> None:
        require_split(split)
        self.decoding = decoding
        content = _read_archive(require_root(root), split) or _read_batches(root, split)
        if content is None:
            names = ["train.tar.gz" if split == "train" else "test.tar.gz", *_batch_names(split)]
            raise missing_split(root, split, [*names, f"{_BATCHES}/{names[-1]}"])
        require_two(content.classes, printable(root))
        self.root, self.set_files = root, content.files
        self.info = DataInfo(classes=tuple(classes) if classes is not None else content.classes)
        index = torch.tensor(match(content.classes, self.info.classes, printable(root)))
        self._images, self._labels = content.images, index[content.labels]
        self.names: Sequence[str] = content.names
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.origin = origin_of(root, split, ignored=content.ignored)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return {"image": self._images.image(index, self.decoding, self.names[index]), **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the files of one sample alone: none."""
        return ()

    def measure(self, index: int) -> Measure:
        """Returns the size of one image."""
        return Measure((_SIDE, _SIDE), self.decoding.channels * _SIDE * _SIDE)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"label": self._labels[index]}


class _Packed(NamedTuple):
    archive: Archive
    positions: Tensor  # of the images in the archive

    def image(self, index: int, decoding: Decoding, name: str) -> Tensor:
        image = decode_image(self.archive.read(int(self.positions[index])), decoding, name=name)
        if image.shape[1:] != (_SIDE, _SIDE):
            size = f"{image.shape[2]}x{image.shape[1]}"
            raise DataError(
                f"{name}: image is {size}; CIFAR's are {_SIDE}x{_SIDE}: use the folder reader on other sets"
            )
        return image


class _Plain(NamedTuple):
    images: Tensor  # (N, 3, 32, 32) uint8

    def image(self, index: int, decoding: Decoding, name: str) -> Tensor:
        image = self.images[index]
        if decoding.channels == 3 and not decoding.bands:
            return image.clone()
        if decoding.channels != 1 or decoding.bands:
            raise DataError(f"{name}: image has 3 colours: set data.channels to 3 or 1, and leave data.bands out")
        weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        return (image * weights).sum(dim=0, keepdim=True).round().to(torch.uint8)


class _Content(NamedTuple):
    images: _Packed | _Plain
    labels: Tensor
    classes: tuple[str, ...]
    names: list[str]
    ignored: int
    files: tuple[Path, ...]


def _read_archive(root: Path, split: str) -> _Content | None:
    wanted = ("val.tar.gz", "test.tar.gz") if split == "val" else (f"{split}.tar.gz",)
    path = next((root / name for name in wanted if (root / name).is_file()), None)
    if path is None:
        return None
    archive = read_archive(path)
    parts = [PurePosixPath(name).parts for name in archive.names]
    positions = [i for i, p in enumerate(parts) if len(p) >= 2 and is_image_name(p[-1]) and not any(map(is_junk, p))]
    folders = [parts[i][-2] for i in positions]
    names = sorted(set(folders))
    classes = _meta(root) or tuple(names)
    label_of = dict(zip(names, match(names, classes, printable(path)), strict=True))
    return _Content(
        _Packed(archive, torch.tensor(positions)),
        torch.tensor([label_of[folder] for folder in folders], dtype=torch.int64),
        classes,
        [printable(archive.names[i]) for i in positions],
        len(parts) - len(positions),
        (path, *_metas(root)),
    )


def _read_batches(root: Path, split: str) -> _Content | None:
    for folder in (root, root / _BATCHES):
        wanted = [folder / name for name in _batch_names(split)]
        paths = [path for path in wanted if path.is_file()]
        if paths:
            _require_all(wanted, paths, split)
            records = [_records(path) for path in paths]
            names = [
                f"{path.name}/{i:05d}" for path, batch in zip(paths, records, strict=True) for i in range(len(batch))
            ]
            data = torch.cat(records)
            classes = _meta(folder, root) or tuple(str(i) for i in range(10))
            labels = data[:, 0].long()
            if int(labels.max()) >= len(classes):
                raise DataError(f"{printable(folder)}: label {int(labels.max())}; expected 0 to {len(classes) - 1}")
            images = _Plain(data[:, 1:].reshape(-1, 3, _SIDE, _SIDE).clone())
            return _Content(images, labels, classes, names, 0, (*paths, *_metas(folder, root)))
    return None


def _require_all(wanted: Sequence[Path], paths: Sequence[Path], split: str) -> None:
    missing = [path.name for path in wanted if path not in paths]
    if missing:
        problem = f"{printable(wanted[0].parent)} lacks {', '.join(missing)}"
        raise DataError(f"{problem}; the {split} split is all {len(wanted)} batches: unpack the download again")


def _batch_names(split: str) -> list[str]:
    return [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]


def _records(path: Path) -> Tensor:
    data = path.read_bytes()
    if not data or len(data) % _RECORD:
        raise DataError(
            f"{printable(path)}: {len(data)} bytes; expected a multiple of {_RECORD}, one label and 32x32 RGB"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(-1, _RECORD).copy())


def _meta(*folders: Path) -> tuple[str, ...]:
    """The class names in the first of the folders that has a list of them; empty where none has."""
    texts = (read_text(path, most=MOST_CLASSES).split() for path in _metas(*folders))
    return next((tuple(names) for names in texts if names), ())


def _metas(*folders: Path) -> tuple[Path, ...]:
    return tuple(path for folder in dict.fromkeys(folders) if (path := folder / "batches.meta.txt").is_file())
