"""Derives weights for another number of image channels or classes from trained ones."""

from collections.abc import Mapping

import torch
from torch import Tensor


def adapted(
    tensors: Mapping[str, Tensor], initial: Mapping[str, Tensor], *, num_classes: int | None, in_channels: int | None
) -> dict[str, Tensor]:
    """Returns trained weights with the first and the last layer changed to the shapes that a network needs.

    First layer, from c to n channels: for n = 1 the filters are summed over all channels, so that the output for a
    grey image is that for the same image repeated in c channels. Else the channels' filters are repeated (R, G, B, R,
    ...) and multiplied by c / n, so that the output for an image of n = k * c channels that repeats its first c is that
    for those c. Both hold for normalised images, after mean and deviation.

    Last layer, for another number of classes: no row is kept, since none is of the new classes. Each number of a new
    row is drawn from the normal distribution with the mean and deviation of the trained rows at that position; new
    biases are the mean of the trained ones. Torch's global generator is used. Tensors that have the classes on another
    axis too, such as transposed convolutions between score maps, get the values of `initial`.

    Tensors that differ in any other way are returned unchanged, and `assign_weights` refuses them.

    Args:
        tensors: trained weights by name.
        initial: the `state_dict` of the network that is to get them.
        num_classes: that the network was built with; None where the last layer may not be adapted.
        in_channels: that the network was built with; None where the first layer may not be adapted.

    Returns:
        Weights under the names of `tensors`.
    """
    result = dict(tensors)
    for name, tensor in tensors.items():
        wanted = initial[name].shape if name in initial else tensor.shape
        if tensor.dim() != len(wanted):
            continue
        axes = [axis for axis in range(tensor.dim()) if tensor.shape[axis] != wanted[axis]]
        if axes == [1] and wanted[1] == in_channels:
            result[name] = for_channels(tensor, wanted[1])
        elif axes[:1] == [0] and {wanted[axis] for axis in axes} == {num_classes}:
            result[name] = for_classes(tensor, wanted[0]) if axes == [0] else initial[name]
    return result


def for_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Derives filters (C_out, in_channels, ...) of a first layer from trained ones (C_out, C, ...); see `adapted`."""
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    channels = weight.shape[1]
    return weight[:, torch.arange(in_channels) % channels] * (channels / in_channels)


def for_classes(rows: Tensor, num_classes: int) -> Tensor:
    """Derives the weights or biases (num_classes, ...) of a last layer from trained ones (N, ...); see `adapted`."""
    mean = rows.mean(0, keepdim=True)
    if rows.dim() == 1:
        return mean.expand(num_classes).clone()
    return mean + rows.std(0, keepdim=True, correction=0) * torch.randn(num_classes, *rows.shape[1:])
