"""Decoding of connectionist temporal classification (Graves et al. 2006, "Connectionist temporal classification").

A path has a character or none at each of T steps; it spells the string that is left once equal neighbours are one and
none is taken away. So two equal characters of a string have none between them on every path.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

BLANK = 0  # the number of none


def steps_needed(text: Sequence[int]) -> int:
    """The least number of steps of a path that spells a text: one a character, one between two equal ones.

    >>> steps_needed([3, 3, 5])
    4
    """
    return len(text) + sum(first == second for first, second in pairwise(text))


def greedy(scores: Tensor) -> tuple[list[int], float]:
    """The text of the likeliest path, and the log-probability of that path.

    Args:
        scores: (K + 1, T) logits at each step, number 0 of none.

    Returns:
        Numbers of characters from 1 on.

    >>> scores = torch.tensor([[0, 9, 0, 9, 0.0], [9, 0, 9, 0, 0], [0, 0, 0, 0, 9]])
    >>> greedy(scores)[0]
    [1, 1, 2]
    """
    best, path = scores.float().log_softmax(0).max(0)
    numbers = torch.unique_consecutive(path).tolist()
    return [number for number in numbers if number != BLANK], float(best.sum())


def beam_search(scores: Tensor, *, beam: int) -> tuple[list[int], float]:
    """The likeliest text that the search meets, and its log-probability: the sum over all paths that spell it.

    Keeps the `beam` likeliest beginnings of texts after each step, paths that end in none and those that do not apart
    (Hannun et al. 2014, arXiv:1408.2873, algorithm 1).

    Args:
        scores: (K + 1, T) logits at each step, number 0 of none.
        beam: beginnings that are kept.

    Returns:
        Numbers of characters from 1 on.

    >>> scores = torch.tensor([[0.4, 0.4], [0.35, 0.35], [0.25, 0.25]]).log()
    >>> greedy(scores)[0], beam_search(scores, beam=3)[0]
    ([], [1])
    """
    steps = scores.float().log_softmax(0).T.double().tolist()
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # ending in none, and in a character
    for step in steps:
        new: dict[tuple[int, ...], tuple[float, float]] = {}
        for text, (none, character) in kept.items():
            whole = _sum(none, character)
            last = step[text[-1]] + character if text else -math.inf
            _add(new, text, whole + step[BLANK], last)
            for number in range(1, len(step)):
                before = none if text and number == text[-1] else whole
                _add(new, (*text, number), -math.inf, before + step[number])
        best = sorted(new.items(), key=lambda item: -_sum(*item[1]))[:beam]
        kept = dict(best)
    text, ends = max(kept.items(), key=lambda item: _sum(*item[1]))
    return list(text), _sum(*ends)


def _add(
    kept: dict[tuple[int, ...], tuple[float, float]], text: tuple[int, ...], none: float, character: float
) -> None:
    before = kept.get(text, (-math.inf, -math.inf))
    kept[text] = _sum(before[0], none), _sum(before[1], character)


def _sum(first: float, second: float) -> float:
    """The logarithm of the sum of two numbers of which these are the logarithms."""
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
