"""Multiply-adds of a network, by the convention of the published counts.

Counted for one image: convolutions and matrix products with weights; a transposed convolution is charged at the size
of its input. Not counted: biases, norms, pooling, resizing, activations, and products of two feature maps
(attention). What torchvision prints as GFLOPS are these multiply-adds.
"""

from torch import nn

from unpool.inspection.traced import trace


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Counts the multiply-adds of one image through a network.

    Args:
        model: any network; its weights are not used.
        input_shape: (C, H, W) of one image, without the batch.
    """
    return sum(trace(model, input_shape).macs)
