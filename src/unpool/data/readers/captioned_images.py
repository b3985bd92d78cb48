"""Images with captions: what the readers of such sets share, which make the list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from unpool.data.image_file import printable
from unpool.data.readers.listed_images import ListedImages
from unpool.errors import DataError, quoted
from unpool.ops.words import as_bytes, is_text, vocabulary, words_of
from unpool.types import DataInfo, Decoding

LeastCount = Annotated[int, Interval(ge=1, le=1_000_000)]  # times that a word of the vocabulary occurs
LEAST_COUNT = 5  # Karpathy & Fei-Fei 2015, section 4


class CaptionedImages(ListedImages):
    """Reads images and their captions; of the training split `info` has the words that occur often enough.

    Args:
        root: of the set.
        captions: some of each image, whose path below the root is the key.
        least_count: times that a word of the vocabulary occurs in them; None where the split is not learned from.
        missing: see `ListedImages`.

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
        super().__init__(root, list(captions), key="captions", values=texts, decoding=decoding, missing=missing)
        if least_count is None:
            return
        words = vocabulary((one for some in captions.values() for one in some), least=least_count)
        if not words:
            raise DataError(
                f"{printable(root)}: no word of the training captions occurs {least_count} times: lower "
                "data.least_count, or add captions"
            )
        self.info = DataInfo(words=words)


def require_caption(caption: str, where: str) -> str:
    """Returns a caption as one line; raises DataError where it has no word."""
    text = " ".join(caption.split())
    if not words_of(text) or not is_text(text):
        lacks = "has no word" if is_text(text) else "has half of a character (a surrogate)"
        raise DataError(f"{where}: the caption is {quoted(text)}, which {lacks}: write one, or take the line out")
    return text
