"""One range for all deep images of a set, found in their values; see `depth`."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from unpool.data.depth import OPTION, doubt_of, extremes, needs_range, require_whole, smallest_range
from unpool.data.findings import Findings
from unpool.data.image_file import Probe, Source, name_of, printable, probe, recognised
from unpool.data.in_order import called_in_order
from unpool.data.measure import Measure, MeasuringReader
from unpool.data.stored import read_values
from unpool.errors import DataError
from unpool.types import Decoding, Fault, Range

_log = logging.getLogger(__name__)
_THREADS = 4


@runtime_checkable
class DecodingReader(MeasuringReader, Protocol):
    """A reader whose images are files."""

    decoding: Decoding


class Seen(NamedTuple):
    """The values of one deep file."""

    probed: Probe
    low: float
    high: float


def see(source: Source, decoding: Decoding, *, name: str | None = None) -> Seen:
    """Header, smallest and largest value of the bands of a file that are used.

    Raises:
        Unreadable: the file is damaged.
        Unusable: no range can be told from its values; see `depth`.
    """
    name = name_of(source, name)
    with recognised(source, name) as (form, stream):
        values, probed, _ = read_values(form, stream, name, decoding)
        low, high = extremes(values, probed)
        if decoding.range is None and needs_range(probed):
            require_whole(low, high, probed)
        return Seen(probed, low, high)


def find_range(seen: Sequence[Seen]) -> Range | None:
    """The range of the files that do not say theirs; None where there is none."""
    most = [one.high for one in seen if needs_range(one.probed)]
    return smallest_range(max(most)) if most else None


def range_of_files(files: Iterable[Path], decoding: Decoding) -> Decoding:
    """The decoding, with the range of those of the files that do not say theirs, where none is known.

    Files that cannot be read are left to the caller. A warning says what was found.
    """
    if decoding.range or decoding.set_range:
        return decoding
    seen = {}
    for path in files:
        try:
            if needs_range(probe(path, max_pixels=decoding.max_pixels)):
                seen[path] = see(path, decoding)
        except DataError:
            continue
    common = find_range(list(seen.values()))
    if common is None:
        return decoding
    largest = max(seen, key=lambda path: seen[path].high)
    _log.warning(
        "%d files do not say which of their values is white, and the training images had none of that kind: read as "
        "0 to %g, the smallest 2^n - 1 that holds all their values (to %g in %s)",
        len(seen),
        common[1],
        seen[largest].high,
        printable(largest),
    )
    return replace(decoding, set_range=common)


def settle_range(reader: MeasuringReader, measured: dict[int, Measure], findings: Findings) -> None:
    """Sees the values of all deep files, and gives the reader the range that they have in common.

    Files that cannot be used are taken out of `measured`. `findings` get the range, and the files beyond it.
    """
    if not isinstance(reader, DecodingReader):
        return
    deep = [index for index, one in measured.items() if one.deep]
    seen: dict[int, list[Seen]] = {}
    look = partial(_see_all, reader.decoding, measured)
    for index, item in zip(deep, called_in_order(partial(findings.attempt, look), deep, threads=_THREADS), strict=True):
        if isinstance(item, Fault):
            findings.add(item, reader.names[index])
            del measured[index]
        else:
            seen[index] = item
    decoding = reader.decoding
    is_new = decoding.range is None and decoding.set_range is None
    if is_new:
        reader.decoding = replace(decoding, set_range=find_range([one for each in seen.values() for one in each]))
    most = max((one.high for each in seen.values() for one in each if needs_range(one.probed)), default=0)
    why = f"the smallest 2^n - 1 that holds the values of the set (to {most:g} here)"
    why = why if is_new else f"the range of the training set, and the values here go to {most:g}"
    for index, files in seen.items():
        findings.note(reader.names[index], [text for one in files for text in _oddities(one, reader.decoding, why)])
    if reader.decoding.set_range and seen and (others := len(measured) - len(seen)):
        findings.note("", [f"{others} other images say their range themselves, or have 8 bits: read as 0 to 255"])


def _see_all(decoding: Decoding, measured: dict[int, Measure], index: int) -> list[Seen]:
    return [see(path, decoding) for path in measured[index].deep]


def _oddities(seen: Seen, decoding: Decoding, why: str) -> list[str]:
    stated = seen.probed.stated or ((0, 65535) if seen.probed.significant else None)
    black_white = decoding.range or stated or decoding.set_range
    if black_white is None:
        return []
    black, white = black_white
    is_set = decoding.range is None and needs_range(seen.probed)
    texts = []
    if is_set:
        texts.append(
            f"files do not say which of their values is white: read as {black:g} to {white:g}, {why}; "
            f"{OPTION} if white is another"
        )
    if seen.low < min(black_white) or seen.high > max(black_white):
        texts.append(f"values beyond {black:g} to {white:g} are cut off there; {OPTION} if they count")
    if is_set and (doubt := doubt_of(seen.high, white)):
        texts.append(doubt)
    return texts
