"""Gradient ascent on an image: class models (Simonyan et al. 2014, arXiv:1312.6034, section 2) and DeepDream.

DeepDream is Mordvintsev et al. 2015, "Inceptionism": several sizes from small to large (octaves), in each some steps
along the gradient of an image that is shifted at random (jitter); what was added is enlarged to the next size. Images
are (1, C, H, W) on 0..1. Differs from both: a step has a fixed root mean square and not a mean of magnitudes, and
values stay in 0..1.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.cutting import averaged
from unpool.ops.image_priors import energy, roughness, shaped_as_natural

Objective = Callable[[Tensor], Tensor]  # of an image (1, C, h, w) on 0..1, or of a tile of one: a scalar
Progress = Callable[[int, int], None]


class Ascent(NamedTuple):
    """How an image is changed.

    Attributes:
        steps: for each octave.
        step: root mean square of a step's changes, on 0..1.
        octaves: sizes, each `scale` times the one before; the last is that of the image.
        scale: between octaves.
        jitter: pixels by which the image is shifted at most before each step, and back behind it, around its borders.
        l2: weight of the energy of the image on -1..1 (`centred`), which is subtracted from the objective.
        smoothness: weight of its roughness, which is subtracted too.
        statistics: exponent by which steps get the spectrum of natural images; 0 leaves gradients as they are.
        tile: pixels of the longest side that is put through the network at once; memory is that of one tile.
        seed: of the shifts.
    """

    steps: int = 10
    step: float = 0.01
    octaves: int = 4
    scale: float = 1.4
    jitter: int = 32
    l2: float = 0.0
    smoothness: float = 0.0
    statistics: float = 0.0
    tile: int = 512
    seed: int = 0


class Dream(NamedTuple):
    """A changed image.

    Attributes:
        image: (1, C, H, W) on 0..1.
        scores: the objective before each step, without priors, in the order of steps.
        totals: the same with priors.
    """

    image: Tensor
    scores: list[float]
    totals: list[float]


def dream(
    image: Tensor, objective: Objective, normalize: Callable[[Tensor], Tensor], ascent: Ascent, progress: Progress
) -> Dream:
    """Changes an image, small sizes first, until it excites an objective.

    The objective of an image larger than a tile is the mean over its tiles, which lie elsewhere at each step.

    Args:
        image: (1, C, H, W) on 0..1; not changed.
        objective: see `Objective`; reads what `normalize` gives.
        normalize: from an image on 0..1 to the network's input.
        ascent: how.
        progress: called with (steps done, steps in all).

    Example:
        >>> grey = torch.full((1, 1, 8, 8), 0.5)
        >>> ascent = Ascent(steps=3, step=0.1, octaves=1, jitter=0)
        >>> brighter = dream(grey, lambda x: x.mean(), lambda x: x, ascent, lambda done, total: None)
        >>> [round(score, 4) for score in brighter.scores]
        [0.5, 0.6, 0.7]
    """
    generator = torch.Generator().manual_seed(ascent.seed)
    sizes = octave_sizes((image.shape[-2], image.shape[-1]), ascent)
    added, result, scores, totals = torch.zeros_like(image[..., :1, :1]), image, [], []
    for number, size in enumerate(sizes):
        base = image if size == tuple(image.shape[-2:]) else averaged(image, size)
        result = (base + (averaged(added, size) if number else 0.0)).clamp(0, 1)
        for step in range(ascent.steps):
            progress(number * ascent.steps + step, len(sizes) * ascent.steps)
            result, score, total = _stepped(result, objective, normalize, ascent, generator=generator)
            scores.append(score)
            totals.append(total)
        added = result - base
    progress(len(sizes) * ascent.steps, len(sizes) * ascent.steps)
    return Dream(result, scores, totals)


def octave_sizes(size_hw: tuple[int, int], ascent: Ascent) -> list[tuple[int, int]]:
    """Returns (H, W) of each octave, the smallest first.

    Example:
        >>> octave_sizes((196, 98), Ascent(octaves=3, scale=1.4))
        [(100, 50), (140, 70), (196, 98)]
    """
    height, width = size_hw
    factors = [ascent.scale ** (number - ascent.octaves + 1) for number in range(ascent.octaves)]
    return [(max(1, round(height * factor)), max(1, round(width * factor))) for factor in factors]


def _stepped(
    image: Tensor,
    objective: Objective,
    normalize: Callable[[Tensor], Tensor],
    ascent: Ascent,
    *,
    generator: torch.Generator,
) -> tuple[Tensor, float, float]:
    """The image one step on, and its objective before, without priors and with them."""
    down, across = torch.randint(-ascent.jitter, ascent.jitter + 1, (2,), generator=generator).tolist()
    rolled = image.roll((down, across), (-2, -1))
    score, gradient = _by_tiles(rolled, objective, normalize, ascent.tile)
    total = score
    if ascent.l2 or ascent.smoothness:
        prior, prior_gradient = _graded(rolled, lambda x: _prior(centred(x), ascent))
        total, gradient = score - prior, gradient - prior_gradient
    gradient = shaped_as_natural(gradient, ascent.statistics)
    size = gradient.square().mean().sqrt()
    moved = rolled + ascent.step * gradient / size if size > 0 else rolled
    return moved.clamp(0, 1).roll((-down, -across), (-2, -1)), score, total


def centred(image: Tensor) -> Tensor:
    """Returns an image on -1..1, of 0 where it is grey: what priors weigh, whatever scale a network's input has.

    Example:
        >>> centred(torch.tensor([0.0, 0.5, 1.0]))
        tensor([-1.,  0.,  1.])
    """
    return 2 * image - 1


def _prior(image: Tensor, ascent: Ascent) -> Tensor:
    return ascent.l2 * energy(image) + ascent.smoothness * roughness(image)


def _by_tiles(
    image: Tensor, objective: Objective, normalize: Callable[[Tensor], Tensor], tile: int
) -> tuple[float, Tensor]:
    """The mean objective over tiles, weighted by their areas, and its gradient for the image."""
    gradient, score = torch.empty_like(image), 0.0
    height, width = image.shape[-2:]
    for rows in _parts(height, tile):
        for columns in _parts(width, tile):
            part = image[..., rows, columns]
            share = part.shape[-2] * part.shape[-1] / (height * width)
            value, graded = _graded(part, lambda x: objective(normalize(x)))
            gradient[..., rows, columns] = share * graded
            score += share * value
    return score, gradient


def _parts(side: int, tile: int) -> list[slice]:
    """As few slices of at most `tile` as cover a side, equal up to a pixel."""
    count = -(-side // tile)
    ends = [side * number // count for number in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def _graded(image: Tensor, function: Objective) -> tuple[float, Tensor]:
    with torch.enable_grad():
        variable = image.detach().clone().requires_grad_()
        value = function(variable)
        (gradient,) = torch.autograd.grad(value, variable)
    return float(value.detach()), gradient
