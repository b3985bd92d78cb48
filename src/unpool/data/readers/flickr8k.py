"""Flickr8k, and Flickr30k in the same files: photographs with five captions each.

Flickr8k.token.txt holds a line for each caption, the image with `#` and a number, a tab, the caption; the release has
Flickr8k.lemma.token.txt beside it, words without their endings, which is not read.
Flickr_8k.trainImages.txt, .devImages.txt and .testImages.txt list the images of train, val and test. They lie in DIR
or in DIR/Flickr8k_text, the images in Flicker8k_Dataset, as the release spells it, Flickr8k_Dataset or Images. An image
that is listed has captions; one that does not exist is left out and named.

Source: Hodosh, Young and Hockenmaier 2013, "Framing image description as a ranking task".
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.listing import as_posix, is_below
from unpool.data.readers.captioned_images import LEAST_COUNT, CaptionedImages, LeastCount, require_caption
from unpool.data.readers.listed_images import only_one, split_missing
from unpool.data.readers.splits import (
    Split,
    missing_split,
    origin_of,
    require_apart,
    require_split,
    with_exif,
)
from unpool.data.root import require_root
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted, shortened
from unpool.types import RGB, Decoding, Exif

_LISTS = {"train": "trainImages", "val": "devImages", "test": "testImages"}
_TEXTS = ("Flickr8k_text", "Flickr30k_text", ".")
_IMAGES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr30k_Dataset", "Images", "images", ".")


class Flickr8k(CaptionedImages):
    """Photographs and five captions of each.

    Args:
        least_count: times that a word of the vocabulary occurs in the training captions.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        least_count: LeastCount = LEAST_COUNT,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        tokens, lists = _files(require_root(root), split)
        named = {part: _listed(root, path) for part, path in lists.items()}
        require_apart(root, named, split)
        folders = (name for image in named[split] for name in _IMAGES if (root / name / image).is_file())
        folder = next(folders, _IMAGES[0])
        prefix = "" if folder == "." else f"{folder}/"
        known = read_tokens(root, tokens)
        lacking = [image for image in named[split] if image not in known]
        if lacking:
            raise DataError(
                f"{printable(tokens)} has no caption of {len(lacking)} images of {lists[split].name}, such as "
                f"{printable(lacking[0])}: add their captions, or take the images out of the list"
            )
        images, missing = split_missing(root, {f"{prefix}{image}": lists[split].name for image in named[split]})
        captions = {image: known[image.removeprefix(prefix)] for image in images}
        super().__init__(
            root,
            captions,
            least_count=least_count if split == "train" else None,
            decoding=decoding,
            missing=missing,
        )
        self.set_files = (tokens, *lists.values())
        self.origin = origin_of(root, split)


def _files(root: Path, split: Split) -> tuple[Path, dict[str, Path]]:
    """Returns the file of captions and the lists of the splits that there are."""
    looked_for = [f"*.token.txt or *.token in {printable(root)}"]
    for folder in _TEXTS:
        tokens = [path for sign in ("*.token.txt", "*.token") for path in sorted((root / folder).glob(sign))]
        tokens = [path for path in tokens if ".lemma." not in path.name]
        lists = {part: sorted((root / folder).glob(f"*.{name}.txt")) for part, name in _LISTS.items()}
        if tokens and lists[split]:
            parts = {part: only_one(root, paths) for part, paths in lists.items() if paths}
            return only_one(root, tokens), parts
    raise missing_split(root, split, [*looked_for, f"*.{_LISTS[split]}.txt, here or in {_TEXTS[0]}"])


def _listed(root: Path, path: Path) -> list[str]:
    """Returns the images of a list; raises DataError where one is named twice or leaves the root, or there is none."""
    name = printable(path.relative_to(root).as_posix())
    images = [as_posix(line.strip()) for line in read_text(path, errors="replace").splitlines() if line.strip()]
    if outside := [image for image in images if not is_below(image)]:
        raise DataError(f"{name} lists {quoted(shortened(outside[0]))}; expected names of image files")
    if twice := [image for image, times in Counter(images).items() if times > 1]:
        raise DataError(f"{name} lists {printable(twice[0])} more than once; expected each image once: take it out")
    if not images:
        raise DataError(f"{name} is empty; expected names of image files, one a line")
    return images


def read_tokens(root: Path, path: Path) -> dict[str, Sequence[str]]:
    """Returns the captions of each image, in the order of their numbers.

    Raises:
        DataError: a line is no image, `#`, number, tab and caption, its caption is empty, or a number is there twice.
    """
    name = printable(path.relative_to(root).as_posix())
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no text in UTF-8: {error}: save it as such") from error
    numbered: dict[str, dict[int, str]] = {}
    for position, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name} line {position}"
        key, tab, caption = line.partition("\t")
        image, sign, number = key.rpartition("#")
        if not (tab and sign and image and number.isascii() and number.isdigit()):
            raise DataError(f"{where} is {quoted(shortened(line))}; expected IMAGE#NUMBER, a tab and the caption")
        of_image = numbered.setdefault(image, {})
        if int(number[:9]) in of_image:
            raise DataError(f"{where}: caption {number[:9]} of {printable(image)} is there twice: take one out")
        of_image[int(number[:9])] = require_caption(caption, where)
    return {image: [some[number] for number in sorted(some)] for image, some in numbered.items()}
