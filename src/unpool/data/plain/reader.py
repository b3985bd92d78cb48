"""A data set of (image, target) as a reader."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, Literal

from unpool.data.plain.iterated import Iterated
from unpool.data.plain.levels import Levels
from unpool.data.plain.matches import BESIDE, has_pairs, matches_of, picture_of
from unpool.data.plain.people import has_boxed_people, people_by_key, people_of
from unpool.data.plain.targets import Setting, target_of, visibility
from unpool.data.plain.things import check_besides, things_of
from unpool.data.plain.words import OPTIONAL, things_by_key
from unpool.data.seeding import seed_generators, shared_restored
from unpool.errors import DataError
from unpool.tracing.foreign import foreign_code
from unpool.types import BATCH_KEYS, DataInfo, Fault, Reader, Sample

Drawing = Literal["", "shared", "private"]
"""Where the random numbers of a data set come from: it draws none; from torch, NumPy and `random`, which can be seeded;
or from a generator of its own, or what cannot be seeded."""

_LOCK = threading.Lock()  # a data set that seeks in one open file is not safe in threads, nor are two that share it


class DatasetReader:
    """Samples of any object with `len(set)` and `set[i]`.

    A sample is a tuple of the image and what `gives` names after it, in this order, or a dict of these keys; `visible`
    may be missing. One with boxes may be an image and a dict too, see `things_by_key` and `people_by_key`. See
    `picture_of`, `target_of`, `things_of`, `people_of` and `matches_of` for the kinds of values.

    Args:
        dataset: read by one thread at a time.
        gives: batch keys that the task needs, and of boxes what samples have besides; `visible` comes with `keypoints`,
            `ignored` with people in boxes.
        info: names of the classes or joints.
        levels: of the images.
        part: name of the split, of which the names of samples are made.
        is_random: samples differ from one reading to the next, so that none is held.
        numbers: of each class that the data set numbers, its number in `info`; empty where they are the same.
        drawing: whether reading draws random numbers, and from which generators.

    Raises:
        DataError: by `reader[i]`, where the data set fails, or gives something else.
    """

    def __init__(  # noqa: PLR0913, what a set is read by
        self,
        dataset: Any,
        *,
        gives: Sequence[str],
        info: DataInfo,
        levels: Levels,
        part: str,
        is_random: bool = False,
        numbers: Mapping[int, int] = MappingProxyType({}),
        drawing: Drawing = "",
    ) -> None:
        self.dataset = dataset
        self.gives = (*gives, *(("ignored",) if has_boxed_people(gives) else ()))
        self.info = info
        self.setting = Setting(info, levels, numbers)
        self.is_random = is_random
        self.drawing: Drawing = drawing
        self.names: Sequence[str] = [f"{part}[{index}]" for index in range(len(dataset))]
        self.faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self._read(index)

    def seeded(self, index: int) -> Sample:
        """The sample that is drawn by known numbers of the shared generators, which are left as they were."""
        return self._read(index, is_seeded=True)

    def _read(self, index: int, *, is_seeded: bool = False) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        values = by_key(item_of(self.dataset, index, is_seeded=is_seeded), self.gives)
        sample = {"image": self.setting.levels.to_uint8(picture_of(values["image"], self.gives))}
        size = int(sample["image"].shape[-2]), int(sample["image"].shape[-1])
        if "labels" in self.gives:
            return sample | things_of(values, self.gives, self.setting, size_hw=size)
        if has_boxed_people(self.gives):
            return sample | people_of(values, self.gives, self.setting, size_hw=size)
        check_besides(values, self.gives, _besides(self.gives))
        if has_pairs(self.gives):
            return sample | matches_of(values, size)
        return self._with_targets(sample, values)

    def _with_targets(self, sample: Sample, values: Mapping[str, Any]) -> Sample:
        """The sample with its targets, which are of no boxes and of no pair of images."""
        for key, value in values.items():
            if key not in ("image", "visible"):
                sample |= target_of(key, value, self.setting)
        if "visible" in values and "visible" in sample:
            sample["visible"] &= visibility(values["visible"], len(sample["visible"]))
        if "clean" in sample and sample["clean"].shape != sample["image"].shape:
            shapes = [tuple(sample[key].shape) for key in ("clean", "image")]
            raise DataError(f"clean is {shapes[0]} and its image {shapes[1]} (C, H, W): give both the same size")
        return sample


def item_of(dataset: Any, index: int, *, is_seeded: bool = False) -> Any:
    """What the data set gives at a position, by known numbers of the shared generators where `is_seeded`.

    Raises:
        DataError: its code raised an error, which is the cause of this one.
        OSError: it could not read a file.
    """
    item = None
    with _LOCK, foreign_code(passing=OSError) as failure, shared_restored() if is_seeded else nullcontext():
        if is_seeded:
            seed_generators(0, 0, index)
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
    if "labels" in gives:
        return things_by_key(item, gives)
    if has_boxed_people(gives):
        return people_by_key(item)
    optional = BESIDE if has_pairs(gives) else ("visible", *_OF_POSES)
    needed = [key for key in gives if key not in optional]
    if isinstance(item, Mapping):
        if missing := [key for key in needed if key not in item]:
            raise DataError(
                f"a sample is a dict of {', '.join(map(str, item))}, and lacks {', '.join(missing)}: use these names"
            )
        return {key: item[key] for key in item if key in needed or (key in BATCH_KEYS and key in optional)}
    if not isinstance(item, tuple | list):
        item = (item,)
    if len(item) < len(needed):
        raise DataError(
            f"a sample has {len(item)} {'value' if len(item) == 1 else 'values'}, and {len(needed)} are needed: give "
            f"({', '.join(needed)}), or a dict of these"
        )
    return dict(zip(gives, item, strict=False))  # `visible`, the last, may be missing


_OF_POSES = ("area", "areas", "boxes")  # that scores are computed from where they are known


def known_besides(looked: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """What samples have beside what their task needs: of things with a class, of pairs of images, or of poses.

    >>> known_besides([{"labels": [], "boxes": []}, {"labels": [3], "boxes": [[0, 0, 8, 8]], "crowd": [0]}])
    ('crowd',)
    >>> known_besides([{"people": [], "areas": []}])
    ('areas',)
    """
    keys = {key for one in looked for key in one}
    return tuple(key for key in _besides(keys) if key in keys)


def _besides(keys: Collection[str]) -> tuple[str, ...]:
    """What samples of some keys may have besides."""
    if "labels" in keys:
        return OPTIONAL
    return BESIDE if has_pairs(keys) else _OF_POSES


def drawing_of(reader: object) -> Drawing:
    """Whether reading samples of a reader draws random numbers, and from which generators."""
    return reader.drawing if isinstance(reader, DatasetReader) else ""


def read_seeded(reader: Reader, index: int) -> Sample:
    """A sample; one that is drawn from the shared generators is the same each time."""
    return reader.seeded(index) if isinstance(reader, DatasetReader) and reader.drawing else reader[index]


def is_random(reader: object) -> bool:
    """Whether samples of a reader differ from one reading to the next."""
    return isinstance(reader, DatasetReader) and reader.is_random


def is_iterated(reader: object) -> bool:
    """Whether samples of a reader come one after another only."""
    return isinstance(reader, DatasetReader) and is_in_turn(reader.dataset)


def is_in_turn(dataset: Any) -> bool:
    """Whether a data set, or the one that it collates, is read in turn only."""
    return any(isinstance(one, Iterated) for one in (dataset, getattr(dataset, "dataset", None)))
