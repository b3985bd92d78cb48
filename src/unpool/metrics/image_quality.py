"""PSNR and SSIM of each image against its reference, and their means over the set.

Images are on the range 0..1. As in papers, the mean is over the decibels of each image, which is not the PSNR of the
mean squared error.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from unpool.types import Batch, Prediction

_SIDE, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def psnr(prediction: Tensor, reference: Tensor) -> Tensor:
    """Returns the PSNR of each image, 10 log10(1 / mean squared error): (B,) float64 decibels, infinite if equal.

    Args:
        prediction: (B, C, H, W) on 0..1.
        reference: the same.

    Example:
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))
        tensor([20.0000], dtype=torch.float64)
    """
    error = (prediction.double() - reference.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error)


def ssim(prediction: Tensor, reference: Tensor) -> Tensor:
    """Returns the mean structural similarity of each image: (B,) float64, NaN for images smaller than the window.

    The window is a Gaussian of 11 x 11 pixels and deviation 1.5, at every position inside the image, per channel.

    Args:
        prediction: (B, C, H, W) on 0..1.
        reference: the same.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".

    Example:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> ssim(image, image)
        tensor([1.], dtype=torch.float64)
    """
    if min(prediction.shape[-2:]) < _SIDE:
        return torch.full((len(prediction),), math.nan, dtype=torch.float64)
    x, y = prediction.double(), reference.double()
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    together = _blurred(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * together + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).flatten(1).mean(1)


def _blurred(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H - 10, W - 10), the weighted mean under the window."""
    offsets = torch.arange(_SIDE, device=image.device, dtype=image.dtype) - _SIDE // 2
    weights = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    line = (weights / weights.sum()).view(1, 1, 1, -1)
    flat = image.flatten(0, 1)[:, None]
    flat = nn.functional.conv2d(nn.functional.conv2d(flat, line), line.transpose(2, 3))
    return flat.unflatten(0, image.shape[:2])[:, :, 0]


class ImageScores:
    """PSNR and SSIM of the predictions, and PSNR of the inputs, averaged over a whole set."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {"psnr": [], "ssim": [], "input_psnr": []}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: clean (B, C, H, W), on 0..1 in the prediction and uint8 in the batch.

        The prediction's `noisy` is the network's input, on 0..1 too. Where the prediction is a list of (C, h, w), the
        rest of the batch's images is padding.
        """
        if isinstance(prediction["clean"], Tensor):
            self._add(prediction, batch["clean"].float() / 255)
            return
        for clean, noisy, reference in zip(prediction["clean"], prediction["noisy"], batch["clean"], strict=True):
            height, width = clean.shape[-2:]
            self._add({"clean": clean[None], "noisy": noisy[None]}, reference[None, :, :height, :width].float() / 255)

    def _add(self, prediction: Prediction, reference: Tensor) -> None:
        for name, image in (("psnr", prediction["clean"]), ("input_psnr", prediction["noisy"])):
            decibels = psnr(image, reference)
            self.values[name] += decibels[decibels != math.inf].tolist()
        if min(reference.shape[-2:]) >= _SIDE:
            self.values["ssim"] += ssim(prediction["clean"], reference).tolist()

    def merge(self, other: "ImageScores") -> None:
        for name, values in other.values.items():
            self.values[name] += values

    def compute(self) -> dict[str, Any]:
        """Computes the means over images.

        Returns:
            psnr and input_psnr in decibels, without images equal to their reference, whose PSNR is infinite; ssim up to
            1, without images smaller than its window; None if no image is left, or one is not finite. psnr_images,
            ssim_images and input_psnr_images are the numbers of images in each mean.
        """
        means = {name: _mean(values) for name, values in self.values.items()}
        return {**means, **{f"{name}_images": len(values) for name, values in self.values.items()}}


def _mean(values: list[float]) -> float | None:
    mean = math.fsum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None
