"""Leaves out all residual blocks but a fixed number of them in each training step (Veit et al. 2016, arXiv:1605.06431).

Section 4.3 trains only the effective paths: each batch passes a few blocks drawn at random, so that no path is longer
than their number. What is kept is divided by the share that is kept, so that evaluation passes every block as it is,
as in stochastic depth (`layers.dropout.StochasticDepth`); the paper does not say what it does there.
"""

import torch
from torch import Tensor, nn


class _Drawn:
    """The blocks that one step keeps, which the first block of the network draws."""

    def __init__(self, blocks: int, kept: int) -> None:
        self.blocks, self.kept = blocks, kept
        self.numbers: frozenset[int] = frozenset(range(blocks))

    def draw(self) -> None:
        self.numbers = frozenset(torch.randperm(self.blocks)[: self.kept].tolist())


class KeptBlock(nn.Module):
    """Passes the output of one block's branch on, or zeros where the step leaves the block out: any shape.

    Args:
        number: of the block, in the order in which the network runs them.
        drawn: shared by all blocks of the network.
    """

    def __init__(self, number: int, drawn: _Drawn) -> None:
        super().__init__()
        self.number = number
        self._drawn = drawn

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.number == 0:
            self._drawn.draw()
        is_kept = self.number in self._drawn.numbers
        return x * (self._drawn.blocks / self._drawn.kept if is_kept else 0.0)

    def extra_repr(self) -> str:
        return f"{self._drawn.kept} of {self._drawn.blocks}"


def kept_blocks(blocks: int, kept: int) -> list[KeptBlock]:
    """Returns what drops the branches of each of a network's blocks; numbers are drawn from torch's generator.

    Args:
        blocks: of the network, each of which runs once in a step, the first before the others.
        kept: of them in each step.

    Example:
        >>> drops = kept_blocks(4, 1)
        >>> sorted(float(drop(torch.ones(()))) for drop in drops)
        [0.0, 0.0, 0.0, 4.0]
    """
    drawn = _Drawn(blocks, kept)
    return [KeptBlock(number, drawn) for number in range(blocks)]
