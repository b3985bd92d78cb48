"""What is known of natural images before any network is asked: priors for images that are computed, not taken.

The priors are means over an image's values, so that one weight suits every size.
"""

import torch
from torch import Tensor

from unpool.ops.colour import IMAGENET_AXES, IMAGENET_VARIANCES


def energy(image: Tensor) -> Tensor:
    """Returns the mean square of an image whose values are 0 where it is as the mean of all images.

    Args:
        image: (..., C, H, W).

    Source: Simonyan et al. 2014, arXiv:1312.6034, equation 1, where it is the sum.

    Example:
        >>> energy(torch.tensor([[[1.0, -3.0]]]))
        tensor(5.)
    """
    return image.square().mean()


def roughness(image: Tensor) -> Tensor:
    """Returns the mean square of the differences between neighbouring pixels, across and down.

    Args:
        image: (..., C, H, W).

    Source: Mahendran & Vedaldi 2015, arXiv:1412.0035, section 2.1, with an exponent of 2.

    Example:
        >>> roughness(torch.tensor([[[0.0, 2.0], [0.0, 2.0]]]))
        tensor(2.)
    """
    across, down = image.diff(dim=-1), image.diff(dim=-2)
    return (across.square().sum() + down.square().sum()) / image.numel()


def shaped_as_natural(gradient: Tensor, exponent: float) -> Tensor:
    """Returns a gradient with the statistics of natural images: weak at high frequencies, colours correlated.

    The amplitude of a natural image falls as one over the frequency (Field 1987). An image that is written as the
    transform of such amplitudes times a spectrum gets this gradient (Olah et al. 2017, "Feature Visualization",
    section on preconditioning). The result never points away from the gradient, and has its root mean square.

    Args:
        gradient: (B, C, H, W).
        exponent: amplitudes are divided by the frequency to this power; 0 returns the gradient itself.

    Example:
        >>> stripes = torch.tensor([1.0, -1.0]).repeat(1, 1, 4, 4)  # the highest frequency there is
        >>> smooth = torch.linspace(-1, 1, 8).expand(1, 1, 4, 8)
        >>> shaped = shaped_as_natural(stripes + smooth, 1.0)
        >>> bool(shaped.diff(dim=-1).abs().mean() < (stripes + smooth).diff(dim=-1).abs().mean())
        True
    """
    if not exponent:
        return gradient
    height, width = gradient.shape[-2:]
    down = torch.fft.fftfreq(height, device=gradient.device)[:, None]
    across = torch.fft.rfftfreq(width, device=gradient.device)
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / max(height, width))
    shaped = torch.fft.irfft2(torch.fft.rfft2(gradient) / frequency**exponent, s=(height, width))
    if gradient.shape[1] == len(IMAGENET_AXES):
        axes, variances = gradient.new_tensor(IMAGENET_AXES), gradient.new_tensor(IMAGENET_VARIANCES)
        deviations = (axes.T * variances.sqrt()) @ axes
        shaped = torch.einsum("ij,bjhw->bihw", deviations / deviations.diagonal().mean(), shaped)
    size = gradient.square().mean().sqrt() / shaped.square().mean().sqrt().clamp(min=torch.finfo(shaped.dtype).tiny)
    return shaped * size


def natural_noise(shape: tuple[int, int, int], *, exponent: float, deviation: float, seed: int) -> Tensor:
    """Returns grey (C, H, W) on 0..1 with noise around it whose spectrum falls as that of natural images.

    Example:
        >>> noise = natural_noise((3, 16, 16), exponent=1.0, deviation=0.05, seed=0)
        >>> noise.shape, torch.equal(noise, natural_noise((3, 16, 16), exponent=1.0, deviation=0.05, seed=0))
        (torch.Size([3, 16, 16]), True)
    """
    white = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    noise = shaped_as_natural(white, exponent)[0]
    return (0.5 + deviation * (noise - noise.mean()) / noise.std()).clamp(0, 1)
