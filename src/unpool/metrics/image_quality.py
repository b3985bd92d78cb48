"""How near an image is to the true one: PSNR and SSIM of each image, then their means over the set.

Images are on the range 0..1. Means of decibels are not decibels of a mean error: papers average what each image has.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from unpool.types import Batch, Prediction

_SIDE, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


def psnr(answer: Tensor, truth: Tensor) -> Tensor:
    """(B,) float64 decibels, 10 log10(1 / mean squared error) of each image; infinite where nothing differs.

    Args:
        answer: (B, C, H, W) on 0..1.
        truth: the same.

    Example:
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1))
        tensor([20.0000], dtype=torch.float64)
    """
    error = (answer.double() - truth.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error)


def ssim(answer: Tensor, truth: Tensor) -> Tensor:
    """(B,) float64 mean structural similarity of each image; NaN for images smaller than the window of 11.

    A Gaussian window of 11 x 11 pixels and deviation 1.5, wherever it fits into the image, each channel by itself.

    Args:
        answer: (B, C, H, W) on 0..1.
        truth: the same.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity".

    Example:
        >>> image = torch.rand(1, 1, 16, 16)
        >>> ssim(image, image)
        tensor([1.], dtype=torch.float64)
    """
    if min(answer.shape[-2:]) < _SIDE:
        return torch.full((len(answer),), math.nan, dtype=torch.float64)
    x, y = answer.double(), truth.double()
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    together = _blurred(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * together + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).flatten(1).mean(1)


def _blurred(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H - 10, W - 10), the mean under the window."""
    place = torch.arange(_SIDE, device=image.device, dtype=image.dtype) - _SIDE // 2
    weights = torch.exp(-place.square() / (2 * _SIGMA**2))
    line = (weights / weights.sum()).view(1, 1, 1, -1)
    flat = image.flatten(0, 1)[:, None]
    flat = nn.functional.conv2d(nn.functional.conv2d(flat, line), line.transpose(2, 3))
    return flat.unflatten(0, image.shape[:2])[:, :, 0]


class ImageScores:
    """PSNR and SSIM of each answer, and the PSNR that the images had before, averaged over a whole set."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {"psnr": [], "ssim": [], "input_psnr": []}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: clean (B, C, H, W), on 0..1 in the prediction and uint8 in the batch.

        The prediction's `noisy` is the image before, on the scale of the prediction. Where the prediction is a list of
        (C, h, w), what the batch has beyond is padding.
        """
        if isinstance(prediction["clean"], Tensor):
            self._add(prediction, batch["clean"].float() / 255)
            return
        for clean, noisy, truth in zip(prediction["clean"], prediction["noisy"], batch["clean"], strict=True):
            height, width = clean.shape[-2:]
            self._add({"clean": clean[None], "noisy": noisy[None]}, truth[None, :, :height, :width].float() / 255)

    def _add(self, prediction: Prediction, truth: Tensor) -> None:
        for name, image in (("psnr", prediction["clean"]), ("input_psnr", prediction["noisy"])):
            found = psnr(image, truth)
            self.values[name] += found[found != math.inf].tolist()
        if min(truth.shape[-2:]) >= _SIDE:
            self.values["ssim"] += ssim(prediction["clean"], truth).tolist()

    def merge(self, other: "ImageScores") -> None:
        for name, values in other.values.items():
            self.values[name] += values

    def compute(self) -> dict[str, Any]:
        """Means over images.

        Returns:
            psnr and input_psnr in decibels, without images that are flawless, whose PSNR has no bounds; ssim up to 1,
            without images smaller than its window; None where no image is left, or one is not finite. psnr_images,
            ssim_images and input_psnr_images count those in each mean.
        """
        means = {name: _mean(values) for name, values in self.values.items()}
        return {**means, **{f"{name}_images": len(values) for name, values in self.values.items()}}


def _mean(values: list[float]) -> float | None:
    mean = math.fsum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None
