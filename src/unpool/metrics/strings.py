"""Scores of strings that were read from images."""

from collections.abc import Sequence
from typing import Any

from unpool.types import Batch, Prediction


def edit_distance(first: Sequence[Any], second: Sequence[Any]) -> int:
    """The least number of items to insert, to delete or to replace that makes one sequence the other.

    Source: Levenshtein 1966.

    >>> edit_distance("kitten", "sitting")
    3
    """
    above = list(range(len(second) + 1))
    for number, item in enumerate(first, start=1):
        row = [number]
        for position, other in enumerate(second):
            row.append(min(above[position + 1] + 1, row[-1] + 1, above[position] + (item != other)))
        above = row
    return above[-1]


class StringScores:
    """Whole strings that are right, and edit distances, over a set."""

    def __init__(self) -> None:
        self.images = self.right = self.edits = self.characters = self.lengths = 0

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: text, a list of B (T,) numbers of characters, in both."""
        for answer, truth in zip(prediction["text"], batch["text"], strict=True):
            read, written = answer.tolist(), truth.tolist()
            self.images += 1
            self.right += read == written
            self.lengths += len(read) == len(written)
            self.edits += edit_distance(read, written)
            self.characters += len(written)

    def merge(self, other: "StringScores") -> None:
        self.images += other.images
        self.right += other.right
        self.edits += other.edits
        self.characters += other.characters
        self.lengths += other.lengths

    def compute(self) -> dict[str, Any]:
        """Computes the scores, None where there is nothing to count.

        Returns:
            exact: share of the strings that are right from the first to the last character; edit_distance: of a string,
            on average; character_error: edits for each character that is there, which may exceed 1; length_right: share
            of the strings that are as long as they are to be.
        """
        images = self.images or None
        return {
            "exact": images and self.right / images,
            "edit_distance": images and self.edits / images,
            "character_error": self.edits / self.characters if self.characters else None,
            "length_right": images and self.lengths / images,
        }
