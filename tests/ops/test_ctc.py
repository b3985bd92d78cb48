"""Decoding of CTC against the sum over every path, and against torch's loss."""

from itertools import product

import pytest
import torch

from unpool.ops.ctc import beam_search, greedy, steps_needed


def spelled(path):
    """The text of a path, by the definition."""
    kept = [number for i, number in enumerate(path) if i == 0 or path[i - 1] != number]
    return tuple(number for number in kept if number)


def texts(scores):
    """The probability of every text: the sum over all paths that spell it."""
    shares = scores.softmax(0)
    total = {}
    for path in product(range(scores.shape[0]), repeat=scores.shape[1]):
        share = float(torch.stack([shares[number, t] for t, number in enumerate(path)]).prod())
        total[spelled(path)] = total.get(spelled(path), 0.0) + share
    return total


SCORES = {f"seed{i}": 1.5 * torch.randn(3, 4, generator=torch.Generator().manual_seed(i)) for i in range(5)}
SCORES["repeat"] = torch.tensor([[0.0, 2.0, 0.0, 0.5], [2.0, 0.0, 2.0, 0.5], [-1.0, -1.0, -1.0, -1.0]])  # spells 1 1


@pytest.mark.parametrize("name", SCORES)
def test_wide_beam_finds_the_likeliest_text_with_its_probability(name):
    scores = SCORES[name]
    every = texts(scores)
    best = max(every, key=lambda text: every[text])
    text, score = beam_search(scores, beam=100)
    assert (tuple(text), score) == (best, pytest.approx(torch.tensor(every[best]).log().item(), abs=1e-5))
    loss = torch.nn.functional.ctc_loss(
        scores.T[:, None].log_softmax(2),
        torch.tensor([best]),
        torch.tensor([4]),
        torch.tensor([len(best)]),
        reduction="sum",
    )
    assert score == pytest.approx(-float(loss), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_greedy_text_is_that_of_the_likeliest_path(seed):
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    path = scores.argmax(0).tolist()
    text, score = greedy(scores)
    assert tuple(text) == spelled(path)
    assert score == pytest.approx(float(scores.log_softmax(0).amax(0).sum()), abs=1e-5)


def test_equal_neighbours_are_one_unless_none_stands_between():
    """Number 0 is none: 1 1 0 1 2 2 spells 1 1 2."""
    scores = torch.full((3, 6), -9.0)
    for step, number in enumerate((1, 1, 0, 1, 2, 2)):
        scores[number, step] = 9.0
    assert greedy(scores)[0] == beam_search(scores, beam=4)[0] == [1, 1, 2]


@pytest.mark.parametrize(("text", "steps"), [([], 0), ([1, 2], 2), ([1, 1], 3), ([1, 1, 1], 5)])
def test_equal_neighbours_need_a_step_more(text, steps):
    assert steps_needed(text) == steps
