"""Losses that bring images of one person together: by their formulas, on sets made by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from unpool.ops.embedding_losses import (
    arcface_logits,
    contrastive,
    cosface_logits,
    distances,
    margin_softmax,
    semi_hard,
    triplet,
    unit,
)
from unpool.training.step import total_loss


def vectors(count=12, dim=5, seed=0):
    return unit(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


PEOPLE = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


def by_hand(embedding, identity, pair):
    """Sum and count of `pair(distance, is_same)` over ordered pairs, by kind."""
    sums = {True: [0.0, 0], False: [0.0, 0]}
    for a in range(len(embedding)):
        for b in range(len(embedding)):
            if a != b:
                is_same = bool(identity[a] == identity[b])
                sums[is_same][0] += pair(float((embedding[a] - embedding[b]).norm()), is_same)
                sums[is_same][1] += 1
    return sums


def test_embeddings_have_length_1_and_squared_distances_are_2_less_two_cosines():
    embedding = unit(100 * torch.randn(9, 7, dtype=torch.float64))
    assert (embedding.norm(dim=1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(distances(embedding, embedding).square(), 2 - 2 * embedding @ embedding.T)


def test_contrastive_loss_is_that_of_hadsell_where_similar_pairs_are_pulled():
    sums = by_hand(vectors(), PEOPLE, lambda d, same: d**2 / 2 if same else max(0.0, 1.3 - d) ** 2 / 2)
    terms = contrastive(vectors(), PEOPLE, margin=1.3)
    for name, key in (("same", True), ("different", False)):
        assert float(terms[name].sum) == pytest.approx(sums[key][0])
        assert float(terms[name].count) == sums[key][1]


@pytest.mark.parametrize("loss", [contrastive, triplet])
def test_gradient_is_finite_where_embeddings_are_equal(loss):
    embedding = torch.ones(4, 3, requires_grad=True)
    total_loss(loss(unit(embedding), torch.tensor([0, 0, 1, 1]), margin=1.0)).backward()
    assert embedding.grad.isfinite().all()


def test_triplet_loss_of_equal_embeddings_is_the_margin():
    equal = unit(torch.ones(6, 4))
    assert float(total_loss(triplet(equal, torch.tensor([0, 0, 1, 1, 2, 2]), margin=0.2))) == pytest.approx(0.2)


def test_semi_hard_negatives_lie_between_the_positive_and_the_margin_and_the_nearest_is_taken():
    embedding = vectors(seed=3)
    squared = distances(embedding, embedding).square()
    same = (PEOPLE[:, None] == PEOPLE) & ~torch.eye(12, dtype=torch.bool)
    chosen, is_there = semi_hard(squared, same, PEOPLE[:, None] != PEOPLE, margin=0.3)
    assert 0 < is_there.sum() < same.sum()
    for a, p in same.nonzero().tolist():
        band = [n for n in range(12) if PEOPLE[n] != PEOPLE[a] and squared[a, p] < squared[a, n] < squared[a, p] + 0.3]
        assert bool(is_there[a, p]) == bool(band)
        if band:
            assert int(chosen[a, p]) == min(band, key=lambda n: squared[a, n])
    assert not is_there[~same].any()


def test_triplet_loss_is_of_squared_distances_to_semi_hard_negatives_or_the_farthest_of_nearer_ones():
    embedding, total = vectors(seed=3), 0.0
    squared = distances(embedding, embedding).square()
    pairs = [(a, p) for a in range(12) for p in range(12) if a != p and PEOPLE[a] == PEOPLE[p]]
    kinds = set()
    for a, p in pairs:
        others = [float(squared[a, n]) for n in range(12) if PEOPLE[n] != PEOPLE[a]]
        positive = float(squared[a, p])
        band = [d for d in others if positive < d < positive + 0.3]
        kinds.add("band" if band else "nearer" if max(others) <= positive else "beyond")
        if band or max(others) <= positive:
            total += max(0.0, positive - (min(band) if band else max(others)) + 0.3)
    term = triplet(embedding, PEOPLE, margin=0.3)["triplet"]
    assert float(term.sum) == pytest.approx(total)
    assert (float(term.count), "band" in kinds) == (len(pairs), True)


def test_all_negatives_nearer_than_the_positive_still_cost_and_move():
    angles = torch.tensor([0.0, 2.0, 0.1, 0.2], requires_grad=True)
    embedding = torch.stack([angles.cos(), angles.sin()], 1)
    term = triplet(embedding, torch.tensor([0, 0, 1, 1]), margin=0.2)["triplet"]
    term.sum.backward()
    assert float(term.sum.detach()) > 3
    assert (angles.grad != 0).all()


def test_margins_change_the_true_person_alone_as_the_papers_write_it():
    cosine, label = torch.linspace(-0.9, 0.9, 12, dtype=torch.float64).view(3, 4), torch.tensor([0, 2, 3])
    true = torch.nn.functional.one_hot(label, 4).bool()
    for turned, expected in (
        (cosface_logits(cosine, label, margin=0.35, scale=64.0), cosine[true] - 0.35),
        (arcface_logits(cosine, label, margin=0.5, scale=64.0), (cosine[true].acos() + 0.5).cos()),
    ):
        torch.testing.assert_close(turned[~true], 64 * cosine[~true])
        torch.testing.assert_close(turned[true][1:], 64 * expected[1:])
        assert (turned[true] < 64 * cosine[true]).all()


def test_arcface_falls_with_the_angle_also_beyond_180_degrees_and_has_a_gradient_everywhere():
    cosine = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None].requires_grad_()
    logits = arcface_logits(cosine, torch.zeros(201, dtype=torch.int64), margin=0.5, scale=1.0)
    assert (logits.diff(dim=0) > 0).all()
    logits.sum().backward()
    assert cosine.grad.isfinite().all()
    without = arcface_logits(cosine[1:-1], torch.zeros(199, dtype=torch.int64), margin=1e-9, scale=2.0)
    torch.testing.assert_close(without, 2 * cosine[1:-1])


def test_strangers_take_no_part_in_the_softmax():
    logits = torch.randn(3, 4)
    term = margin_softmax(logits, torch.tensor([1, -1, 3]))["cross_entropy"]
    expected = cross_entropy(logits[[0, 2]], torch.tensor([1, 3]), reduction="sum")
    torch.testing.assert_close(term.sum, expected)
    assert float(term.count) == 2
    assert math.isfinite(float(total_loss({"x": margin_softmax(logits, torch.tensor([-1] * 3))["cross_entropy"]})))
