"""What the values of masks mean: one rule for all files of a set, and the ids by it.

Grey values are ids. What a palette image means is decided for the whole set, by a rule that does not guess:

- `colours`: classes.txt (or the format) gives each class a colour, and colours decide, whatever their indices are.
- `ids`: every entry i in use is the grey (i, i, i), so that index and grey value are the same.
- `greys`: all palettes are grey and some entry i in use is another grey, as of ids saved as GIF or through an adaptive
  palette: the grey value is the id.
- `indices`: palettes have colours, classes.txt has none. Indices are ids where all files of the set agree in the colour
  of each entry that any of them uses; or they are refused.

What could mean two things is refused: grey values that are the id of one class and the colour of another, grey entries
in use of a palette that also has colours (but VOC's colour map, whose indices are ids), palettes that differ, ids in
some files beside colours in others, unless both give the same.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from unpool.data.image_file import Unusable
from unpool.data.mask_file import OPAQUE, Entry, Stored

Rule = Literal["colours", "ids", "greys", "indices"]
Colour = tuple[int, int, int]
_SHOWN = 8


class Reading(NamedTuple):
    """How the masks of a set are read.

    Attributes:
        rule: what their values are.
        lines: the colours of classes.txt by line, or none.
    """

    rule: Rule = "ids"
    lines: tuple[Colour, ...] = ()

    def ids(self, stored: Stored, name: str) -> np.ndarray:
        """(H, W) int32 ids of one file: by colour, the line of classes.txt.

        Raises:
            Unusable: the file holds colours that classes.txt lacks, or entries that the rule gives no id.
        """
        if stored.kind == "colour" and not self.lines:
            problem = "mask is a colour image and its classes have no colours; add r g b to each class line"
            raise Unusable(name, problem).of("data.palette")
        by_colour = stored.kind == "colour" or self.rule == "colours"
        if (stored.kind == "grey" and not by_colour) or (self.rule == "indices" and stored.kind != "colour"):
            return stored.values
        entries = stored.entries()
        known = {value: self._line(entry) if by_colour else grey_of(entry) for value, entry in entries.items()}
        unknown = [value for value, line in known.items() if line is None]
        if stored.is_lossy:
            raise Unusable(name, f"{len(unknown):,} unknown colours: mask is lossy JPEG; re-export as PNG").of(
                "data.soft_mask"
            )
        if unknown:
            cause = "data.soft_mask" if stored.kind == "colour" else "data.palette"
            listed = _unknown(stored, {value: entries[value] for value in unknown}, by_colour=by_colour)
            raise Unusable(name, listed).of(cause)
        lines, values = np.array(list(known.values()), np.int32), np.array(list(known), np.int32)  # sorted
        if stored.kind == "colour":
            return lines[np.searchsorted(values, stored.values)]
        table = np.zeros(values[-1] + 1, np.int32)
        table[values] = lines
        return table[stored.values]

    def _line(self, entry: Entry) -> int | None:
        *colour, alpha = entry
        return self.lines.index(tuple(colour)) if tuple(colour) in self.lines and alpha == OPAQUE else None


def grey_of(entry: Entry) -> int | None:
    """The grey value of an opaque grey entry; None of any other."""
    red, green, blue, alpha = entry
    return red if red == green == blue and alpha == OPAQUE else None


def text_of(entry: Sequence[int]) -> str:
    """The colour of an entry for people, with its alpha where it is not opaque.

    >>> text_of((1, 2, 3, 255))
    '(1, 2, 3)'
    """
    *colour, alpha = entry
    return str(tuple(colour)) if alpha == OPAQUE else f"{tuple(colour)} with alpha {alpha}"


def _unknown(stored: Stored, entries: dict[int, Entry], *, by_colour: bool) -> str:
    more = ", ..." if len(entries) > _SHOWN else ""
    if stored.kind == "colour":
        listed = ", ".join(text_of(entry) for entry in list(entries.values())[:_SHOWN])
        hint = "give each its line in classes.txt, or re-export without anti-aliasing"
        return f"{len(entries):,} unknown colours in the mask: {listed}{more}; {hint}"
    what = "entry" if stored.kind == "palette" else "grey value"
    listed = ", ".join(f"{what} {value} is {text_of(entry)}" for value, entry in list(entries.items())[:_SHOWN])
    if not by_colour:
        return f"mask is no grey image like the others: {listed}{more}; save all masks of the set in the same way"
    hint = "give each its line in classes.txt (an unlabelled one too, and that line's number from 0 to data.ignore)"
    hint = "save it without transparency" if any(entry[3] != OPAQUE for entry in entries.values()) else hint
    return f"mask uses colours of no class: {listed}{more}; {hint}"
