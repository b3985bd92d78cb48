"""Compares a dilated network with the one before as a whole, at sizes of image that its graph was not made for."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.convert.dilation.grid_operations import every
from unpool.convert.dilation.rewriter import MapLayout
from unpool.tracing.foreign import foreign_code
from unpool.tracing.outputs import TOLERANCE, strict_difference
from unpool.tracing.probes import is_taken, noise
from unpool.tracing.recorder import tensors_of

SMALLEST = 32  # pixels
MOST = 64  # images
TRIES = 4  # each size one stride larger than the one that the network did not take


def proof_images(network: nn.Module, images: Sequence[Tensor], stride: int) -> list[Tensor]:
    """Images of drawn sizes, so that rows and columns leave every remainder when divided by the stride.

    Args:
        network: is run on each; where it does not take a size, larger ones of the same remainder are tried.
        images: (1, C, H, W) that the network takes; none of the result has such a size.
        stride: of the network's coarsest map.

    Returns:
        (1, C, H, W) each: at most MOST, one for each remainder if the network takes them.
    """
    generator = random.Random(0)
    taken = {(x.shape[2], x.shape[3]) for x in images}
    first = -(-SMALLEST // stride) * stride
    count = min(MOST, max(stride, 8))
    rows, columns = (generator.sample(range(max(stride, 8)), count) for _ in "hw")
    result = []
    for row, column in zip(rows, columns, strict=True):
        height, width = first + 1 + row, first + 1 + column
        for _ in range(TRIES):
            image = noise((images[0].shape[1], height, width), images[0].dtype)
            if (height, width) not in taken and is_taken(network, image):
                result.append(image)
                break
            height, width = height + stride, width + stride
    return result


def first_difference(
    networks: tuple[nn.Module, nn.Module], images: Sequence[Tensor], layouts: Sequence[MapLayout | None]
) -> tuple[str, Tensor | None]:
    """The first image on which two networks differ, and in words how; None for the image where there is none.

    Args:
        networks: the one before and the dilated one.
        images: (1, C, H, W), which the one before takes.
        layouts: of the tensors of the output.
    """
    before, after = networks
    for image in images:
        with torch.no_grad():
            old = list(tensors_of(before(image.clone())))
            with foreign_code() as failure:
                new = list(tensors_of(after(image.clone())))
        if failure:
            return f"it does not run ({failure})", image
        for a, b, layout in zip(old, new, layouts, strict=True):
            kept = b if layout is None else every(b, layout.axes, layout.grid)
            if (error := strict_difference(a, kept)) > TOLERANCE:
                return f"it differs by {error:.1e} of its largest value", image
    return "", None
