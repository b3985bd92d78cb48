"""A residual network as many paths: how long they are, and what gradient comes through those of each length.

Veit et al. 2016, arXiv:1605.06431, sections 3 and 4.3: each of n blocks is passed by its branch or by its shortcut, so
that 2^n paths lead through the network, and the number of branches on one is binomial. The gradient of paths of length
k is measured as in the paper: the forward is whole, and the backward goes through the branch alone in k blocks drawn at
random, and through the shortcut alone in all others. The sum over all choices is the whole gradient.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import comb
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.inspection.blocks import Block, Position
from unpool.inspection.lesions import Change, changed

SHARE = 0.95  # of the gradient that effective paths carry


class LengthGradient(NamedTuple):
    """What paths of one length give.

    Attributes:
        length: branches on a path.
        paths: share of all paths.
        gradient: mean norm of the gradient of one path at the image, over images and drawn paths.
        contribution: share of all paths' gradients: `paths` times `gradient`, of a sum of 1.
    """

    length: int
    paths: float
    gradient: float
    contribution: float


def path_shares(blocks: int) -> list[float]:
    """Returns the share of the paths of each length from 0 to `blocks`: binomial, with one half.

    Example:
        >>> path_shares(2)
        [0.25, 0.5, 0.25]
    """
    return [comb(blocks, length) / 2**blocks for length in range(blocks + 1)]


def gradients_by_length(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    image: Tensor,
    blocks: Sequence[Block],
    *,
    draws: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LengthGradient]:
    """Measures the gradient at an image of single paths of each length.

    Args:
        network: in evaluation mode, so that norms are fixed.
        loss: runs the network on images and returns a scalar.
        image: (B, C, H, W).
        blocks: of `parts_of`.
        draws: paths drawn of each length; fewer where there are fewer.
        seed: of the draws.
        progress: called with (lengths done, lengths in all).

    Returns:
        One for each length from 0 to the number of blocks.

    Example:
        >>> from unpool.inspection.blocks import parts_of
        >>> from unpool.layers.preactivation import Preactivated
        >>> network = nn.Sequential(*(Preactivated(nn.Conv2d(1, 1, 1)) for _ in range(3))).eval()
        >>> image = torch.ones(1, 1, 4, 4)
        >>> lengths = gradients_by_length(network, lambda x: network(x).sum(), image, parts_of(network, image).blocks)
        >>> [length.paths for length in lengths], round(sum(length.contribution for length in lengths), 6)
        ([0.125, 0.375, 0.375, 0.125], 1.0)
    """
    count, generator = len(blocks), torch.Generator().manual_seed(seed)
    shares, norms = path_shares(count), []
    with path_gradients(network, loss, image, blocks) as gradient:
        for length in range(count + 1):
            progress(length, count + 1)
            chosen = [
                torch.randperm(count, generator=generator)[:length] for _ in range(min(draws, comb(count, length)))
            ]
            one = [float(gradient(set(path.tolist())).flatten(1).norm(dim=1).mean()) for path in chosen]
            norms.append(sum(one) / len(one))
        progress(count + 1, count + 1)
    products = [share * norm for share, norm in zip(shares, norms, strict=True)]
    total = sum(products) or 1.0
    return [
        LengthGradient(length, shares[length], norms[length], products[length] / total) for length in range(count + 1)
    ]


class path_gradients:  # noqa: N801, a context manager
    """Inside, a function from a set of blocks to the gradient of the one path through their branches alone.

    The forward runs once; each call is a backward. Arguments are those of `gradients_by_length`.
    """

    def __init__(
        self, network: nn.Module, loss: Callable[[Tensor], Tensor], image: Tensor, blocks: Sequence[Block]
    ) -> None:
        self._blocks, self._image = blocks, image.detach().clone().requires_grad_()
        self._branches: set[int] = set()
        changes: dict[Position, Change] = {
            block.position: partial(_joined, self._branches, number, block.is_branch_first)
            for number, block in enumerate(blocks)
        }
        self._changing = changed(network, changes)
        self._loss = loss

    def __enter__(self) -> Callable[[set[int]], Tensor]:
        with torch.inference_mode(mode=False), torch.enable_grad(), self._changing:
            self._value = self._loss(self._image)
        return self._gradient

    def __exit__(self, *_: object) -> None:
        del self._value

    def _gradient(self, branches: set[int]) -> Tensor:
        self._branches.clear()
        self._branches.update(branches)
        (gradient,) = torch.autograd.grad(self._value, self._image, retain_graph=True, allow_unused=True)
        return torch.zeros_like(self._image) if gradient is None else gradient


def _joined(branches: set[int], number: int, is_branch_first: bool, one: Tensor, other: Tensor) -> Tensor:  # noqa: FBT001
    branch, shortcut = (one, other) if is_branch_first else (other, one)
    return _Junction.apply(branch, shortcut, branches, number)  # pyright: ignore[reportReturnType]


class _Junction(torch.autograd.Function):
    """branch + shortcut, whose gradient goes to one of the two: to the branch where its number is in the set."""

    @staticmethod
    def forward(ctx: Any, branch: Tensor, shortcut: Tensor, branches: set[int], number: int) -> Tensor:
        ctx.branches, ctx.number = branches, number
        return branch + shortcut

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        through = ctx.number in ctx.branches
        return (gradient if through else None), (None if through else gradient), None, None


class Effective(NamedTuple):
    """The lengths that carry the gradient.

    Attributes:
        shortest, longest: the fewest neighbouring lengths that carry `SHARE` of the gradient.
        mean: length, weighted by contribution.
        paths: share of all paths that have these lengths.
    """

    shortest: int
    longest: int
    mean: float
    paths: float


def effective_lengths(lengths: Sequence[LengthGradient], share: float = SHARE) -> Effective:
    """Returns the fewest neighbouring lengths whose paths carry a share of the gradient.

    Example:
        >>> lengths = [LengthGradient(k, 0.25, 1.0, part) for k, part in enumerate((0.0, 0.5, 0.5, 0.0))]
        >>> effective_lengths(lengths)
        Effective(shortest=1, longest=2, mean=1.5, paths=0.5)
    """
    parts = [one.contribution for one in lengths]
    spans = [(end - start, start, end) for start in range(len(parts)) for end in range(start, len(parts))]
    _, start, end = min(span for span in spans if sum(parts[span[1] : span[2] + 1]) >= share - 1e-9)
    mean = sum(one.length * one.contribution for one in lengths)
    return Effective(
        lengths[start].length, lengths[end].length, mean, sum(one.paths for one in lengths[start : end + 1])
    )
