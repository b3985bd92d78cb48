"""Captions in CSV files: captions.csv of all images, or one file for each split (train.csv, val.csv).

A row holds an image and a caption, an image has as many rows as captions; `text_rows` says what a row looks like.
Images are named from DIR, from DIR/images, or from the folder of their file. Without a file for validation, a share of
the images is drawn for it, by a seed.
"""

from pathlib import Path

from unpool.data.readers.captioned_images import LEAST_COUNT, CaptionedImages, LeastCount, require_caption
from unpool.data.readers.listed_images import split_missing
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
from unpool.data.readers.text_rows import read_tables
from unpool.data.root import require_root
from unpool.limits import Seed, ValShare
from unpool.types import RGB, Decoding, Exif


class CaptionsCsv(CaptionedImages):
    """Images and the captions that rows of CSV files have of them.

    Args:
        least_count: times that a word of the vocabulary occurs in the training captions.
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
        least_count: LeastCount = LEAST_COUNT,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        tables = read_tables(require_root(root), split, Drawn.of(val_share, seed, together), stem="captions")
        rows = tables.rows[tables.source]
        existing, missing = split_missing(root, {image: some[0].where for image, some in rows.items()})
        images = drawn_images(root, existing, split, tables.drawn)
        super().__init__(
            root,
            {image: [require_caption(row.text, row.where) for row in rows[image]] for image in images},
            least_count=least_count if split == "train" else None,
            decoding=decoding,
            missing=missing,
        )
        self.set_files = tables.files
        self.origin = origin_of(root, split, drawn=tables.drawn)
