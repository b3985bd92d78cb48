"""Which pixels of an image a score depends on: Grad-CAM, occlusion and integrated gradients, for any network.

A score is a function from images (B, C, H, W), as the network takes them, to one number each (B,).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unpool.errors import RecipeError, quoted
from unpool.inspection.layer_maps import keeping_output
from unpool.tracing.recorder import evaluating

Score = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]
BATCH = 8  # images that go through the network at once


def grad_cam(model: nn.Module, image: Tensor, score: Score, *, layer: str) -> Tensor:
    """Sum of a layer's maps, each times its mean gradient; positive where the score rises with the layer.

    Args:
        model: runs in evaluation mode; modes, hooks and gradients of weights are left as they were.
        image: (1, C, H, W).
        score: runs the network once.
        layer: dotted name of a module that gives maps; its last call counts.

    Returns:
        (H, W), not below 0, interpolated from the layer's positions.

    Raises:
        RecipeError: there is no such layer, it gives no map, or the score does not depend on it.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> grad_cam(network, torch.rand(1, 1, 8, 6), lambda image: network(image)[:, 0], layer="0").shape
        torch.Size([8, 6])

    Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
    """
    with evaluating(model), torch.enable_grad(), keeping_output(model, layer) as outputs:
        value = score(image.detach().requires_grad_())
    if not outputs or outputs[-1].dim() != 4:
        raise RecipeError(f"layer {quoted(layer)} gives no map (B, C, H, W): choose one in front of the pooling")
    maps = outputs[-1]
    (gradient,) = torch.autograd.grad(value.sum(), maps, allow_unused=True)
    if gradient is None:
        raise RecipeError(f"the score does not depend on layer {quoted(layer)}: choose one that leads to it")
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * maps.detach()).sum(1, keepdim=True).clamp(min=0)
    return F.interpolate(heat, image.shape[2:], mode="bilinear")[0, 0]


@torch.no_grad()
def occlusion(
    image: Tensor,
    score: Score,
    *,
    window: int,
    stride: int,
    baseline: Tensor | float = 0.0,
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """How far a score falls on average where a window over each pixel is covered.

    Args:
        image: (1, C, H, W).
        score: runs the network, in the mode in which it is, on up to `BATCH` images.
        window: pixels of a side; those at the right and bottom border may be cut off.
        stride: pixels between neighbouring windows, at most `window`, so that each pixel is covered once at least.
        baseline: what stands in a window, a number or a tensor that broadcasts to the image.
        progress: called with (windows done, windows in all).

    Returns:
        (H, W); below 0 where the score rises.

    Raises:
        RecipeError: the window is larger than the image, or the stride larger than the window.

    Example:
        >>> heat = occlusion(torch.ones(1, 1, 2, 4), lambda image: image[:, 0, 0, 0], window=2, stride=2)
        >>> heat.tolist()  # the score is that of the corner, which the left window covers
        [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]

    Source: Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2.
    """
    height, width = image.shape[2:]
    if not 1 <= stride <= window or window > min(height, width):
        raise RecipeError(
            f"a window of {window} pixels every {stride} over {height}x{width}: expected a stride of 1 to the window's "
            "side, and a window that the image holds"
        )
    corners = [(top, left) for top in _starts(height, window, stride) for left in _starts(width, window, stride)]
    whole = score(image)[0]
    falls, covered = torch.zeros_like(image[0, 0]), torch.zeros_like(image[0, 0])
    progress(0, len(corners))
    for first in range(0, len(corners), BATCH):
        part = corners[first : first + BATCH]
        images = image.repeat(len(part), 1, 1, 1)
        for one, (top, left) in zip(images, part, strict=True):
            inside = (..., slice(top, top + window), slice(left, left + window))
            one[inside] = torch.as_tensor(baseline, dtype=one.dtype, device=one.device).expand_as(image[0])[inside]
        for value, (top, left) in zip(score(images), part, strict=True):
            inside = (slice(top, top + window), slice(left, left + window))
            falls[inside] += whole - value
            covered[inside] += 1
        progress(min(first + BATCH, len(corners)), len(corners))
    return falls / covered


def _starts(size: int, window: int, stride: int) -> range:
    """First pixels of windows, the last of which reaches the end."""
    return range(0, size - window + stride, stride)


def integrated_gradients(
    image: Tensor,
    score: Score,
    *,
    steps: int = 50,
    baseline: Tensor | float = 0.0,
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """The difference of the scores of an image and of a baseline, as a sum over pixels.

    The integral over the straight line between the two is computed by Gauss-Legendre quadrature.

    Args:
        image: (1, C, H, W).
        score: runs the network, in the mode in which it is, on up to `BATCH` images.
        steps: points of the quadrature.
        baseline: a number, or a tensor that broadcasts to the image.
        progress: called with (steps done, steps in all).

    Returns:
        (C, H, W), whose sum is the difference of the scores but for the error of the quadrature.

    Raises:
        RecipeError: there are no steps.

    Example:
        >>> parts = integrated_gradients(torch.tensor([[[[3.0, 1.0]]]]), lambda image: image.square().sum((1, 2, 3)))
        >>> [[round(value, 4) for value in row] for row in parts[0].tolist()]
        [[9.0, 1.0]]

    Source: Sundararajan et al. 2017, arXiv:1703.01365, equation 1.
    """
    if steps < 1:
        raise RecipeError(f"integrated gradients in {steps} steps: give 1 or more")
    points, weights = (torch.from_numpy(one).to(image) for one in np.polynomial.legendre.leggauss(steps))
    start = torch.as_tensor(baseline, dtype=image.dtype, device=image.device).expand_as(image)
    total = torch.zeros_like(image)
    progress(0, steps)
    for first in range(0, steps, BATCH):
        part = slice(first, first + BATCH)
        shares, factors = ((one[part] + more) / 2 for one, more in ((points, 1), (weights, 0)))
        line = (start + shares.view(-1, 1, 1, 1) * (image - start)).detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(line).sum(), line)
        total += (factors.view(-1, 1, 1, 1) * gradient).sum(0, keepdim=True)
        progress(min(first + BATCH, steps), steps)
    return ((image - start) * total)[0]
