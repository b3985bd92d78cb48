"""Outputs are told to be vectors or scores by what the loss does with them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.small_runs import batches, net, run
from unpool.checks.first_batch import look_first_batch
from unpool.checks.loss_pairs import look_pairs
from unpool.checks.membership import look_held
from unpool.checks.reading import look_input_used
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


def test_directions_may_be_registered_in_the_network_and_a_penalty_on_all_weights_is_none():
    model = net(16)
    model.directions = nn.Parameter(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    of_cosines = run(model=model, loss=lambda v, y: F.cross_entropy(F.normalize(v) @ model.directions.T, y))
    assert of_cosines.target_form == "vector"
    plain = net()
    decayed = run(
        model=plain, loss=lambda s, y: F.cross_entropy(s, y) + 1e-4 * sum(w.square().sum() for w in plain.parameters())
    )
    assert decayed.target_form == "class"


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


def test_directions_of_the_loss_that_no_optimiser_holds_are_named():
    model, loss = net(16), Angles()
    held = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=1e-3)
    assert look_held(run(model=model, loss=loss, optimizer=held)).verdict == "pass"
    assert look_held(run(model=model, loss=loss)).cause == "optim.missing_parameters"
    assert look_held(run(model=model)).verdict == "pass"


def test_network_of_listed_pictures_mixes_nothing_and_reads_all_channels():
    """Detectors take pictures of several sizes, and their answers have no axis of samples."""

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Conv2d(3, 3, 3)  # as many answers as a picture has channels

        def forward(self, pictures):
            return [{"scores": self.net(one[None]).mean((0, 2, 3))} for one in pictures]

    class Cornered(Listed):
        """Answers of what stands in a corner, as where a detector sees one thing there."""

        def forward(self, pictures):
            return super().forward([one[:, :6, :6] for one in pictures])

    batches = [([torch.rand(3, 12, 12), torch.rand(3, 10, 14)], [{"labels": torch.tensor([1])}] * 2)] * 2
    assert look_input_used(run(model=Cornered(), train=batches, val=None, loss=None, optimizer=None)).verdict == "pass"
    setup = run(model=Listed(), train=batches, val=None, loss=None, optimizer=None)
    assert setup.paths.mixed is None
    assert [bool(one.all()) for one in setup.paths.channels] == [True, True]


def test_people_are_classes_to_whoever_says_so_and_vectors_to_the_loss():
    assert run(model=net(16), loss=by_equality, form="class").target_form == "vector"
    assert run(form="class").target_form == "class"


def test_loss_of_people_who_are_not_in_training_is_not_asked_for():
    strangers = [(x, y + 7) for x, y in batches(4)]
    found = look_first_batch(run(model=net(16), loss=Angles(), val=strangers))
    assert [one.verdict for one in found] == ["pass", "pass"]


def test_cosines_with_the_margins_of_distances_are_named():
    def contrastive(vectors, labels):
        rounded = vectors * (1 + 1e-6)
        cosines, is_same = rounded @ rounded.T, labels[:, None] == labels
        return (-cosines[is_same]).relu().mean() + (cosines[~is_same] - 1).relu().mean()

    assert look_pairs(run(model=net(16), loss=contrastive, form="vector")).cause == "loss.pair_convention"


@pytest.mark.parametrize(("channels", "form"), [(3, "picture"), (5, "unknown")])
def test_target_of_another_size_is_a_picture_where_it_has_the_channels_of_the_input(channels, form):
    larger = nn.ConvTranspose2d(3, channels, 2, 2)
    data = [(x, torch.zeros(len(x), channels, 24, 24)) for x, _ in batches(2)]
    assert run(model=larger, loss=F.mse_loss, train=data, val=data).target_form == form
