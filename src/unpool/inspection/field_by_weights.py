"""The effective receptive field of a network's weights: how much each pixel changes the middle of a map.

Luo et al. 2016 (arXiv:1701.04128): a gradient of 1 in the middle of a layer's output, in all channels, goes back to the
image; its size is averaged over images. It falls off like a Gaussian, so that a position sees far less than the
theoretical field. Fitted here, where the paper estimates the deviation of a Gaussian, is one along each axis, to the
sums over the other.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unpool.inspection.traced import no_such_layer
from unpool.tracing.recorder import Call, Recorder, evaluating, tensors_of

ABOVE = 1 - 0.9545  # share of the largest value from which on the paper counts a pixel
_ROUNDS = 50  # of the fit, which converges in a few


class EffectiveField(NamedTuple):
    """What the middle of a layer's output sees of an image.

    Attributes:
        layer: its name, "" the network's output.
        position: (row, column) in the layer's output.
        gradient: (H, W) float64 mean size of the gradient at each pixel, the largest 1.
        centre: (y, x) of the Gaussian in pixels; None along an axis on which the gradient has no peak.
        sigma: its deviations along (y, x) in pixels; None likewise.
        images: that were averaged.
    """

    layer: str
    position: tuple[int, int]
    gradient: Tensor
    centre: tuple[float | None, float | None]
    sigma: tuple[float | None, float | None]
    images: int

    @property
    def radius(self) -> float | None:
        """Two deviations, in which 95.45 % of a Gaussian lie along an axis; the mean of both axes."""
        known = [sigma for sigma in self.sigma if sigma is not None]
        return 2 * sum(known) / len(known) if len(known) == len(self.sigma) else None

    @property
    def side(self) -> float:
        """Side of a square with as many pixels as have at least 4.55 % of the largest value, the paper's size."""
        return float((self.gradient >= ABOVE).sum()) ** 0.5


def effective_field(
    model: nn.Module,
    images: Iterable[Tensor],
    layer: str | None = None,
    *,
    position: tuple[int, int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> EffectiveField:
    """Measures the effective receptive field with the network's weights as they are.

    Memory and time are those of one training step an image; modes, weights and their gradients stay as they were.

    Args:
        model: any network of one image.
        images: (1, C, H, W) each, of one size, prepared as the network expects them.
        layer: dotted name of a module whose output is (B, C', H', W'); its last call counts. The output where None.
        position: (row, column) in that output; the middle where None.
        progress: called with the number of images done.

    Raises:
        ValueError: there is no image or no such layer, its output is no map or does not depend on the image.

    Example:
        >>> mean = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        >>> _ = nn.init.constant_(mean.weight, 1 / 9)
        >>> seen = effective_field(nn.Sequential(*[mean] * 8), [torch.rand(1, 1, 33, 33)])
        >>> round(seen.sigma[0], 2), round((8 * (3**2 - 1) / 12) ** 0.5, 2)  # the latter by the paper's section 2
        (2.36, 2.31)
    """
    total, done = None, 0
    at = position
    for image in images:
        size, at = _gradient(model, image, layer or "", position)
        total = size if total is None else total + size
        done += 1
        progress(done)
    if total is None or at is None:
        raise ValueError("there is no image to measure a field on: give at least one")
    if not float(total.max()) > 0:
        raise ValueError(f"no pixel changes position {at} of {layer or 'the output'!r}: its units are all off")
    fits = [_gaussian(total.sum(1 - axis).numpy()) for axis in (0, 1)]
    (y, sigma_y), (x, sigma_x) = fits
    return EffectiveField(layer or "", at, total / total.max(), (y, x), (sigma_y, sigma_x), done)


def _gradient(
    model: nn.Module, image: Tensor, layer: str, position: tuple[int, int] | None
) -> tuple[Tensor, tuple[int, int]]:
    """(H, W) size of the gradient at each pixel, and the position that it is of."""
    outputs: dict[str, Any] = {}

    def keep(call: Call, output: Any) -> None:
        if call.name == layer:
            outputs[call.name] = output
        names.append(call.name)

    names: list[str] = []
    weight = next((p for p in model.parameters() if p.is_floating_point()), image)
    shown = image.detach().to(weight.device, weight.dtype).requires_grad_()
    with evaluating(model), torch.enable_grad(), Recorder(model, watch=keep):
        model(shown)
    if layer not in outputs:
        raise ValueError(no_such_layer(layer, names))
    output = next(tensors_of(outputs[layer]), None)
    if output is None or output.ndim != 4:
        shape = "no tensor" if output is None else tuple(output.shape)
        raise ValueError(
            f"the output of {layer or 'the network'!r} is {shape}; expected a map (B, C, H, W): name a layer"
        )
    if not output.requires_grad:
        raise ValueError(f"the output of {layer or 'the network'!r} does not depend on the image")
    height, width = output.shape[2:]
    row, column = position or (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"position {(row, column)} lies outside of the output of {height} x {width}")
    (gradient,) = torch.autograd.grad(output[0, :, row, column].sum(), shown)
    return gradient[0].abs().sum(0).double().cpu(), (row, column)


def _gaussian(values: np.ndarray) -> tuple[float | None, float | None]:
    """Centre and deviation of a Gaussian, by least squares on logarithms weighted by the fit; None without a peak.

    The weights make it nearly a fit of the values themselves (Guo 2011, IEEE Signal Processing Magazine 28(5)).
    """
    positions = np.arange(len(values), dtype=np.float64)
    seen = values > 0
    if seen.sum() < 3:
        return None, None
    weights, logarithms, fit = values[seen].copy(), np.log(values[seen]), np.zeros(3)
    for _ in range(_ROUNDS):
        fit = np.polyfit(positions[seen], logarithms, 2, w=np.maximum(weights, 1e-12 * weights.max()))
        if fit[0] >= 0:
            return None, None
        weights = np.exp(np.clip(np.polyval(fit, positions[seen]), -700, 700))
    return float(-fit[1] / (2 * fit[0])), float((-1 / (2 * fit[0])) ** 0.5)
