"""Losses between maps of joints and their labels, each a sum over maps; one whose joint is not known weighs nothing."""

from typing import Literal

import torch
from torch import Tensor, nn

from unpool.types import Term

Loss = Literal["mse", "bce", "softmax"]


def map_loss(
    maps: Tensor, labels: Tensor, known: Tensor, *, shown: Tensor, loss: Loss, foreground: Tensor | float, mass: float
) -> Term:
    """A loss of each map that is known; the count is their number.

    Most pixels of a map are background: their sum drowns the few that matter, and a network soon answers 0 everywhere.
    `foreground` weighs a pixel by 1 + (foreground - 1) * label; "softmax" has no such balance to strike.

    Args:
        maps: (B, K, H, W) of the network.
        labels: (B, K, H, W) in 0..1.
        known: (B, K) bool.
        shown: (B, 1, H, W) share of each pixel that shows the image, by which it counts; those of 0 are no part of the
            distribution of "softmax".
        loss: "mse" sums squared differences and "bce" binary cross-entropies of logits over pixels, both divided by
            `mass`, so that the loss does not grow with the map; "softmax" is the cross-entropy of a map as a
            distribution over its pixels, a label that misses the map counting as not known.
        foreground: weight of a pixel labelled 1, one for all maps or (K, 1, 1); of "mse" and "bce".
        mass: what a label adds up to.
    """
    if loss == "softmax":
        is_padding = shown == 0
        maps, labels = maps.masked_fill(is_padding, -torch.inf), labels.masked_fill(is_padding, 0)
        total = labels.sum((2, 3))
        known = known & (total > 0)
        share = labels.flatten(2) / total.clamp_min(1e-12)[..., None]
        logs = maps.flatten(2).log_softmax(2).masked_fill(is_padding.flatten(2), 0)  # not -inf, which 0 times is NaN
        each = -(share * logs).sum(2)  # (B, K)
    else:
        difference = (
            (maps - labels).square()
            if loss == "mse"
            else nn.functional.binary_cross_entropy_with_logits(maps, labels, reduction="none")
        )
        each = (difference * (1 + (foreground - 1) * labels) * shown).sum((2, 3)) / mass
    return Term(torch.where(known, each, 0.0).sum(), known.sum().float())


def as_scores(maps: Tensor, loss: Loss) -> Tensor:
    """Maps as what they were trained to be: labels, probabilities of each pixel, or one distribution over pixels."""
    if loss == "bce":
        return maps.sigmoid()
    return maps.flatten(2).softmax(2).unflatten(2, maps.shape[-2:]) if loss == "softmax" else maps
