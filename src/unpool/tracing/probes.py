"""A copy of a network and images that it takes, found by trying: what two networks are compared on."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS

# (H, W) from cheap to dear; the odd ones, and those that classifiers of one size ask for
SIZES = ((64, 96), (67, 93), (97, 131), (32, 32), (28, 28), (128, 128), (224, 224), (227, 227), (299, 299))


def copied(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode.

    Raises:
        NotConvertible: the network cannot be copied.
    """
    try:
        copy_ = copy.deepcopy(network)
    except FAULTS as error:
        raise NotConvertible(
            f"{type(network).__name__} cannot be copied ({str(error).partition('.')[0]}): where its weights are pruned "
            "or normalised, make that lasting first, by torch.nn.utils.prune.remove or remove_weight_norm"
        ) from error
    if not {id(module) for module in network.modules()}.isdisjoint(map(id, copy_.modules())):
        raise NotConvertible(f"{type(network).__name__} cannot be copied: its copy shares modules with it")
    copy_.eval()  # which need not return the network where a class has its own
    return copy_


def in_float64(network: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode.

    Raises:
        NotConvertible: the network cannot be copied.
    """
    try:
        return copied(network).cpu().double()
    except NotImplementedError as error:
        raise NotConvertible(
            f"{type(network).__name__} cannot be copied ({error}): give one that has values"
        ) from error


def other_batch(network: nn.Module, image: Tensor) -> Tensor:
    """The image and its mirror image, or one of several images; the same where the network takes none but those."""
    other = image[:1] if len(image) > 1 else torch.cat((image, image.flip(-1)))
    return image if _fault(network, other) else other


def probe_images(
    network: nn.Module, image: Tensor | None, *, sizes: Sequence[tuple[int, int]] = SIZES, count: int = 2
) -> list[Tensor]:
    """Up to `count` images that the network takes, in the dtype of its weights; the given one alone where there is one.

    Raises:
        NotConvertible: it takes none of those tried; the message has its complaint about the last.
    """
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    if image is not None:
        candidates = [image.detach().cpu().to(dtype)]
    else:
        own = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)
        candidates = [_noise(channels, size, dtype) for channels in dict.fromkeys((own, 3, 1)) for size in sizes]
    taken, fault = [], ""
    for candidate in candidates:
        if told := _fault(network, candidate):
            fault = told
            continue
        taken.append(candidate)
        if len(taken) == count:
            break
    if not taken:
        tried = ", ".join(dict.fromkeys(f"{'x'.join(map(str, x.shape[-2:]))}" for x in candidates))
        raise NotConvertible(
            f"the network does not take an image of {tried} ({fault}): give one that it takes as image="
        )
    return taken


def _noise(channels: int, size_hw: tuple[int, int], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, *size_hw, dtype=dtype, generator=generator)


def _fault(network: nn.Module, image: Tensor) -> str:
    """Why the network cannot take the image; empty where it can."""
    try:
        with torch.no_grad():
            network(image.clone())
    except NotConvertible:
        raise
    except FAULTS as error:
        return (str(error) or type(error).__name__).splitlines()[0]
    return ""


def fill_zeros(network: nn.Module) -> None:
    """Draws the parameters that are all zero, behind which no difference would show."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.is_floating_point() and not parameter.any():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator) / 10)
