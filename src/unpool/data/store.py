"""From a reader to samples that can be trained on: every file looked at once, faults listed, sizes known."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.contents import Contents
from unpool.data.findings import Findings
from unpool.data.in_order import called_in_order
from unpool.data.label_counts import LabelCounts
from unpool.data.likeness import Likeness
from unpool.data.looking import Binding, Look, Looking
from unpool.data.measure import Measure, MeasuringReader
from unpool.data.memory import MOST_BYTES, ColumnWriter, MemorySamples
from unpool.data.plain import is_iterated
from unpool.data.range_of_set import settle_range
from unpool.data.streamed import StreamedSamples
from unpool.errors import EnvironmentFault
from unpool.machine import free_bytes
from unpool.types import Fault, Reader, Samples

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
        contents: of all files; None of a reader that names no files.
        likeness: (N, 2) hashes of each image and of its mirror image, see `likeness`; None where not all were decoded.
    """

    samples: Samples
    faults: list[Fault]
    manifest: dict[str, Any]
    counts: LabelCounts
    contents: Contents | None
    likeness: NDArray[np.uint64] | None

    def record(self) -> dict[str, Any]:
        """The manifest with the contents of all files, for data.json."""
        return {**self.manifest, "files": None if self.contents is None else self.contents.to_json()}

    def identity(self) -> dict[str, Any] | None:
        """Names and contents of the samples, by which what is computed from them can be kept; None where unknown.

        When a file was changed says nothing of its content.
        """
        record = self.record()
        if not (record["files"] or record.get("checksums")):
            return None
        files = [(path, values[0], values[2]) for path, values in (record["files"] or {}).items()]
        return {"names": list(self.samples.names), "sums": record.get("checksums"), "files": files}


def scan(
    reader: Reader,
    *,
    memory: bool | None = None,
    shared: bool = False,
    binding: Binding = Binding(),  # noqa: B008 - a tuple
    progress: Progress | None = None,
) -> ScanResult:
    """Looks at every sample once.

    Args:
        reader: one split of a data set.
        memory: True decodes all of it now and holds it; False decodes all of it too, unless `binding` says otherwise,
            and again when it is asked for; None holds what is small: less than a quarter of the free memory, and less
            than 4 GB.
        shared: hold it in shared memory, for worker processes.
        binding: how contents of files are bound to the run, and whether they are decoded.
        progress: called with the number of samples done and their total.

    Raises:
        DataError: files that must be mended, all in one list; or more unreadable ones than 1 % (and than 10).
        EnvironmentFault: memory was asked for and there is not enough.
    """
    started_s = time.monotonic()
    findings = Findings(reader)
    looking = Looking(reader, binding)
    candidates = looking.candidates(findings)
    if isinstance(reader, MeasuringReader):
        measured = _measure(reader, candidates, findings)
        settle_range(reader, measured, findings)
        candidates, needed = list(measured), sum(m.num_bytes for m in measured.values())
        looking.sizes_hw = {index: one.size_hw for index, one in measured.items()}
    else:
        needed = _estimate(reader, findings, looking.whole)
    looking.in_memory = in_memory = _fits(needed, memory=memory)
    kept: list[int] = []
    sizes: list[Size] = []
    likeness: list[Likeness | None] = []
    checksums: list[str] = []
    counts = LabelCounts(reader.info.classes)
    columns = {key: ColumnWriter(is_shared=shared) for key in reader.gives} if in_memory else {}
    threads = 1 if is_iterated(reader) else _threads(needed, len(candidates))
    seen = called_in_order(partial(findings.attempt, looking), candidates, threads=threads)
    for done, (index, item) in enumerate(zip(candidates, seen, strict=True), start=1):
        if not isinstance(item, Fault):
            item = findings.attempt(partial(looking.check_forms, item), index)
        if isinstance(item, Fault):
            findings.add(item, reader.names[index])
        else:
            kept.append(index)
            sizes.append(item.size_hw)
            counts.add(item.counts)
            likeness.append(item.likeness)
            checksums += item.checksum
            findings.note(reader.names[index], item.remarks)
            looking.add_files(item.files)
            for key, column in columns.items():
                column.append(item.sample[key])
        if progress is not None:
            progress(done, len(candidates))
    findings.verdict(len(kept))
    looking.report(time.monotonic() - started_s)
    names = [reader.names[i] for i in kept]
    samples: Samples
    if in_memory:
        held = {key: column.column() for key, column in columns.items()}
        samples = MemorySamples(held, names=names, sizes_hw=sizes, info=reader.info)
    else:
        watch = None if looking.contents is None else looking.contents.watch()
        samples = StreamedSamples(reader, kept, names=names, sizes_hw=sizes, watch=watch)
    manifest = {**findings.manifest(names), "labels": counts.to_json(), "memory": in_memory, "decoded_bytes": needed}
    manifest |= {"checksums": checksums} if checksums else {}
    return ScanResult(samples, findings.skipped, manifest, counts, looking.contents, _stacked(likeness))


def _stacked(likeness: Sequence[Likeness | None]) -> NDArray[np.uint64] | None:
    """(N, 2) hashes of all samples, None where an image was not decoded."""
    known = [one for one in likeness if one is not None]
    return None if len(known) < len(likeness) else np.array(known, np.uint64).reshape(-1, 2)


def _measure(reader: MeasuringReader, indices: Sequence[int], findings: Findings) -> dict[int, Measure]:
    measured = {}
    attempt = partial(findings.attempt, reader.measure)
    items = called_in_order(attempt, indices, threads=_MEASURING_THREADS)
    for index, item in zip(indices, items, strict=True):
        if isinstance(item, Fault):
            findings.add(item, reader.names[index])
        else:
            measured[index] = item
            findings.note(reader.names[index], item.notes)
    return measured


def _estimate(reader: Reader, findings: Findings, look: Callable[[int], Look]) -> int:
    """Bytes of all samples, from a few spread over the set; of an iterable the first."""
    count = min(len(reader), _PROBED)
    probed = np.linspace(0, (count if is_iterated(reader) else len(reader)) - 1, count).astype(int).tolist()
    looks = [findings.attempt(look, i) for i in probed]
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
