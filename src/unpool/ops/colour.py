"""Colour operations as C x (C + 1) matrices on the range 0 to 255, so that any number of them is one product.

A matrix maps a colour c to `matrix[:, :C] @ c + matrix[:, C]`; its last column is not zero for contrast and shift,
which are affine. Where C is not 3, images are taken for grey: saturation and hue change nothing; of pairs of
images, C is that of one (`of_both`). Differs from
torchvision's jitter: values may leave 0..255 between operations and are clipped once at the end, by `resampling.warp`
where it returns uint8; hue is rotated in the plane of constant luma, not in HSV, so that it is linear.
"""

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
# ImageNet's, as fb.resnet.torch has them: eigenvectors of the covariance of RGB on 0..1, and variances along them
IMAGENET_AXES = ((-0.5675, -0.5808, -0.5836), (0.7192, -0.0045, -0.6948), (0.4009, -0.8140, 0.4203))
IMAGENET_VARIANCES = (0.2175, 0.0188, 0.0045)
_TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def identity(batch: int, channels: int) -> Tensor:
    """Returns matrices (B, C, C + 1) float64 that change nothing.

    Example:
        >>> identity(1, 1)
        tensor([[[1., 0.]]], dtype=torch.float64)
    """
    return torch.eye(channels, channels + 1, dtype=torch.float64).repeat(batch, 1, 1)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """Returns the matrices (B, C, C + 1) that apply `first`, then `second` to its result.

    Example:
        >>> twice, more = brightness(torch.tensor([2.0]), 1), shift(torch.tensor([[10.0]]))
        >>> compose(twice, more).tolist(), compose(more, twice).tolist()
        ([[[2.0, 10.0]]], [[[2.0, 20.0]]])
    """
    channels = first.shape[1]
    product = second[:, :, :channels] @ first
    product[:, :, channels] += second[:, :, channels]
    return product


def luma(colour: Tensor) -> Tensor:
    """Returns the grey value (B,) of colours (B, C): the luma where C is 3 (RGB), else the mean.

    Example:
        >>> luma(torch.tensor([[255.0, 255.0, 255.0], [0.0, 255.0, 0.0]]))
        tensor([255.0000, 149.6850])
    """
    return colour.mean(1) if colour.shape[1] != 3 else colour @ colour.new_tensor(_LUMA)


def brightness(factor: Tensor, channels: int) -> Tensor:
    """Returns matrices (B, C, C + 1) that multiply all values by `factor` (B,).

    Example:
        >>> brightness(torch.tensor([2.0]), 1)
        tensor([[[2., 0.]]], dtype=torch.float64)
    """
    return identity(len(factor), channels) * factor.double()[:, None, None]


def contrast(factor: Tensor, pivot: Tensor, channels: int) -> Tensor:
    """Returns matrices (B, C, C + 1) that multiply differences from the grey value `pivot` (B,) by `factor` (B,).

    Example:
        >>> contrast(torch.tensor([0.5]), torch.tensor([100.0]), 1)
        tensor([[[ 0.5000, 50.0000]]], dtype=torch.float64)
    """
    matrix = brightness(factor, channels)
    matrix[:, :, channels] = ((1 - factor) * pivot)[:, None]
    return matrix


def saturation(factor: Tensor, channels: int) -> Tensor:
    """Returns matrices (B, C, C + 1) that multiply differences from each pixel's grey value by `factor` (B,).

    They change nothing where C is not 3.

    Example:
        >>> red = torch.tensor([[[[200.0]], [[0.0]], [[0.0]]]])
        >>> recolour(red, saturation(torch.tensor([0.0]), 3)).flatten()
        tensor([59.8000, 59.8000, 59.8000])
    """
    matrix = identity(len(factor), channels)
    if channels == 3:
        grey = torch.tensor(_LUMA, dtype=torch.float64).expand(3, 3)
        matrix[:, :, :3] = grey + factor.double()[:, None, None] * (torch.eye(3, dtype=torch.float64) - grey)
    return matrix


def hue(turn: Tensor, channels: int) -> Tensor:
    """Returns matrices (B, C, C + 1) that rotate chroma (I, Q of YIQ) by `turn` (B,) full turns and keep luma.

    A positive turn takes red towards blue. They change nothing where C is not 3.

    Example:
        >>> red = torch.tensor([[[[200.0]], [[0.0]], [[0.0]]]])
        >>> recolour(red, hue(torch.tensor([1 / 3]), 3)).flatten().round()  # blue, of the same luma
        tensor([ 19.,  33., 306.])
    """
    matrix = identity(len(turn), channels)
    if channels == 3:
        yiq = torch.tensor(_TO_YIQ, dtype=torch.float64)
        angle = 2 * torch.pi * turn.double()
        turned = torch.eye(3, dtype=torch.float64).repeat(len(turn), 1, 1)
        turned[:, 1, 1] = turned[:, 2, 2] = torch.cos(angle)
        turned[:, 2, 1] = torch.sin(angle)
        turned[:, 1, 2] = -turned[:, 2, 1]
        matrix[:, :, :3] = torch.linalg.inv(yiq) @ turned @ yiq
    return matrix


def shift(amount: Tensor) -> Tensor:
    """Returns matrices (B, C, C + 1) that add `amount` (B, C).

    Example:
        >>> shift(torch.tensor([[10.0]]))
        tensor([[[ 1., 10.]]], dtype=torch.float64)
    """
    matrix = identity(*amount.shape)
    matrix[:, :, -1] = amount
    return matrix


def of_both(matrix: Tensor) -> Tensor:
    """Returns matrices (B, 2C, 2C + 1) for pairs of images, which apply `matrix` (B, C, C + 1) to each of both.

    Example:
        >>> of_both(shift(torch.tensor([[10.0]])))
        tensor([[[ 1.,  0., 10.],
                 [ 0.,  1., 10.]]], dtype=torch.float64)
    """
    channels = matrix.shape[1]
    both = identity(len(matrix), 2 * channels)
    for start in (0, channels):
        part = slice(start, start + channels)
        both[:, part, part] = matrix[:, :, :channels]
        both[:, part, -1] = matrix[:, :, -1]
    return both


def recolour(image: Tensor, matrix: Tensor) -> Tensor:
    """Applies matrices (B, C, C + 1) to images (B, C, H, W) float32 or uint8 -> float32, not clipped to 0..255.

    Example:
        >>> image = torch.tensor([[[[10, 200]]]], dtype=torch.uint8)
        >>> recolour(image, brightness(torch.tensor([2.0]), 1))
        tensor([[[[ 20., 400.]]]])
    """
    batch, channels, height, width = image.shape
    flat = image.float().reshape(batch, channels, height * width)
    part = matrix.to(image.device, torch.float32)
    return torch.baddbmm(part[:, :, channels:], part[:, :, :channels], flat).view(image.shape)


def color_offsets(alphas: Tensor) -> Tensor:
    """Returns the colours (B, 3) on 0..255 that PCA colour variation adds: each axis times alpha times its variance.

    Axes and variances are those of ImageNet's pixels; in training alpha is drawn with deviation 0.1.

    Args:
        alphas: (B, 3), one for each axis, the longest first.

    Source: Krizhevsky et al. 2012, section 4.1.

    Example:
        >>> color_offsets(torch.tensor([[0.1, 0.0, 0.0]]))
        tensor([[-3.1475, -3.2213, -3.2368]])
    """
    variances, axes = alphas.new_tensor(IMAGENET_VARIANCES), alphas.new_tensor(IMAGENET_AXES)
    return 255 * (alphas * variances) @ axes
