"""Embeddings: of length 1, learned by the loss of the recipe, without what the data does not say."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.ops.embedding_losses import contrastive, triplet, unit
from unpool.tasks.embedding import MARGINS, Embedding
from unpool.training.step import total_loss
from unpool.types import DataInfo

INFO = DataInfo(classes=("ann", "bob", "cid"))
OUTPUT = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


def batch(*people):
    return {
        "image": torch.zeros(len(people), 1, 4, 4),
        "identity": torch.tensor(people),
        "index": torch.arange(len(people)),
    }


PAIRED = batch(0, 0, 1, 1)


def loss_of(task, output=OUTPUT, targets=PAIRED):
    return float(total_loss(task.loss(output, targets)).detach())


def test_answer_has_length_1_whatever_the_network_gives():
    answer = Embedding(INFO, dim=8).decode(100 * OUTPUT, PAIRED)["embedding"]
    assert (answer.norm(dim=1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "loss"), [("contrastive", contrastive), ("triplet", triplet)])
def test_comparing_losses_see_unit_vectors_and_the_margin_of_their_paper(name, loss):
    task = Embedding(INFO, loss=name, dim=8)
    expected = total_loss(loss(unit(OUTPUT), PAIRED["identity"], margin=MARGINS[name]))
    assert [loss_of(task), loss_of(task, 3 * OUTPUT)] == pytest.approx([float(expected)] * 2)
    assert not list(task.parameters())


@pytest.mark.parametrize("name", ["cosface", "arcface"])
def test_margin_losses_see_angles_alone_and_a_margin_of_nothing_is_a_softmax_of_cosines(name):
    torch.manual_seed(0)
    task = Embedding(INFO, loss=name, dim=8, scale=4.0)
    assert loss_of(task) == pytest.approx(loss_of(task, 3 * OUTPUT))
    cosine = nn.functional.cosine_similarity(OUTPUT[:, None], task.directions[None], dim=2)
    plain = float(nn.functional.cross_entropy(4 * cosine, PAIRED["identity"]).detach())
    assert loss_of(task) > plain + 0.1
    task.margin = 1e-9
    assert loss_of(task) == pytest.approx(plain, rel=1e-5)


def test_softmax_is_a_linear_classifier_on_what_the_network_gives():
    task = Embedding(INFO, loss="softmax", dim=8)
    logits = nn.functional.linear(OUTPUT, task.directions, task.offsets)
    assert loss_of(task) == pytest.approx(float(nn.functional.cross_entropy(logits, PAIRED["identity"]).detach()))


@pytest.mark.parametrize("name", ["softmax", "arcface"])
def test_people_who_are_not_of_training_cost_nothing(name):
    torch.manual_seed(0)
    task = Embedding(INFO, loss=name, dim=8)
    assert loss_of(task, OUTPUT, batch(0, 7, 1, 3)) == pytest.approx(loss_of(task, OUTPUT[[0, 2]], batch(0, 1)))


@pytest.mark.parametrize("name", ["contrastive", "triplet"])
def test_batch_without_two_images_of_a_person_is_refused_in_training_only(name):
    task = Embedding(INFO, loss=name, dim=8)
    with pytest.raises(RecipeError, match=r"a batch of 4 images has no two: set data.order=\{p_times_k"):
        task.loss(OUTPUT, batch(0, 1, 2, 3))
    elsewhere = {key: value.to("meta") for key, value in batch(0, 1, 2, 3).items()}
    with pytest.raises((RecipeError, NotImplementedError)):  # what is asked, on whatever device
        task.loss(OUTPUT.to("meta"), elsewhere)
    assert loss_of(task.eval(), OUTPUT, batch(0, 1, 2, 3)) >= 0


@pytest.mark.parametrize(
    ("options", "info", "says"),
    [
        ({"loss": "center"}, INFO, "task.loss is 'center'; it must be one of contrastive, triplet, softmax"),
        ({"loss": "softmax", "margin": 0.3}, INFO, "task.margin is 0.3, which task.loss softmax does not read"),
        ({"loss": "arcface"}, DataInfo(classes=("ann",)), "task.loss arcface tells people apart, and the data names 1"),
        ({"margin": 0.0}, INFO, "task.margin is 0.0; expected a number above 0 and below 3"),
        ({"margin": -1.0}, INFO, "task.margin is -1.0; expected a number above 0 and below 3"),
        ({"dim": 1}, INFO, "task.dim is 1; expected a number from 2 to 16384"),
    ],
)
def test_option_that_does_not_fit_is_refused(options, info, says):
    with pytest.raises(RecipeError, match=says):
        Embedding(info, **options)


def test_network_that_gives_another_length_is_refused():
    with pytest.raises(RecipeError, match=r"the network gives \(4, 8\) where \(4, 16\) \(images, task.dim\) were due"):
        Embedding(INFO, dim=16).loss(OUTPUT, PAIRED)


def test_threshold_of_an_evaluation_is_kept_with_the_weights_and_one_that_was_not_chosen_changes_nothing():
    task, other = Embedding(INFO, dim=8), Embedding(INFO, dim=8)
    assert (task.chosen_threshold, task.metric().known_threshold) == (None, None)
    task.settle({"pair_threshold": 0.75})
    task.settle({"pair_threshold": None})
    other.load_state_dict(task.state_dict())
    assert other.chosen_threshold == other.metric().known_threshold == 0.75


@pytest.mark.parametrize(("protocol", "best"), [("verification", "pair_auc"), ("identification", "rank1")])
def test_best_weights_are_those_of_the_protocol_which_the_report_shows_first(protocol, best):
    task = Embedding(INFO, protocol=protocol)
    assert task.best == next(iter(task.described)) == best


def test_views_are_averaged_as_unit_vectors():
    task = Embedding(INFO, dim=2)
    mean = task.averaged([torch.tensor([[10.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
    torch.testing.assert_close(task.decode(mean, batch(0))["embedding"], torch.tensor([[0.5**0.5, 0.5**0.5]]))
