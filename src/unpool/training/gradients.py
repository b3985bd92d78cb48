"""Gradients of one optimiser step, from one batch or several."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.training.step import Step, at_least_one, total_loss
from unpool.types import Batch


class Gradients(NamedTuple):
    """What is known once the gradients lie in the weights.

    Attributes:
        loss: () what is minimised.
        terms: each named part before its weight, ().
    """

    loss: Tensor
    terms: dict[str, Tensor]


def compute_gradients(step: Step, batches: Sequence[Batch], scaler: torch.amp.GradScaler) -> Gradients:
    """Leaves d loss / d weight in every `.grad`, as one batch of all samples would give.

    Args:
        step: forward and loss.
        batches: prepared batches.
        scaler: multiplies the loss before the backward pass where it is enabled.
    """
    if len(batches) == 1:
        losses = step(batches[0])
        loss = total_loss(losses)
        scaler.scale(loss).backward()
        terms = {name: (term.sum / at_least_one(term.count)).detach() for name, term in losses.items()}
        return Gradients(loss.detach(), terms)
    return _accumulated(step, batches, scaler)


def _accumulated(step: Step, batches: Sequence[Batch], scaler: torch.amp.GradScaler) -> Gradients:
    """The count of a term is known only after the last batch, so each term keeps gradients of its own till then."""
    weights = step.weights
    collected: dict[str, list[Tensor | None]] = {}
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    shares: dict[str, float] = {}
    for batch in batches:
        losses = step(batch)
        for name, term in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(term.sum)) + term.sum.detach()
            counts[name] = counts.get(name, torch.zeros_like(term.count)) + term.count.detach()
            shares[name] = term.weight
        asked = {name: scaler.scale(term.sum) for name, term in losses.items() if term.sum.requires_grad}
        for number, (name, value) in enumerate(asked.items()):
            parts = torch.autograd.grad(value, weights, retain_graph=number + 1 < len(asked), allow_unused=True)
            _add(collected.setdefault(name, [None] * len(weights)), parts)
    factors = {name: shares[name] / at_least_one(counts[name]) for name in sums}
    _write(weights, collected, factors)
    loss = torch.stack([factors[name] * sums[name] for name in sums]).sum()
    return Gradients(loss, {name: sums[name] / at_least_one(counts[name]) for name in sums})


def _add(total: list[Tensor | None], parts: Sequence[Tensor | None]) -> None:
    for position, part in enumerate(parts):
        if part is not None:
            whole = total[position]
            total[position] = part.clone() if whole is None else whole.add_(part)


def _write(weights: list[nn.Parameter], collected: dict[str, list[Tensor | None]], factors: dict[str, Tensor]) -> None:
    """Weights that no term depends on keep no gradient, as with one batch."""
    for position, weight in enumerate(weights):
        each = {name: gradients[position] for name, gradients in collected.items()}
        parts = [gradient * factors[name] for name, gradient in each.items() if gradient is not None]
        if parts:
            weight.grad = torch.stack(parts).sum(0).reshape(weight.shape) if len(parts) > 1 else parts[0]
