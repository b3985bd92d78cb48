"""Gradients of one optimiser step, from one batch or several, by one process or several."""

from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import zip_longest
from typing import Any, NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unpool.errors import RecipeError
from unpool.training.processes import add_up, add_up_gradients, add_up_later, world_size
from unpool.training.step import Step, at_least_one, total_loss
from unpool.types import Batch, Part

_SHARES_BUFFERS = "forward_sync_buffers"  # a newer name of the option
if _SHARES_BUFFERS not in signature(DistributedDataParallel).parameters:
    _SHARES_BUFFERS = "broadcast_buffers"


class Gradients(NamedTuple):
    """What is known once the gradients lie in the weights.

    Attributes:
        loss: () what is minimised.
        terms: each named part before its weight, ().
    """

    loss: Tensor
    terms: dict[str, Tensor]


def compute_gradients(
    step: Step,
    batches: Sequence[Batch],
    scaler: torch.amp.GradScaler,
    *,
    parts: Sequence[Part | None] = (None,),
    forward: nn.Module | None = None,
) -> Gradients:
    """Leaves d loss / d weight in every `.grad`, as one batch of all samples of all processes would give.

    Args:
        step: forward and loss.
        batches: prepared batches.
        scaler: multiplies the loss before the backward pass where it is enabled.
        parts: which part of the whole batch each is; None of a process by itself.
        forward: what `distributed` made of the step.
    """
    if len(batches) > 1:
        return _accumulated(step, batches, scaler, parts=parts)
    losses = (forward or step)(batches[0], parts[0])
    sums, counts = _over_all(
        {name: term.sum.detach() for name, term in losses.items()}, {n: term.count for n, term in losses.items()}
    )
    shares = {name: term._replace(count=counts[name]) for name, term in losses.items()}
    loss = total_loss(shares)
    scaler.scale(loss).backward()
    if forward in (None, step):
        add_up_gradients(step.weights)
    if world_size() > 1:
        loss = total_loss({name: term._replace(sum=sums[name]) for name, term in shares.items()})
    return Gradients(loss.detach(), {name: sums[name] / at_least_one(counts[name]) for name in sums})


def distributed(step: Step, *, accumulate: int) -> nn.Module:
    """The step, in several processes such that its backward pass adds up gradients while it still computes others.

    Where gradients are accumulated, they are added up once all of them are there, and the step stays as it is. A weight
    may be used in one step and not in the next, or by some processes only: each backward pass looks for those.
    """
    if world_size() == 1 or accumulate > 1 or not step.weights:
        return step
    options: dict[str, Any] = {"find_unused_parameters": True, "init_sync": False, _SHARES_BUFFERS: False}
    if step.device.type == "cuda":
        options["device_ids"] = [step.device]
    shared = DistributedDataParallel(step, **options)
    shared.register_comm_hook(None, add_up_later)
    return shared


def _over_all(sums: Mapping[str, Tensor], counts: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Sums and counts of each term over all processes."""
    if world_size() == 1:
        return dict(sums), dict(counts)
    values = [*sums.values(), *counts.values()]
    names = float(crc32(",".join(sums).encode()))
    name = torch.tensor(names, dtype=torch.float64, device=values[0].device)
    total = add_up(torch.stack([*(value.detach().double() for value in values), name]))
    if total[-1] != world_size() * names:
        raise RecipeError("the processes have losses of other names: a task must give the same terms for every batch")
    of_all = [part.to(value.dtype) for part, value in zip(total[:-1], values, strict=True)]
    return dict(zip(sums, of_all, strict=False)), dict(zip(counts, of_all[len(sums) :], strict=True))


def _accumulated(
    step: Step, batches: Sequence[Batch], scaler: torch.amp.GradScaler, *, parts: Sequence[Part | None]
) -> Gradients:
    """The count of a term is known only after the last batch, so each term keeps gradients of its own till then."""
    weights = step.weights
    collected: dict[str, list[Tensor | None]] = {}
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    shares: dict[str, float] = {}
    for batch, part in zip_longest(batches, parts):
        losses = step(batch, part)
        for name, term in losses.items():
            sums[name] = sums.get(name, torch.zeros_like(term.sum)) + term.sum.detach()
            counts[name] = counts.get(name, torch.zeros_like(term.count)) + term.count.detach()
            shares[name] = term.weight
        asked = {name: scaler.scale(term.sum) for name, term in losses.items() if term.sum.requires_grad}
        for number, (name, value) in enumerate(asked.items()):
            gradients = torch.autograd.grad(value, weights, retain_graph=number + 1 < len(asked), allow_unused=True)
            _add(collected.setdefault(name, [None] * len(weights)), gradients)
    sums, counts = _over_all(sums, counts)
    factors = {name: shares[name] / at_least_one(counts[name]) for name in sums}
    _write(weights, collected, factors)
    add_up_gradients(weights)
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
            gradient = torch.stack(parts).sum(0).reshape(weight.shape) if len(parts) > 1 else parts[0]
            weight.grad = _laid_out(gradient, weight)


def _laid_out(gradient: Tensor, weight: nn.Parameter) -> Tensor:
    """The gradient in the order in memory that its weight has: fused steps go through both side by side, unasked."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)
