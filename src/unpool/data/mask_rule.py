"""Finds the rule by which the masks of a set are read, from the kinds and palettes of all its files."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from unpool.data.image_file import Unusable, printable
from unpool.data.mask_file import Entry, Kind, MaskHeader, read_header, read_stored
from unpool.data.mask_ids import Colour, Reading, grey_of, text_of
from unpool.data.stack import File
from unpool.errors import DataError
from unpool.ops.drawing import voc_palette
from unpool.types import IGNORE, MOST_PIXELS

Item = TypeVar("Item")
_BLACK = (0, 0, 0)
_VOC = voc_palette(256)
_SHOWN = 3
_WAY_OUT = "write the colours into classes.txt (name r g b), or save all masks in one way, such as PNG of grey ids"


class Use(NamedTuple):
    """What one file of a set shows: its kind, its palette, and the colour of each value in use."""

    path: File
    kind: Kind
    palette: tuple[Entry, ...]
    entries: Mapping[int, Entry]

    def is_plain(self) -> bool:
        """Whether each value in use is shown in the grey of that value, so that both mean the same."""
        return all(grey_of(entry) == value for value, entry in self.entries.items())


class SetReading(NamedTuple):
    """The reading of a set.

    Attributes:
        reading: of each file.
        colours: the colour of each index in use where indices are ids; empty under other rules.
        notes: a sentence for the log; none where all files hold grey ids, or colours themselves.
    """

    reading: Reading
    colours: dict[int, Colour] = {}  # noqa: RUF012 - never written to
    notes: list[str] = []  # noqa: RUF012 - never written to


def find_reading(
    paths: Sequence[File], lines: Sequence[Colour], meaning: Mapping[int, int], *, max_pixels: int = MOST_PIXELS
) -> SetReading:
    """The one rule for all masks of a set; files that cannot be read are left to the scan.

    Headers say enough where no file has a palette, or where classes.txt has colours; else the masks are read.

    Args:
        paths: of all masks.
        lines: the colours of classes.txt by line, or none.
        meaning: class by id, by which grey ids and colours are compared.
        max_pixels: of a mask.

    Raises:
        DataError: the files do not agree, or mean two things; names entries, colours and files.
    """
    headers = _each(partial(read_header, max_pixels=max_pixels), paths)
    uses_of = partial(_uses, max_pixels=max_pixels)
    double = _double(lines, meaning)
    kinds = {path: "grey" if _is_ramp(header) and not double else header.kind for path, header in headers.items()}
    present = set(kinds.values())
    if double:
        _refuse_double(uses_of([path for path, kind in kinds.items() if kind == "grey"]), double)
    if present <= {"grey"}:
        return SetReading(Reading("ids", tuple(lines)))
    if lines:
        greys = [path for path, kind in kinds.items() if kind == "grey"]
        _require_same_meaning(uses_of(greys), lines, meaning)
        note = "masks are read by the colours of classes.txt, whatever the indices of their palettes are"
        return SetReading(Reading("colours", tuple(lines)), notes=[note] if "palette" in present else [])
    if "palette" not in present:
        return SetReading(Reading("ids"))
    palettes = {header.palette for header in headers.values()}
    if len(palettes) == 1 and _is_voc(palette := palettes.pop()):
        return _by_index({index: entry for index, entry in enumerate(palette) if index in meaning})
    return _by_palettes([use for use in uses_of(paths) if use.kind != "colour"])


def _by_palettes(uses: Sequence[Use]) -> SetReading:
    """The reading of palette images whose classes have no colours, and of grey ones beside them."""
    if all(use.is_plain() for use in uses):
        return SetReading(Reading("ids"))
    is_coloured = any(_is_voc(use.palette) for use in uses) or any(
        entry[:3] != (entry[0],) * 3 for use in uses for entry in use.entries.values()
    )
    if is_coloured:
        return _by_index(_agreed(uses))
    for use in uses:
        _require_grey(use)
    note = "masks are grey images with palettes: the grey value is the id, not the index"
    return SetReading(Reading("greys"), notes=[note])


def _by_index(entries: Mapping[int, Entry]) -> SetReading:
    colours = {index: (r, g, b) for index, (r, g, b, _) in sorted(entries.items())}
    listed = ", ".join(f"{i} {colour}" for i, colour in list(colours.items())[:8]) + (
        ", ..." if len(colours) > 8 else ""
    )
    note = (
        f"masks are palette images that agree in their colours and classes.txt has none: the index is the id ({listed})"
    )
    return SetReading(Reading("indices"), colours, [note])


def _agreed(uses: Sequence[Use]) -> dict[int, Entry]:
    """The colour of each entry that some file uses; raises DataError where the files differ in one.

    An entry that a file does not use counts where it is not black, with which palettes are filled up.
    """
    seen: dict[int, dict[Entry, list[File]]] = defaultdict(lambda: defaultdict(list))
    used = {value for use in uses for value in use.entries}
    for use in uses:
        stored = {i: e for i, e in enumerate(use.palette) if i in used and e[:3] != _BLACK}
        for value, entry in {**stored, **use.entries}.items():
            seen[value][entry].append(use.path)
    differing = {value: files for value, files in sorted(seen.items()) if len(files) > 1}
    if differing:
        listed = [f"entry {value} is {_alternatives(files)}" for value, files in list(differing.items())[:_SHOWN]]
        more = f"; and {len(differing) - _SHOWN} entries more" if len(differing) > _SHOWN else ""
        problem = "the palettes of the masks differ, so that an index is no id for all of them"
        raise DataError(f"{problem}: {'; '.join(listed)}{more}: {_WAY_OUT}").of("data.palette")
    return {value: next(iter(files)) for value, files in seen.items() if value in used}


def _alternatives(files: Mapping[Entry, Sequence[File]]) -> str:
    shown = [
        f"{text_of(entry)} in {len(paths)} {'file' if len(paths) == 1 else 'files'}, first {printable(paths[0])}"
        for entry, paths in list(files.items())[:_SHOWN]
    ]
    return " and ".join(shown)


def _require_grey(use: Use) -> None:
    """Raises DataError where a file of grey entries could mean indices as easily, or nothing."""
    problem = None
    greys = [grey_of(entry) for entry in use.entries.values()]
    entries = ", ".join(f"{i} is {text_of(e)}" for i, e in list(use.entries.items())[:_SHOWN])
    if None in greys:
        problem = "uses entries that are transparent"
    elif use.kind == "grey" and not use.is_plain():
        problem = "has few bits, beside palettes of grey values"
    elif len(set(greys)) < len(greys):
        problem = "uses several entries of the same grey"
    elif not use.is_plain() and any(grey_of((*entry[:3], 255)) is None for entry in use.palette):
        problem = "uses grey entries of a palette of colours, which may be indices or grey values"
    if problem:
        raise DataError(f"{printable(use.path)}: mask {problem} ({entries}): {_WAY_OUT}").of("data.palette")


def _require_same_meaning(uses: Iterable[Use], lines: Sequence[Colour], meaning: Mapping[int, int]) -> None:
    """Raises DataError where grey values beside colours have no line, or another class as ids than as colours."""
    for use in uses:
        for value, entry in use.entries.items():
            line = lines.index(entry[:3]) if entry[:3] in lines else None
            by_colour = None if line is None else meaning.get(line)
            if by_colour is None or meaning.get(value, by_colour) != by_colour:
                problem = "mask is grey, and others of the set show the colours of classes.txt"
                other = f"its value {value} means another class than {text_of(entry)}, or none"
                raise DataError(f"{printable(use.path)}: {problem}; {other}: save all masks of the set in one way").of(
                    "data.palette"
                )


def _double(lines: Sequence[Colour], meaning: Mapping[int, int]) -> set[int]:
    """The values that are the id of one class and the grey of another in classes.txt."""
    greys = {colour[0]: meaning.get(i, IGNORE) for i, colour in enumerate(lines) if colour == (colour[0],) * 3}
    both = {value: {meaning.get(value, IGNORE), by_colour} for value, by_colour in greys.items()}
    return {value for value, classes in both.items() if len(classes - {IGNORE}) == 2}


def _refuse_double(uses: Iterable[Use], double: set[int]) -> None:
    """Raises DataError where a grey mask holds a value that means two classes."""
    for use in uses:
        if held := sorted(double & use.entries.keys()):
            problem = f"mask is grey, and its value {held[0]} is the id of one class and the colour of another"
            advice = "take the colours out of classes.txt if values are ids, or save masks in colours (RGB)"
            raise DataError(f"{printable(use.path)}: {problem} in classes.txt: {advice}").of("data.palette")


def _is_ramp(header: MaskHeader) -> bool:
    """Whether a file has a palette whose entry i is the grey (i, i, i), for all i."""
    return header.kind == "palette" and all(grey_of(entry) == i for i, entry in enumerate(header.palette))


def _is_voc(palette: Sequence[Entry]) -> bool:
    """Whether a palette is VOC's colour map, cut or filled up with black."""
    filled = [i for i, entry in enumerate(palette) if entry[:3] != _BLACK]
    return bool(filled) and all(palette[i][:3] == _VOC[i] for i in filled)


def _uses(paths: Sequence[File], *, max_pixels: int) -> list[Use]:
    return list(_each(partial(_use, max_pixels=max_pixels), paths).values())


def _use(path: File, *, max_pixels: int) -> Use:
    stored = read_stored(path, max_pixels=max_pixels)
    return Use(path, stored.kind, stored.palette, stored.entries() if stored.kind != "colour" else {})


def _each(function: Callable[[File], Item], paths: Sequence[File]) -> dict[File, Item]:
    """What the function gives for each file that it can read."""

    def attempt(path: File) -> Item | None:
        try:
            return function(path)
        except (Unusable, OSError):
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        done = zip(paths, pool.map(attempt, paths), strict=True)
        return {path: item for path, item in done if item is not None}
