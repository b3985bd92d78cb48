"""The batches and samples of one split, from a loader, a list of batches, or a data set of single samples."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from unpool.data.seeding import seed_generators, shared_restored
from unpool.errors import DataError
from unpool.tracing.foreign import foreign_code

BATCH = 16  # samples, where a data set comes without a loader
LISTED = 20  # names that are looked up on the disk, to tell files from other names
IMAGE_KEYS = ("image", "images", "pixel_values", "input", "inputs", "x", "img", "data")
TARGET_KEYS = ("label", "target", "targets", "mask", "clean", "y")  # of a batch that is a dict: a tensor to learn from

Batch = Any  # a tuple (inputs, targets), or a dict


class Source:
    """One split of the data.

    Args:
        data: an iterable of batches that can be run again, or a map-style data set of samples.
        name: "train" or "val", for messages.
        seed: of the samples that are drawn.
        dataset: of the same samples one by one, where `data` does not have it itself.
        asked: what predict is asked about instead of a sample's file or image, by its number.

    Raises:
        DataError: it can be run only once, or gives nothing.

    Example:
        >>> source = Source([(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))], name="train")
        >>> len(source.batches(5)), [int(target) for _, target in source.samples(9)]
        (1, [0, 1])
    """

    def __init__(
        self,
        data: Any,
        *,
        name: str,
        seed: int = 0,
        dataset: Any = None,
        asked: Callable[[int], Any] | None = None,
    ) -> None:
        if isinstance(data, Iterator):
            raise DataError(
                f"{name} is a {type(data).__name__} that can be run only once, and a check reads it several times: "
                "give the DataLoader, the data set, or a list of batches"
            )
        self.data = data
        self.name = name
        self.seed = seed
        self.dataset = _dataset_of(data) if dataset is None else dataset
        self.asked = asked
        self._batches: list[Batch] = []
        self._is_whole = False

    @property
    def is_loader(self) -> bool:
        """Whether it gives batches itself."""
        return self.dataset is not self.data

    @property
    def loader(self) -> DataLoader | None:
        return self.data if isinstance(self.data, DataLoader) else None

    def __len__(self) -> int:
        """Samples in all; of an iterable without a data set those of the batches that were read."""
        return sum(map(count, self._batches)) if self.dataset is None else len(self.dataset)

    @property
    def batches_an_epoch(self) -> int | None:
        """Batches in all; None of an iterable that has no length."""
        if not self.is_loader:
            return -(-len(self) // BATCH)
        if isinstance(self.data, Sized):
            with foreign_code():  # torch's loader of an iterable set has none
                return len(self.data)
        return len(self._batches) if self._is_whole else None

    def batches(self, most: int) -> list[Batch]:
        """Returns the first batches, read once and kept; generators are left as they were."""
        if len(self._batches) < most and not self._is_whole:
            with shared_restored():
                seed_generators(self.seed, 0, 0)
                self._batches = list(islice(self.read(), most))
            self._is_whole = len(self._batches) < most
            if not self._batches:
                raise DataError(f"{self.name} gives no batch")
        return self._batches[:most]

    def read(self) -> Iterator[Batch]:
        """All batches, read anew in the order of the source."""
        if self.is_loader:
            with _few_workers(self.loader):
                batches = iter(self.data)
            yield from batches
            return
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(self.seed)).tolist()
        for start in range(0, len(order), BATCH):
            yield default_collate([self.dataset[i] for i in order[start : start + BATCH]])

    def samples(self, most: int) -> Iterator[tuple[Any, Any]]:
        """(input, target) of single samples: of a data set drawn by the seed, else those of the first batches."""
        if self.dataset is not None:
            for i in self.drawn(most):
                yield split(self.dataset[i])
            return
        left = most
        for batch in self.read():
            for one in singles(batch):
                if left == 0:
                    return
                left -= 1
                yield split(one)

    def drawn(self, most: int) -> list[int]:
        """Indices of at most so many samples of the data set, all of them in order where there are no more."""
        size = len(self)
        if size <= most:
            return list(range(size))
        return sorted(np.random.default_rng(self.seed).choice(size, most, replace=False).tolist())

    def files(self) -> list[str] | None:
        """Paths by sample, where the data set lists files as torchvision's folders do; else None."""
        listed = vars(self.dataset).get("samples") if self.dataset is not None else None
        if not isinstance(listed, Sequence) or not listed or not isinstance(listed[0], tuple):
            return None
        paths = [path for path, *_ in listed if isinstance(path, str | PathLike)]
        if len(paths) < len(listed) or not any(Path(path).is_file() for path in paths[:LISTED]):
            return None  # pictures in memory, or names that the data set brings to paths itself
        return [str(path) for path in paths]

    def names(self) -> list[str] | None:
        """Names by sample, where the data set lists them in `names`; else None."""
        listed = vars(self.dataset).get("names") if self.dataset is not None else None
        is_one_each = isinstance(listed, Sequence) and not isinstance(listed, str) and len(listed) == len(self)
        return list(map(str, listed)) if is_one_each and listed is not None else None


@contextmanager
def _few_workers(loader: DataLoader | None) -> Iterator[None]:
    """No more workers than processors where a loader is opened: each start of 64 costs seconds, and starts are many."""
    if loader is None or loader.persistent_workers or loader.num_workers <= (most := os.cpu_count() or 1):
        yield
        return
    usual, loader.num_workers = loader.num_workers, most
    try:
        yield
    finally:
        loader.num_workers = usual


def split(batch: Batch) -> tuple[Any, Any]:
    """(inputs, targets) of a batch or a sample; of a dict the targets are all of it.

    Raises:
        DataError: it is neither a pair nor a dict with an image.
    """
    if isinstance(batch, Mapping):
        key = next((name for name in IMAGE_KEYS if name in batch), None)
        if key is None:
            raise DataError(f"a batch has the keys {', '.join(map(str, batch))}; the images must be under 'image'")
        return batch[key], batch
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return batch[0], batch[1] if len(batch) == 2 else tuple(batch[1:])
    raise DataError(
        f"a batch is a {type(batch).__name__}; it must be a tuple (inputs, targets), or a dict with 'image' and more"
    )


def count(batch: Batch) -> int:
    """Samples in a batch."""
    return len(split(batch)[0])


def singles(batch: Batch) -> Iterator[Any]:
    """The samples of a batch one by one, of its kind and without the batch axis."""
    for i in range(count(batch)):
        yield picked(batch, i)


def picked(value: Any, index: Any) -> Any:
    """What a batch holds of one sample, or of several where `index` is a list or a slice."""
    if isinstance(value, Mapping):
        return {key: picked(one, index) for key, one in value.items()}
    if isinstance(value, tuple) or (
        isinstance(value, list) and value and isinstance(value[0], Tensor) and _is_pair(value)
    ):
        return tuple(picked(one, index) for one in value)
    if isinstance(value, list):
        return [value[i] for i in index] if isinstance(index, list) else value[index]
    return value[index] if isinstance(value, Tensor | np.ndarray) and value.ndim else value


def _is_pair(value: list[Any]) -> bool:
    """Whether a list is what a loader makes of tuples: (inputs, targets), both batched."""
    if len(value) != 2 or not all(isinstance(one, Tensor) for one in value):
        return False
    return value[0].ndim == 4 and len(value[0]) == len(value[1])


def _dataset_of(data: Any) -> Any:
    """The map-style data set that the source is or reads; None where there is none."""
    if isinstance(data, DataLoader):
        data = data.dataset
    is_map = isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset)
    if isinstance(data, list | tuple):
        return None
    return data if is_map or _has_items(data) else None


def _has_items(data: Any) -> bool:
    """Whether an object of the caller's has items by number: not all data sets are torch's."""
    kind = type(data)
    return not isinstance(data, Iterable) and "__getitem__" in dir(kind) and "__len__" in dir(kind)
