"""A data set of (image, target) as a reader."""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.data.plain.iterated import Iterated
from unpool.data.plain.levels import Levels, image_of
from unpool.data.plain.targets import Setting, target_of, visibility
from unpool.errors import DataError
from unpool.tracing.foreign import foreign_code
from unpool.types import BATCH_KEYS, DataInfo, Fault, Sample

_LOCK = threading.Lock()  # a data set that seeks in one open file is not safe in threads, nor are two that share it


class DatasetReader:
    """Samples of any object with `len(set)` and `set[i]`.

    A sample is a tuple of the image and what `gives` names after it, in this order, or a dict of these keys; `visible`
    may be missing. See `image_of` and `target_of` for the kinds of values.

    Args:
        dataset: read by one thread at a time.
        gives: batch keys that the task needs; `visible` comes with `keypoints`.
        info: names of the classes or joints.
        levels: of the images.
        part: name of the split, of which the names of samples are made.
        is_random: samples differ from one reading to the next, so that none is held.
        numbers: of each class that the data set numbers, its number in `info`; empty where they are the same.

    Raises:
        DataError: by `reader[i]`, where the data set fails, or gives something else.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        gives: Sequence[str],
        info: DataInfo,
        levels: Levels,
        part: str,
        is_random: bool = False,
        numbers: tuple[int, ...] = (),
    ) -> None:
        self.dataset = dataset
        self.gives = tuple(gives)
        self.info = info
        self.setting = Setting(info, levels, numbers)
        self.is_random = is_random
        self.names: Sequence[str] = [f"{part}[{index}]" for index in range(len(dataset))]
        self.faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        values = by_key(item_of(self.dataset, index), self.gives)
        sample = {"image": self.setting.levels.to_uint8(image_of(values["image"]))}
        for key, value in values.items():
            if key not in ("image", "visible"):
                sample |= target_of(key, value, self.setting)
        if "visible" in values and "visible" in sample:
            sample["visible"] &= visibility(values["visible"], len(sample["visible"]))
        if "clean" in sample and sample["clean"].shape != sample["image"].shape:
            shapes = [tuple(sample[key].shape) for key in ("clean", "image")]
            raise DataError(f"clean is {shapes[0]} and its image {shapes[1]} (C, H, W): give both the same size")
        return sample


def item_of(dataset: Any, index: int) -> Any:
    """What the data set gives at a position.

    Raises:
        DataError: its code raised an error, which is the cause of this one.
        OSError: it could not read a file.
    """
    item = None
    with _LOCK, foreign_code(passing=OSError) as failure:
        item = dataset[index]
    if isinstance(failure.error, DataError):
        raise failure.error
    if failure.error is not None:
        raise DataError(f"the data set raised {type(failure.error).__name__}: {failure}") from failure.error
    return item


def by_key(item: Any, gives: Sequence[str]) -> dict[str, Any]:
    """The values of one item of a data set, by batch key.

    Raises:
        DataError: one that is needed is missing.

    >>> by_key(("picture", 3), ("image", "label"))
    {'image': 'picture', 'label': 3}
    """
    needed = [key for key in gives if key != "visible"]
    if isinstance(item, Mapping):
        if missing := [key for key in needed if key not in item]:
            raise DataError(
                f"a sample is a dict of {', '.join(map(str, item))}, and lacks {', '.join(missing)}: use these names"
            )
        return {key: item[key] for key in item if key in needed or (key in BATCH_KEYS and key in _OPTIONAL)}
    if not isinstance(item, tuple | list):
        item = (item,)
    if len(item) < len(needed):
        raise DataError(
            f"a sample has {len(item)} {'value' if len(item) == 1 else 'values'}, and {len(needed)} are needed: give "
            f"({', '.join(needed)}), or a dict of these"
        )
    return dict(zip(gives, item, strict=False))  # `visible`, the last, may be missing


_OPTIONAL = ("visible", "area", "areas", "boxes")  # that scores of poses are computed from where they are known


def draws_numbers(dataset: Any, indices: Sequence[int]) -> bool:
    """Whether reading items at these positions draws random numbers, or gives others when they are read again."""
    before = _states()
    items = [item_of(dataset, index) for index in indices]
    if _states() != before:
        return True
    return any(not equal_items(item, item_of(dataset, index)) for item, index in zip(items, indices, strict=True))


def _states() -> tuple[Any, ...]:
    """Of the generators that everybody shares."""
    return torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state(legacy=False))  # noqa: NPY002, that which others draw from


def equal_items(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and all(equal_items(one[key], other.get(key)) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(equal_items, one, other))
    if hasattr(one, "tobytes") and hasattr(other, "tobytes"):  # arrays and PIL images
        return bool(one.tobytes() == other.tobytes())
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
    return bool(one == other)


def is_random(reader: object) -> bool:
    """Whether samples of a reader differ from one reading to the next."""
    return isinstance(reader, DatasetReader) and reader.is_random


def is_iterated(reader: object) -> bool:
    """Whether samples of a reader come one after another only."""
    return isinstance(reader, DatasetReader) and is_in_turn(reader.dataset)


def is_in_turn(dataset: Any) -> bool:
    """Whether a data set, or the one that it collates, is read in turn only."""
    return any(isinstance(one, Iterated) for one in (dataset, getattr(dataset, "dataset", None)))
