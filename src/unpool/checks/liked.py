"""Outputs that the loss likes best, by descent on the outputs themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.checks.setup import Setup
from unpool.checks.source import Batch

SMALL = 1e-3  # of the first loss, that is left of it


def best_outputs(setup: Setup, batch: Batch, shape: Sequence[int], *, rounds: int = 200) -> Tensor | None:
    """Returns outputs of a shape for one batch that make the loss small; None where it stays.

    Args:
        setup: the run.
        batch: whose targets are to be answered.
        shape: of the outputs.
        rounds: of L-BFGS, at most.
    """
    values = torch.zeros(*shape, requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=rounds, line_search_fn="strong_wolfe")
    losses = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = setup.loss_of(values, batch)
        loss.backward()
        losses.append(float(loss.detach()))
        return loss

    optimizer.step(closure)
    is_small = abs(losses[-1]) < SMALL * max(abs(losses[0]), 1e-9)
    return values.detach() if is_small else None
