"""Images with captions, and images with a text: what the readers of such sets share, which make the list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval
from torch import Tensor

from unpool.data.decode import decode_image
from unpool.data.image_file import printable
from unpool.data.measure import Measure, measure_image
from unpool.errors import DataError, quoted
from unpool.ops.words import as_bytes, is_text, vocabulary, words_of
from unpool.types import DataInfo, Decoding, Fault, Sample

LeastCount = Annotated[int, Interval(ge=1, le=1_000_000)]  # times that a word of the vocabulary occurs
LEAST_COUNT = 5  # Karpathy & Fei-Fei 2015, section 4


class TextImages:
    """Reads images, each with one tensor of text, by position; a base for readers.

    Args:
        root: of the set.
        images: paths below it, raw.
        key: under which samples have the text.
        texts: one an image.
        missing: images that are named and do not exist, with the place that names them.
    """

    def __init__(
        self,
        root: Path,
        images: Sequence[str],
        *,
        key: str,
        texts: Sequence[Tensor],
        decoding: Decoding,
        missing: Mapping[str, str],
    ) -> None:
        self.root = root
        self.set_files: tuple[Path, ...] = ()
        self.names: Sequence[str] = [printable(image) for image in images]
        self.faults = [
            Fault(printable(image), f"there is no such image; {where} names it") for image, where in missing.items()
        ]
        self.notes: list[str] = []
        self.gives: tuple[str, ...] = ("image", key)
        self.info = DataInfo()
        self.origin: dict[str, Any] = {}
        self.decoding = decoding
        self._images, self._key, self._texts = list(images), key, list(texts)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        return {"image": decode_image(self.root / self._images[index], self.decoding), **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the image of one sample."""
        return (self.root / self._images[index],)

    def targets(self, index: int) -> Sample:
        """Returns the text of a sample, without its image."""
        return {self._key: self._texts[index].clone()}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        measured = measure_image(self.root, self._images[index], self.decoding)
        return measured._replace(num_bytes=measured.num_bytes + self._texts[index].nbytes)


class CaptionedImages(TextImages):
    """Reads images and their captions; of the training split `info` has the words that occur often enough.

    Args:
        root: of the set.
        captions: some of each image, whose path below the root is the key.
        least_count: times that a word of the vocabulary occurs in them; None where the split is not learned from.
        missing: see `TextImages`.

    Raises:
        DataError: no word occurs as often.
    """

    def __init__(
        self,
        root: Path,
        captions: Mapping[str, Sequence[str]],
        *,
        least_count: int | None,
        decoding: Decoding,
        missing: Mapping[str, str],
    ) -> None:
        texts = [as_bytes(some) for some in captions.values()]
        super().__init__(root, list(captions), key="captions", texts=texts, decoding=decoding, missing=missing)
        if least_count is None:
            return
        words = vocabulary((one for some in captions.values() for one in some), least=least_count)
        if not words:
            raise DataError(
                f"{printable(root)}: no word of the training captions occurs {least_count} times: lower "
                "data.least_count, or add captions"
            )
        self.info = DataInfo(words=words)


def split_missing(root: Path, images: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Returns the images that exist, and those that do not with the place that names them.

    Raises:
        DataError: none exists.
    """
    missing = {image: where for image, where in images.items() if not (root / image).is_file()}
    if images and len(missing) == len(images):
        image, where = next(iter(missing.items()))
        raise DataError(
            f"none of {len(missing)} images exists, such as {printable(image)} in {printable(root)}, which {where} "
            "names: put the images there, or correct the names"
        )
    return [image for image in images if image not in missing], missing


def only_one(root: Path, paths: Sequence[Path]) -> Path:
    """Returns the one path of a list; raises DataError where there are several, of which one would be a guess."""
    if len(paths) > 1:
        both = " and ".join(printable(path.relative_to(root).as_posix()) for path in paths[:2])
        raise DataError(f"{both} would be read for the same images: keep one, and move the other away or rename it")
    return paths[0]


def require_caption(caption: str, where: str) -> str:
    """Returns a caption as one line; raises DataError where it has no word."""
    text = " ".join(caption.split())
    if not words_of(text) or not is_text(text):
        lacks = "has no word" if is_text(text) else "has half of a character (a surrogate)"
        raise DataError(f"{where}: the caption is {quoted(text)}, which {lacks}: write one, or take the line out")
    return text
