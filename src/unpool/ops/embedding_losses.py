"""Losses that bring images of one person together and images of others apart.

Contrastive and triplet losses compare the samples of a batch with one another; where several processes share a batch,
each compares its own samples with those of all (`ops.whole_batch`). Margin losses compare a sample with a direction for
each person. Embeddings are unit vectors but for `softmax`; distances are those of unit vectors, from 0 to 2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.ops.losses import label_cross_entropy
from unpool.ops.whole_batch import rows_of_all
from unpool.types import Losses, Term

_LEAST_SINE = 1e-6  # below which the gradient of a root would leave the range of numbers


def unit(embedding: Tensor) -> Tensor:
    """The embeddings (..., E) brought to length 1.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    return nn.functional.normalize(embedding, dim=-1)


def distances(first: Tensor, second: Tensor) -> Tensor:
    """(A, B) Euclidean distances of embeddings (A, E) and (B, E); its gradient at distance 0 is 0.

    Differences are taken coordinate by coordinate: of near vectors 2 - 2 cos would lose half of the digits.

    Example:
        >>> distances(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[1.4142, 0.0000]])
    """
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


class _Compared(NamedTuple):
    """Samples of this process in rows, those of the whole batch in columns.

    Attributes:
        distance: (B, N) Euclidean.
        is_same: (B, N) of one person, and not a sample and itself.
        is_other: (B, N) of two people.
    """

    distance: Tensor
    is_same: Tensor
    is_other: Tensor


def _compared(embedding: Tensor, identity: Tensor) -> _Compared:
    whole, first = rows_of_all(embedding)
    people, _ = rows_of_all(identity)
    is_same = identity[:, None] == people[None]
    rows = torch.arange(len(identity), device=identity.device)
    is_self = torch.zeros_like(is_same)
    is_self[rows, rows + first] = True
    return _Compared(distances(embedding, whole), is_same & ~is_self, ~is_same)


def contrastive(embedding: Tensor, identity: Tensor, *, margin: float) -> Losses:
    """Half the squared distance of pairs of one person; half the square of what others lack to the margin.

    All pairs of the batch are compared, each of them twice. The two kinds are averaged by themselves and added, as if
    there were as many of one as of the other.

    Args:
        embedding: (B, E) of length 1.
        identity: (B,) person of each.
        margin: distance from which on pairs of different people cost nothing.

    Returns:
        "same" and "different", each with its number of pairs as count.

    Source: Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", equation 4, where Y = 0
        says that a pair is similar (Caffe's label is 1 then).

    Example:
        >>> pair = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> terms = contrastive(pair, torch.tensor([0, 0]), margin=1.0)
        >>> round(float(terms["same"].sum / terms["same"].count), 4), float(terms["different"].count)
        (1.0, 0.0)
    """
    distance, is_same, is_other = _compared(embedding, identity)
    same = 0.5 * distance.square() * is_same
    different = 0.5 * (margin - distance).clamp_min(0).square() * is_other
    return {
        "same": Term(same.sum(), is_same.sum().float()),
        "different": Term(different.sum(), is_other.sum().float()),
    }


def semi_hard(squared: Tensor, is_same: Tensor, is_other: Tensor, *, margin: float) -> tuple[Tensor, Tensor]:
    """The negative of each pair of anchor and positive: the nearest one that is farther, by less than the margin.

    Args:
        squared: (B, N) squared distances of anchors in rows.
        is_same: (B, N) the positives of each anchor.
        is_other: (B, N) its negatives.
        margin: of squared distances.

    Returns:
        (B, N) column of the negative for the positive of that column, and (B, N) whether there is one; where there is
        none, the column is that of any negative.

    Example:
        >>> squared = torch.tensor([[0.0, 0.5, 0.3, 0.6, 0.65, 0.9]])  # the anchor, a positive, four negatives
        >>> same = torch.tensor([[False, True, False, False, False, False]])
        >>> other = torch.tensor([[False, False, True, True, True, True]])
        >>> chosen, is_there = semi_hard(squared, same, other, margin=0.2)
        >>> int(chosen[0, 1]), is_there.tolist()
        (3, [[False, True, False, False, False, False]])
    """
    to_negative, to_positive = squared[:, None, :], squared[:, :, None]  # (B, 1, N), (B, N, 1)
    is_inside = (to_negative > to_positive) & (to_negative < to_positive + margin) & is_other[:, None]
    nearest = to_negative.masked_fill(~is_inside, math.inf).argmin(2)
    return nearest, is_inside.any(2) & is_same


def triplet(embedding: Tensor, identity: Tensor, *, margin: float) -> Losses:
    """How far, in squared distances, each positive is from being nearer than a negative by the margin.

    Every anchor meets every positive of the batch, with the nearest negative among the semi-hard ones, farther than the
    positive and within the margin. Where all negatives are as near as the positive or nearer, the farthest of them is
    taken: the hardest ones lead to embeddings that are all equal. Pairs whose negatives are beyond the margin cost
    nothing, and are counted.

    Args:
        embedding: (B, E) of length 1.
        identity: (B,) person of each.
        margin: of squared distances.

    Returns:
        "triplet", whose count is the number of pairs of anchor and positive that have a negative.

    Source: Schroff et al. 2015, arXiv:1503.03832, section 3.

    Example:
        >>> equal = torch.tensor([[1.0, 0.0]] * 4)
        >>> term = triplet(equal, torch.tensor([0, 0, 1, 1]), margin=0.2)["triplet"]
        >>> term.sum / term.count
        tensor(0.2000)
    """
    distance, is_same, is_other = _compared(embedding, identity)
    squared = distance.square()
    with torch.no_grad():
        chosen, is_there = semi_hard(squared, is_same, is_other, margin=margin)
        farthest = squared.masked_fill(~is_other, -math.inf).argmax(1, keepdim=True)  # (B, 1)
        is_near = squared.gather(1, farthest) <= squared  # all negatives of the anchor are as near as this positive
        has_negative = is_same & is_other.any(1, keepdim=True)
        chosen = torch.where(is_there, chosen, farthest)
        is_due = has_negative & (is_there | is_near)
    lacking = (squared - squared.gather(1, chosen) + margin).clamp_min(0)
    return {"triplet": Term((lacking * is_due).sum(), has_negative.sum().float())}


def cosface_logits(cosine: Tensor, label: Tensor, *, margin: float, scale: float) -> Tensor:
    """Cosines (B, K) with the margin taken from that of the true person, times the scale.

    Source: Wang et al. 2018, arXiv:1801.09414, equation 4.

    Example:
        >>> cosface_logits(torch.tensor([[0.5, 0.5]]), torch.tensor([1]), margin=0.25, scale=4.0)
        tensor([[2., 1.]])
    """
    true = nn.functional.one_hot(label, cosine.shape[1])
    return scale * (cosine - margin * true)


def arcface_logits(cosine: Tensor, label: Tensor, *, margin: float, scale: float) -> Tensor:
    """Cosines (B, K) with the margin added to the angle of the true person, times the scale.

    Where angle and margin pass 180 degrees, whose cosine would rise again, it falls on in a straight line, as in the
    paper's release.

    Args:
        cosine: of embeddings and the directions of people.
        label: (B,) person.
        margin: in radians, below pi.
        scale: of the logits.

    Source: Deng et al. 2019, arXiv:1801.07698, equation 3.

    Example:
        >>> arcface_logits(torch.tensor([[0.5, 0.5]]), torch.tensor([1]), margin=math.pi / 6, scale=1.0)
        tensor([[0.5000, 0.0000]])
    """
    true = cosine.gather(1, label[:, None])
    sine = (1 - true.square()).clamp_min(_LEAST_SINE**2).sqrt()
    turned = true * math.cos(margin) - sine * math.sin(margin)
    beyond = true - margin * math.sin(margin)
    changed = torch.where(true > math.cos(math.pi - margin), turned, beyond)
    return scale * cosine.scatter(1, label[:, None], changed)


def margin_softmax(logits: Tensor, label: Tensor) -> Losses:
    """Cross-entropy over the people of training; samples of other people, whose label is -1, are not counted.

    Example:
        >>> term = margin_softmax(torch.zeros(2, 2), torch.tensor([0, -1]))["cross_entropy"]
        >>> round(float(term.sum), 4), float(term.count)
        (0.6931, 1.0)
    """
    known = label >= 0
    return {"cross_entropy": label_cross_entropy(logits[known], label[known])}
