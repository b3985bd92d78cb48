"""Whole strings and edits."""

import pytest
import torch

from unpool.metrics.strings import StringScores, edit_distance


def slow(first, second):
    """The recursion of the definition."""
    if not first or not second:
        return len(first) + len(second)
    return min(
        slow(first[1:], second) + 1, slow(first, second[1:]) + 1, slow(first[1:], second[1:]) + (first[0] != second[0])
    )


@pytest.mark.parametrize(
    ("first", "second"), [("12", "12"), ("123", "13"), ("", "77"), ("1221", "2112"), ("54", "4567")]
)
def test_edit_distance_is_that_of_its_definition(first, second):
    assert edit_distance(first, second) == edit_distance(second, first) == slow(first, second)


def scored(*pairs):
    scores = StringScores()
    for answer, truth in pairs:
        scores.update({"text": [torch.tensor(answer)]}, {"text": [torch.tensor(truth)]})
    return scores


def test_string_is_right_from_the_first_to_the_last_character_or_not_at_all():
    """Of 7 characters one is missing, and one is read that is not there."""
    pairs = (([1, 2, 3], [1, 2, 3]), ([1, 2], [1, 2, 3]), ([5, 6], [5]))
    scores = scored(*pairs).compute()
    assert scores == {"exact": 1 / 3, "edit_distance": 2 / 3, "character_error": 2 / 7, "length_right": 1 / 3}
    parts = scored(pairs[0])
    parts.merge(scored(*pairs[1:]))
    assert parts.compute() == scores
    assert set(StringScores().compute().values()) == {None}
