"""Images of words or numbers: a folder of images and labels.csv, whose rows hold an image and what it says.

labels.csv lies in DIR, or in DIR/train and DIR/val; train.csv and val.csv do as well. `text_rows` says what a row looks
like. Without a file for validation, a share of the images is drawn for it, by a seed. The classes are the characters of
the file that training is read or drawn from, in the order of their numbers in Unicode, unless `alphabet` names them.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Len

from unpool.data.image_file import printable
from unpool.data.readers.listed_images import ListedImages, split_missing
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    drawn_images,
    origin_of,
    require_split,
    with_exif,
)
from unpool.data.readers.text_rows import TextRow, read_tables
from unpool.data.root import require_root
from unpool.errors import DataError, RecipeError, quoted, shortened
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif

Alphabet = Annotated[str, Len(1, 20_000)]


class FolderText(ListedImages):
    """Images and the text that each shows, in any alphabet.

    Args:
        classes: characters by number, as in a training run; texts with others are refused.
        alphabet: the characters that texts may have; None takes those of the training split.
        val_share: part drawn for validation if there is no file for it; with 1, a root with one file is all val, and
            all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        alphabet: Alphabet | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        tables = read_tables(require_root(root), split, Drawn.of(val_share, seed, together), stem="labels")
        rows = _one_each(tables.rows[tables.source])
        learned = _one_each(tables.rows["train"]) if "train" in tables.rows else rows
        known = _alphabet(classes, alphabet, [row.text for image, row in learned.items() if (root / image).is_file()])
        existing, missing = split_missing(root, {image: row.where for image, row in rows.items()})
        images = drawn_images(root, existing, split, tables.drawn)
        numbers = {character: number for number, character in enumerate(known)}
        texts = [_numbers(rows[image], numbers) for image in images]
        super().__init__(root, images, key="text", values=texts, decoding=decoding, missing=missing)
        self.info = DataInfo(classes=known)
        self.set_files = tables.files
        self.origin = origin_of(root, split, drawn=tables.drawn)


def _one_each(rows: Mapping[str, Sequence[TextRow]]) -> dict[str, TextRow]:
    """Returns the row of each image, its text composed (NFC); raises DataError where an image has two."""
    twice = next((some for some in rows.values() if len(some) > 1), None)
    if twice is not None:
        raise DataError(f"{twice[1].where} names {printable(twice[1].image)}, as {twice[0].where} does: take one out")
    return {image: one._replace(text=unicodedata.normalize("NFC", one.text)) for image, (one,) in rows.items()}


def _alphabet(classes: Sequence[str] | None, alphabet: str | None, texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the characters by number, those of `alphabet` in NFC; raises RecipeError where it has one twice."""
    if classes is not None:
        return tuple(classes)
    if alphabet is None:
        return tuple(sorted(set().union(*texts)))
    alphabet = unicodedata.normalize("NFC", alphabet)
    if len(set(alphabet)) < len(alphabet):
        twice = next(character for character in alphabet if alphabet.count(character) > 1)
        raise RecipeError(f"data.alphabet has {quoted(twice)} twice; expected each character once")
    return tuple(alphabet)


def _numbers(row: TextRow, numbers: Mapping[str, int]) -> torch.Tensor:
    """Returns (T,) the characters of a text; raises DataError where one is not in the alphabet."""
    if outside := [character for character in row.text if character not in numbers]:
        known = shortened("".join(numbers))
        raise DataError(
            f"{row.where}: {quoted(shortened(row.text))} has {quoted(outside[0])}, which is not in the alphabet "
            f"{quoted(known)}: correct it, or set data.alphabet to all characters that texts have"
        )
    return torch.tensor([numbers[character] for character in row.text], dtype=torch.int64)
