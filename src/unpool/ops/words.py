"""Words of captions, and text as tensors.

A caption's words are runs of letters, their marks, digits and apostrophes in small letters; punctuation is dropped, as
in the release of Karpathy & Fei-Fei 2015 (arXiv:1412.2306). Scripts that have no spaces between words need them written
between words. COCO's server divides some words further ("don't" is two of its
words), so that scores compared with its own have to be of these words, on both sides.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_MARK = "\u0300"  # for every mark, such as a vowel of Hindi, which belongs to the letter before it
_WORD = re.compile(rf"(?:[^\W_]{_MARK}*)+(?:'(?:[^\W_]{_MARK}*)+)*")


def words_of(caption: str) -> tuple[str, ...]:
    """The words of a caption.

    >>> words_of("A dog's ball , on the beach .")
    ('a', "dog's", 'ball', 'on', 'the', 'beach')
    """
    text = unicodedata.normalize("NFC", caption.lower()).replace("\u2019", "'")
    if text.isascii():
        return tuple(_WORD.findall(text))
    marked = "".join(_MARK if unicodedata.category(character).startswith("M") else character for character in text)
    return tuple(text[word.start() : word.end()] for word in _WORD.finditer(marked))


def is_text(caption: str) -> bool:
    r"""Whether all of a text is characters; JSON can hold halves of some, which no file can.

    >>> is_text("caf\u00e9"), is_text("\ud83d")
    (True, False)
    """
    return not any("\ud800" <= character <= "\udfff" for character in caption)


def vocabulary(captions: Iterable[str], *, least: int) -> tuple[str, ...]:
    """The words that occur `least` times or more, the most frequent first, equally frequent ones by the alphabet.

    >>> vocabulary(["a dog", "a cat", "the dog"], least=2)
    ('a', 'dog')
    """
    counts = Counter(word for caption in captions for word in words_of(caption))
    return tuple(sorted((word for word, count in counts.items() if count >= least), key=lambda w: (-counts[w], w)))


def as_bytes(texts: Sequence[str]) -> Tensor:
    """Texts without line breaks as one tensor (T,) uint8, for a batch: their UTF-8, one a line.

    >>> as_bytes(["ab", "c"]).tolist()
    [97, 98, 10, 99]
    """
    return torch.tensor(list("\n".join(texts).encode()), dtype=torch.uint8)


def texts_of(lines: Tensor) -> list[str]:
    """The texts of which `as_bytes` made a tensor.

    >>> texts_of(as_bytes(["ein Hund", "zwei Hünde"]))
    ['ein Hund', 'zwei Hünde']
    """
    return bytes(lines.cpu().tolist()).decode().split("\n")
