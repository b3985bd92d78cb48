"""Compares a dilated network with the one before as a whole, at sizes of image that its graph was not made for."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.convert.dilation.grid_operations import every
from unpool.convert.dilation.rewriter import MapLayout
from unpool.tracing.foreign import foreign_code
from unpool.tracing.outputs import TOLERANCE, strict_difference
from unpool.tracing.probes import noise
from unpool.tracing.recorder import tensors_of

SMALLEST = 32  # pixels
LEAST, MOST = 8, 64  # images
TRIES = 4  # each size one stride larger than the one that the network did not take


class Proof(NamedTuple):
    """An image and the tensors that the network gives for it."""

    image: Tensor
    outputs: list[Tensor]


class Difference(NamedTuple):
    """An image on which two networks differ, and in words how."""

    image: Tensor
    how: str


def run_proofs(network: nn.Module, images: Sequence[Tensor], stride: int) -> Iterator[Proof]:
    """Runs a network on images of drawn sizes, so that rows and columns leave every remainder divided by the stride.

    Args:
        network: where it does not take a size, larger ones of the same remainder are tried.
        images: (1, C, H, W) that the network takes; none of the result has such a size.
        stride: of the network's coarsest map.

    Yields:
        At most MOST images (1, C, H, W) with their outputs, one for each remainder if the network takes them.
    """
    generator = random.Random(0)
    taken = {(x.shape[2], x.shape[3]) for x in images}
    first, remainders = -(-SMALLEST // stride) * stride, range(max(stride, LEAST))
    rows, columns = (generator.sample(remainders, min(MOST, len(remainders))) for _ in "hw")
    for row, column in zip(rows, columns, strict=True):
        height, width = first + 1 + row, first + 1 + column
        for _ in range(TRIES):
            image = noise((images[0].shape[1], height, width), images[0].dtype)
            outputs = [] if (height, width) in taken else _outputs(network, image)
            if outputs:
                yield Proof(image, outputs)
                break
            height, width = height + stride, width + stride


def _outputs(network: nn.Module, image: Tensor) -> list[Tensor]:
    """The tensors that a network gives for an image; none where it does not take it."""
    with foreign_code(), torch.no_grad():
        return list(tensors_of(network(image.clone())))
    return []


def first_difference(
    network: nn.Module, proofs: Sequence[Proof], layouts: Sequence[MapLayout | None]
) -> Difference | None:
    """The first proof on which a dilated network differs from the one before; None where there is none.

    Args:
        network: the dilated one.
        proofs: of the one before.
        layouts: of the tensors of the output.
    """
    for image, old in proofs:
        new: list[Tensor] = []
        with foreign_code() as failure, torch.no_grad():
            new = list(tensors_of(network(image.clone())))
        if failure:
            return Difference(image, f"it does not run ({failure})")
        if not len(old) == len(new) == len(layouts):
            return Difference(image, f"it gives {len(new)} tensors and not {len(old)}")
        for a, b, layout in zip(old, new, layouts, strict=True):
            kept = b if layout is None else every(b, layout.axes, layout.grid)
            if (error := strict_difference(a, kept)) > TOLERANCE:
                return Difference(image, f"it differs by {error:.1e} of its largest value")
    return None
