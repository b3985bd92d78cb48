"""Vectors of words: from a file in word2vec's or GloVe's text format, or learned from captions by skip-gram.

Skip-gram with negative sampling (Mikolov et al. 2013, arXiv:1310.4546): the vector of a word is learned to tell words
within `WINDOW` of it in a caption from words drawn by their frequency to the power of 3/4. Frequent words are not
thinned out, since captions are short.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError, quoted, shortened

WINDOW, NEGATIVES, EPOCHS, BATCH, RATE = 5, 5, 5, 1024, 0.02


def read_vectors(path: Path, words: Sequence[str], dim: int) -> dict[str, Tensor]:
    """The vectors of those of the words that a file has, by word.

    A file of word2vec begins with a line of two numbers, how many vectors there are and how long they are; one of GloVe
    begins with the first word. Of a word that is there twice, the first counts.

    Args:
        path: a text file, a word and its numbers on each line.
        words: that are wanted.
        dim: numbers of each vector.

    Raises:
        DataError: the file cannot be read, a wanted line has other numbers, or it has none of the words.
        RecipeError: its vectors have another length.
    """
    wanted = set(words)
    vectors: dict[str, Tensor] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                word, *values = line.rstrip().split(" ")
                if number == 1 and len(values) == 1 and word.isdigit() and values[0].isdigit():
                    _require_dim(path, int(values[0]), dim)
                elif word in wanted and word not in vectors:
                    vectors[word] = _vector(path, number, values, dim)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"task.word_vectors: {path} cannot be read as text in UTF-8 ({error})") from error
    if not vectors:
        raise DataError(
            f"task.word_vectors: {path} has none of the {len(words)} words of the captions, such as "
            f"{quoted(words[0])}: give a file of vectors of words in small letters"
        )
    return vectors


def _vector(path: Path, number: int, values: Sequence[str], dim: int) -> Tensor:
    _require_dim(path, len(values), dim)
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        shown = shortened(" ".join(values))
        raise DataError(f"task.word_vectors: {path} line {number} has {quoted(shown)}; expected {dim} finite numbers")
    return torch.tensor(numbers)


def _require_dim(path: Path, length: int, dim: int) -> None:
    if length != dim:
        raise RecipeError(
            f"task.word_vectors: {path} has vectors of {length} numbers and model.embedding is {dim}: set "
            f"model.embedding={length}, or give another file"
        )


def skip_gram(sentences: Sequence[Sequence[int]], *, count: int, dim: int, seed: int) -> Tensor:
    """Vectors (count, dim) of words by the words that stand near them.

    Args:
        sentences: numbers of words, from 0 to `count` - 1.
        count: words.
        dim: numbers of a vector.
        seed: of the first vectors, the order of the pairs, and the drawn words.

    Raises:
        DataError: no sentence has two words.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.tensor(
        [
            (word, other)
            for sentence in sentences
            for i, word in enumerate(sentence)
            for other in (*sentence[max(0, i - WINDOW) : i], *sentence[i + 1 : i + 1 + WINDOW])
        ],
        dtype=torch.int64,
    ).reshape(-1, 2)
    if not len(pairs):
        raise DataError(
            "task.word_vectors is skip_gram, which learns from words that stand beside each other, and no training "
            "caption has two words of the vocabulary: lower data.least_count, or leave task.word_vectors out"
        )
    inner = ((torch.rand(count, dim, generator=generator) - 0.5) / dim).requires_grad_()
    outer = torch.zeros(count, dim, requires_grad=True)
    often = Counter(word for sentence in sentences for word in sentence)
    drawn_by = torch.tensor([often[word] for word in range(count)], dtype=torch.float64).pow(0.75)
    optimizer = torch.optim.Adam([inner, outer], lr=RATE)
    with torch.enable_grad():
        for _ in range(EPOCHS):
            for part in pairs[torch.randperm(len(pairs), generator=generator)].split(BATCH):
                others = torch.multinomial(drawn_by, len(part) * NEGATIVES, replacement=True, generator=generator)
                loss = _distinguish(inner[part[:, 0]], outer[part[:, 1]], outer[others.view(len(part), NEGATIVES)])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return inner.detach()


def _distinguish(word: Tensor, near: Tensor, drawn: Tensor) -> Tensor:
    """The loss of a batch: words (N, D), those near them (N, D), those drawn (N, K, D)."""
    right = nn.functional.logsigmoid((word * near).sum(1))
    wrong = nn.functional.logsigmoid(-(word[:, None] * drawn).sum(2))
    return -(right + wrong.sum(1)).mean()
