"""Weights of a network for another number of image channels or classes, derived from those that were trained."""

from collections.abc import Mapping

import torch
from torch import Tensor


def adapted(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], *, num_classes: int | None, in_channels: int | None
) -> dict[str, Tensor]:
    """The tensors, those of the first layer and of the last in the shapes of `own`.

    First layer, from c to n channels: the sum over all channels for n = 1, so that a grey image gets the answer of the
    same image repeated in c channels; else the channels' filters in turn (R, G, B, R, ...) times c / n, so that an
    image of n = k * c channels that repeats its first c gets the answer of those. Both hold for images as the network
    sees them, after mean and deviation.

    Last layer, for another number of classes: no row can be kept, since none is of the new classes. New rows are drawn
    from normal distributions, a number at a time, with the mean and deviation of the trained rows there; new biases
    are the mean of the trained ones. Draws come from torch's global generator. Tensors with the classes on another
    axis too, such as transposed convolutions between score maps, keep the values of `own`.

    What differs in any other way is passed on as it is, for `assign_weights` to refuse.

    Args:
        tensors: trained, by name.
        own: of the network that takes them.
        num_classes: that `own` was built with; None where the last layer may not be adapted.
        in_channels: the same of the first layer.
    """
    result = dict(tensors)
    for name, tensor in tensors.items():
        wanted = own[name].shape if name in own else tensor.shape
        if tensor.dim() != len(wanted):
            continue
        axes = [axis for axis in range(tensor.dim()) if tensor.shape[axis] != wanted[axis]]
        if axes == [1] and wanted[1] == in_channels:
            result[name] = for_channels(tensor, wanted[1])
        elif axes[:1] == [0] and {wanted[axis] for axis in axes} == {num_classes}:
            result[name] = for_classes(tensor, wanted[0]) if axes == [0] else own[name]
    return result


def for_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Filters (C_out, C, ...) of a first layer -> (C_out, in_channels, ...); see `adapted`."""
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    channels = weight.shape[1]
    return weight[:, torch.arange(in_channels) % channels] * (channels / in_channels)


def for_classes(rows: Tensor, num_classes: int) -> Tensor:
    """Weights (N, ...) or biases (N,) of a last layer -> (num_classes, ...); see `adapted`."""
    mean = rows.mean(0, keepdim=True)
    if rows.dim() == 1:
        return mean.expand(num_classes).clone()
    return mean + rows.std(0, keepdim=True, correction=0) * torch.randn(num_classes, *rows.shape[1:])
