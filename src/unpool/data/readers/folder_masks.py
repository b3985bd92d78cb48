"""Images and masks of equal names in two folders, and a list of the classes in DIR/classes.txt.

The folders are DIR/images and DIR/masks, or DIR/<split>/{images,masks}, or DIR/{images,masks}/<split>. Without a folder
for validation, a share of the images is drawn for it, by a seed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from unpool.data.classes import match
from unpool.data.image_file import printable
from unpool.data.mask_rule import find_reading
from unpool.data.readers.class_file import ClassFile, read_class_file
from unpool.data.readers.pairing import pair_files
from unpool.data.readers.pairs import MaskPairs, MaskValues
from unpool.data.readers.split_names import SPLIT_NAMES, misnamed, not_used
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    empty_split,
    missing_split,
    origin_of,
    require_exif,
    require_named_split,
    require_split,
)
from unpool.data.readers.stacks import draw_stacks, split_pages
from unpool.data.root import require_root
from unpool.errors import DataError, RecipeError
from unpool.limits import MASK_ID, Seed, ValShare
from unpool.ops.drawing import distinct_colours
from unpool.types import IGNORE, RGB, DataInfo, Decoding, TargetExif


class FolderMasks(MaskPairs):
    """Images with masks of the same name, which may end in `_mask`; of two stacks of pages, each page is a sample.

    Args:
        classes: class names by index, as in a training run; by default those of classes.txt.
        ignore: id of unlabelled pixels in the mask files; the line of classes.txt with this id is no class.
        mask_values: id in classes.txt by id in the mask files, if these differ; 255 stands for unlabelled.
        val_share: part drawn for validation if there is no folder for it; with 1, a root without split folders is all
            val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(  # noqa: PLR0913 - each is an option of the data section
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: TargetExif = "apply",
        ignore: Annotated[int, MASK_ID] | None = None,
        mask_values: Mapping[Annotated[int, MASK_ID], Annotated[int, MASK_ID]] | None = None,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        require_exif(exif, of_target=True)
        source, drawn = _source(require_root(root), split, Drawn.of(val_share, seed, together))
        labels = _Labels.of(read_class_file(root / "classes.txt"), ignore, mask_values)
        expected = tuple(classes) if classes is not None else labels.names
        index = match(labels.names, expected, printable(root / "classes.txt"))
        paired = pair_files(root, source.images, source.masks)
        pairs, meaning = split_pages(root, paired.pairs), labels.meaning(index)
        masks = [pair.files(root)[1] for pair in pairs]
        reading = find_reading(masks, labels.mask_palette, meaning, max_pixels=decoding.max_pixels)
        divided: list[str] = []
        if drawn is not None:
            pairs, divided = draw_stacks(root, pairs, drawn, split=split)
        if not pairs:
            raise empty_split(root, split, Drawn(val_share, seed))
        values = MaskValues(meaning, len(labels.names), reading=reading.reading)
        super().__init__(root, pairs, values, decoding=decoding, exif=exif)
        self.set_files = (root / "classes.txt",)
        self.info = DataInfo(
            classes=expected,
            palette=labels.palette(index, len(expected)),
            ignore=ignore,
            mask_rule=reading.reading.rule,
            mask_colours=tuple((meaning[i], colour) for i, colour in reading.colours.items() if i in meaning),
        )
        self.faults, self.notes = paired.faults, paired.notes + reading.notes + divided
        self.notes += _not_used(root) if split == "train" else []
        self.origin = origin_of(root, split, ignored=paired.ignored, drawn=drawn)


class _Labels(NamedTuple):
    """Maps the ids in mask files to the classes of classes.txt.

    Attributes:
        names: of the classes, without an ignored line.
        colours: one a class, or none.
        mask_palette: one colour a line, or none.
        class_of: index in `names`, or IGNORE, by id in the mask files.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    mask_palette: tuple[tuple[int, int, int], ...]
    class_of: dict[int, int]

    @classmethod
    def of(cls, lines: ClassFile, ignore: int | None, mask_values: Mapping[int, int] | None) -> "_Labels":
        if mask_values is None:
            kept = [i for i in range(len(lines.names)) if i != ignore]
            class_of = {line: i for i, line in enumerate(kept)}
        else:
            kept = list(range(len(lines.names)))
            class_of = {int(stored): int(line) for stored, line in mask_values.items()}
            _require_lines(class_of, len(kept))
        if ignore is not None:
            if class_of.get(ignore, IGNORE) != IGNORE:
                raise RecipeError(
                    f"data.ignore={ignore} and data.mask_values makes {ignore} a class; drop one of the two"
                )
            class_of[ignore] = IGNORE
        if any(not 0 <= stored <= 65535 for stored in class_of):
            raise RecipeError(f"ids in masks are 0 to 65535; data.ignore and data.mask_values give {sorted(class_of)}")
        names = tuple(lines.names[i] for i in kept)
        colours = tuple(lines.colours[i] for i in kept) if lines.colours else ()
        return cls(names, colours, lines.colours, class_of)

    def meaning(self, index: Sequence[int]) -> dict[int, int]:
        """Returns the class, or IGNORE, by id in the mask files; `index` is the class of each of `names`."""
        return {stored: IGNORE if c == IGNORE else index[c] for stored, c in self.class_of.items()}

    def palette(self, index: Sequence[int], count: int) -> tuple[tuple[int, int, int], ...]:
        """Returns one colour a class: that of classes.txt, or a generated one."""
        palette = list(distinct_colours(count))
        for i, colour in zip(index, self.colours, strict=False):
            palette[i] = colour
        return tuple(palette)


class _Source(NamedTuple):
    images: Path
    masks: Path


def _require_lines(class_of: Mapping[int, int], count: int) -> None:
    unknown = sorted({line for line in class_of.values() if line != IGNORE and not 0 <= line < count})
    if unknown:
        raise RecipeError(
            f"data.mask_values gives {unknown}; classes.txt has ids 0 to {count - 1}, and {IGNORE} ignores"
        )


def _source(root: Path, split: Split, drawn: Drawn) -> tuple[_Source, Drawn | None]:
    """Returns the two folders with the split, and the drawing that selects the split there, if any."""
    laid_out = {name: folders for name in SPLIT_NAMES if (folders := _laid_out(root, name))}
    if split != "test" and "val" not in laid_out and "train" in laid_out:
        for folder in (root, root / "images"):
            require_named_split(folder, "val")
        return laid_out["train"], drawn
    if split in laid_out:
        return laid_out[split], None
    if not laid_out and drawn.gives(split) and (root / "images").is_dir():
        _require_flat(root, split)
        return _Source(root / "images", root / "masks"), drawn
    looked_for = [f"{folder}/images" for folder in SPLIT_NAMES[split]]
    raise missing_split(root, split, looked_for + (["images"] if drawn.gives(split) else []), "folder_unet")


def _require_flat(root: Path, split: Split) -> None:
    """Raises DataError for folders of splits, by names that are not theirs, below or beside images and masks."""
    if split != "test":
        require_named_split(root, "val")
    if wrong := {name: one for one in SPLIT_NAMES for name in misnamed(root / "images", one)}:
        renamed = " and ".join(f"'{printable(name)}' to '{split}'" for name, split in sorted(wrong.items()))
        inside = f"{printable(root / 'images')} and {printable(root / 'masks')}"
        raise DataError(f"folders in {inside} are splits, which would be mixed: rename {renamed} in both")


def _not_used(root: Path) -> list[str]:
    """Sentences on folders with images beside those of the splits."""
    laid_out = [folders.images.relative_to(root).parts for one in SPLIT_NAMES if (folders := _laid_out(root, one))]
    below = [inner for outer, inner in laid_out if outer == "images"]
    beside = [outer for outer, _ in laid_out if outer != "images"]
    inside = [f"images: {one}" for one in not_used(root / "images", below)] if below else []
    flat = ["images", "masks"] if below or not laid_out else []
    return not_used(root, [*beside, *flat]) + inside


def _laid_out(root: Path, split: str) -> _Source | None:
    for folder in SPLIT_NAMES[split]:
        for images, masks in ((f"{folder}/images", f"{folder}/masks"), (f"images/{folder}", f"masks/{folder}")):
            if (root / images).is_dir():
                return _Source(root / images, root / masks)
    return None
