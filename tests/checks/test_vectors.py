"""Outputs are told to be vectors or scores by what the loss does with them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.small_runs import net, run
from unpool.checks.loss_pairs import look_pairs
from unpool.checks.wiring import look_broadcast, look_output_size


class Angles(nn.Module):
    """Cosines with a direction for each class, as cosface and arcface have them."""

    def __init__(self):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, vectors, labels):
        cosines = F.normalize(vectors) @ F.normalize(self.directions).T
        return F.cross_entropy(16 * cosines, labels)


def by_equality(vectors, labels):
    gaps = torch.cdist(vectors, vectors).square()
    is_same = labels[:, None] == labels[None]
    return torch.where(is_same, gaps, (4 - gaps).relu()).mean()


HEAD = Angles()


def functional(vectors, labels):
    return HEAD(vectors, labels)


@pytest.mark.parametrize("loss", [Angles(), functional, by_equality])
def test_loss_with_directions_or_of_equal_labels_takes_vectors(loss):
    setup = run(model=net(16), loss=loss)
    assert setup.target_form == "vector"
    assert look_output_size(setup).verdict == "not applicable"


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])),
        lambda scores, labels: F.cross_entropy(scores, scores.argmax(1)),  # of no label at all
        lambda scores, labels: F.mse_loss(scores, F.one_hot(labels, 3).float()),
    ],
)
def test_loss_of_numbered_classes_takes_scores(loss):
    assert run(loss=loss).target_form == "class"


def test_vectors_are_not_judged_where_the_loss_learns_what_is_right():
    assert look_pairs(run(model=net(16), loss=Angles())).verdict == "not applicable"
    assert look_pairs(run(model=net(16), loss=by_equality)).verdict == "pass"


def test_words_that_are_as_many_as_samples_are_not_taken_for_them():
    """Eight sentences over a vocabulary of eight words: the loss compares rows with words, not with the batch."""

    def loss(scores, words):
        return (scores - F.one_hot(words, 8)).square().mean() + 0 * (torch.arange(8) * scores).sum()

    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, 8, generator=generator), torch.randint(8, (8, 5), generator=generator)) for _ in "ab"]
    model = nn.Sequential(nn.Linear(8, 40), nn.Unflatten(1, (5, 8)))
    assert look_broadcast(run(model=model, train=batches, val=None, loss=loss)).verdict == "pass"
