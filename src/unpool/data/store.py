"""From a reader to samples that can be trained on: every file looked at once, faults listed, sizes known."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.findings import Findings
from unpool.data.image_file import Unreadable
from unpool.data.in_order import called_in_order
from unpool.data.label_counts import LabelCounts, count_sample
from unpool.data.measure import Measure, MeasuringReader
from unpool.data.memory import MOST_BYTES, ColumnWriter, MemorySamples
from unpool.data.range_of_set import settle_range
from unpool.data.remarks import collected
from unpool.errors import DataError, EnvironmentFault
from unpool.machine import free_bytes
from unpool.ops.targets import class_faults
from unpool.types import DataInfo, Fault, Reader, Sample, Samples

Progress = Callable[[int, int], None]
Size = tuple[int, int]

_SMALL_PIXELS = 64 * 64  # below this, threads wait for the interpreter more than they decode
_PROBED = 8
_MEASURING_THREADS = 4


class ScanResult(NamedTuple):
    """The result of a scan.

    Attributes:
        samples: those that can be read.
        faults: files left out, with the reason.
        manifest: where the list comes from, names kept, files skipped, notes, counts of classes, as JSON.
        counts: of the classes in the targets.
    """

    samples: Samples
    faults: list[Fault]
    manifest: dict[str, Any]
    counts: LabelCounts


class StreamedSamples:
    """Samples decoded each time they are asked for."""

    def __init__(self, reader: Reader, kept: Sequence[int], *, names: Sequence[str], sizes_hw: Sequence[Size]) -> None:
        self.gives = reader.gives
        self.info = reader.info
        self.names = names
        self.sizes_hw = sizes_hw
        self._reader = reader
        self._kept = torch.tensor(kept, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        try:
            sample = self._reader[int(self._kept[index])]
        except OSError as error:
            raise Unreadable(self.names[index], f"cannot read ({error.strerror or error})") from error
        size = self.sizes_hw[index]
        if _size_of(sample) != size:
            raise DataError(f"{self.names[index]}: no longer {size} (height, width); it was changed while in use")
        return {**sample, "index": torch.tensor(index), "size_hw": torch.tensor(size)}

    def targets(self, index: int) -> Sample:
        kept = int(self._kept[index])
        return self._reader.targets(kept) if isinstance(self._reader, MeasuringReader) else self._reader[kept]


def scan(
    reader: Reader, *, memory: bool | None = None, shared: bool = False, progress: Progress | None = None
) -> ScanResult:
    """Looks at every sample once.

    Args:
        reader: one split of a data set.
        memory: True decodes all of it now and holds it; False reads headers and targets now, and images when they are
            asked for; None holds what is small: less than a quarter of the free memory, and less than 4 GB.
        shared: hold it in shared memory, for worker processes.
        progress: called with the number of samples done and their total.

    Raises:
        DataError: files that must be mended, all in one list; or more unreadable ones than 1 % (and than 10).
        EnvironmentFault: memory was asked for and there is not enough.
    """
    findings = Findings(reader)
    if isinstance(reader, MeasuringReader):
        measured = _measure(reader, findings)
        settle_range(reader, measured, findings)
        candidates, needed = list(measured), sum(m.num_bytes for m in measured.values())
        in_memory = _fits(needed, memory=memory)
        look = partial(_look_whole, reader) if in_memory else partial(_look_at_targets, reader, measured)
    else:
        candidates, needed = list(range(len(reader))), _estimate(reader, findings)
        in_memory = _fits(needed, memory=memory)
        look = partial(_look_whole, reader)
    kept: list[int] = []
    sizes: list[Size] = []
    counts = LabelCounts(reader.info.classes)
    columns = {key: ColumnWriter(is_shared=shared) for key in reader.gives} if in_memory else {}
    seen = called_in_order(partial(findings.attempt, look), candidates, threads=_threads(needed, len(candidates)))
    forms: dict[str, str] = {}
    for done, (index, item) in enumerate(zip(candidates, seen, strict=True), start=1):
        if not isinstance(item, Fault):
            item = findings.attempt(partial(_check_forms, forms, item), index)
        if isinstance(item, Fault):
            findings.add(item)
        else:
            kept.append(index)
            sizes.append(item.size_hw)
            counts.add(item.counts)
            findings.note(reader.names[index], item.remarks)
            for key, column in columns.items():
                column.append(item.sample[key])
        if progress is not None:
            progress(done, len(candidates))
    findings.verdict(len(kept))
    names = [reader.names[i] for i in kept]
    samples: Samples
    if in_memory:
        held = {key: column.column() for key, column in columns.items()}
        samples = MemorySamples(held, names=names, sizes_hw=sizes, info=reader.info)
    else:
        samples = StreamedSamples(reader, kept, names=names, sizes_hw=sizes)
    manifest = {**findings.manifest(names), "labels": counts.to_json(), "memory": in_memory, "decoded_bytes": needed}
    return ScanResult(samples, findings.skipped, manifest, counts)


class _Look(NamedTuple):
    size_hw: Size
    sample: Sample
    counts: dict[str, np.ndarray]
    remarks: Sequence[str] = ()


def _look_whole(reader: Reader, index: int) -> _Look:
    with collected() as remarks:
        sample = reader[index]
    image = sample["image"]
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise DataError(f"image is {image.dtype} {tuple(image.shape)}; a reader gives uint8 (C, H, W)")
    size = _size_of(sample)
    _check_targets(sample, reader.info, size)
    return _Look(size, sample, count_sample(sample, len(reader.info.classes)), remarks)


def _look_at_targets(reader: MeasuringReader, measured: Mapping[int, Measure], index: int) -> _Look:
    with collected() as remarks:
        targets = reader.targets(index)
    size = measured[index].size_hw
    _check_targets(targets, reader.info, size)
    return _Look(size, targets, count_sample(targets, len(reader.info.classes)), remarks)


def _check_targets(sample: Sample, info: DataInfo, size: Size) -> None:
    """Every value is a tensor, every class target in range, and the mask covers the image."""
    for key, value in sample.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{key} is a {type(value).__name__}; a reader gives tensors")
    mask = sample.get("mask")
    if mask is not None and (mask.dtype != torch.uint8 or tuple(mask.shape) != size):
        raise DataError(f"mask is {mask.dtype} {tuple(mask.shape)}; expected uint8 {size}, the size of its image")
    if faults := class_faults(sample, len(info.classes)):
        raise DataError(f"{faults}; correct the file or the list of classes")


def _check_forms(forms: dict[str, str], look: _Look, index: int) -> _Look:
    """The look, where its values are of the kinds in `forms`, those of the samples before, to which new keys are added.

    A list of boxes that is empty is as easily of another kind as it would spoil those it is stored with.
    """
    for key, value in look.sample.items():
        form = f"{value.dtype} of {value.dim()} axes"
        if forms.setdefault(key, form) != form:
            raise DataError(f"{key} is {form}, in samples before {forms[key]}; give all alike, also where one is empty")
    return look


def _measure(reader: MeasuringReader, findings: Findings) -> dict[int, Measure]:
    measured = {}
    attempt, every = partial(findings.attempt, reader.measure), range(len(reader))
    for index, item in enumerate(called_in_order(attempt, every, threads=_MEASURING_THREADS)):
        if isinstance(item, Fault):
            findings.add(item)
        else:
            measured[index] = item
            findings.note(reader.names[index], item.notes)
    return measured


def _estimate(reader: Reader, findings: Findings) -> int:
    """Bytes of all samples, from a few spread over the set."""
    probed = np.linspace(0, len(reader) - 1, min(len(reader), _PROBED)).astype(int).tolist()
    looks = [findings.attempt(partial(_look_whole, reader), i) for i in probed]
    sizes = [sum(value.nbytes for value in look.sample.values()) for look in looks if not isinstance(look, Fault)]
    return len(reader) * sum(sizes) // max(len(sizes), 1)


def _fits(needed: int, *, memory: bool | None) -> bool:
    free = free_bytes()
    if memory and needed > free:
        raise EnvironmentFault(
            f"the decoded images need {needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB of memory are free: "
            "set data.memory=false"
        )
    return needed < min(free / 4, MOST_BYTES) if memory is None else memory


def _threads(needed: int, count: int) -> int:
    is_small = needed < count * _SMALL_PIXELS
    return 1 if is_small else min(8, os.cpu_count() or 1)


def _size_of(sample: Sample) -> Size:
    height, width = sample["image"].shape[-2:]
    return int(height), int(width)
