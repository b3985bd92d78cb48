"""Copies of a network and images that it takes, on which two networks are compared."""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code

# (H, W) from cheap to expensive; odd ones among them, and those of classifiers that take one size only
SIZES = ((64, 96), (67, 93), (97, 131), (32, 32), (28, 28), (128, 128), (224, 224), (227, 227), (299, 299))


def check_network(network: nn.Module, image: Tensor | None) -> None:
    """Raises where a conversion was called with something else than a network and, if at all, an image.

    Raises:
        NotConvertible: `network` is no module or has layers without weights, or `image` no tensor with values.
    """
    if not isinstance(network, nn.Module):
        raise NotConvertible(f"the network is a {type(network).__name__}: give a torch.nn.Module")
    lazy = next((name for name, p in network.named_parameters() if isinstance(p, UninitializedParameter)), None)
    if lazy is not None:
        raise NotConvertible(
            f"{lazy} of {type(network).__name__} has no shape before the first image: run the network on one first"
        )
    if image is not None and not (isinstance(image, Tensor) and image.dim() and image.numel()):
        kind = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise NotConvertible(f"image= is {kind}: give one tensor with values in it, (B, C, H, W) for most networks")


def copy_network(network: nn.Module) -> nn.Module:
    """Returns a copy in evaluation mode.

    Raises:
        NotConvertible: the network cannot be copied.
    """
    copies: list[nn.Module] = []
    with foreign_code() as failure:
        copies.append(copy.deepcopy(network))
    if failure:
        raise NotConvertible(
            f"{type(network).__name__} cannot be copied ({failure}): where its weights are pruned or normalised, make "
            "that lasting first, by torch.nn.utils.prune.remove or remove_weight_norm"
        ) from failure.error
    if not {id(module) for module in network.modules()}.isdisjoint(map(id, copies[0].modules())):
        raise NotConvertible(f"{type(network).__name__} cannot be copied: its copy shares modules with it")
    copies[0].eval()  # which need not return the network where a class defines it anew
    return copies[0]


def copy_in_float64(network: nn.Module) -> nn.Module:
    """Returns a copy in float64 on the CPU, in evaluation mode.

    Raises:
        NotConvertible: the network cannot be copied.
    """
    try:
        return copy_network(network).cpu().double()
    except NotImplementedError as error:
        raise NotConvertible(
            f"{type(network).__name__} cannot be copied ({error}): give one that has values"
        ) from error


def other_batch(network: nn.Module, image: Tensor) -> Tensor:
    """Returns images in a batch of another size: the image and its mirror image, or the first of several.

    Where the network takes no other batch, the image itself.
    """
    other = image[:1] if len(image) > 1 else torch.cat((image, image.flip(-1)))
    return image if _complaint(network, other) else other


def probe_images(
    network: nn.Module, image: Tensor | None, *, sizes: Sequence[tuple[int, int]] = SIZES, count: int = 2
) -> list[Tensor]:
    """Returns up to `count` images (1, C, H, W) that the network takes, in the dtype of its weights.

    Args:
        network: is run on each.
        image: the only candidate; None tries noise of `sizes`.
        sizes: (H, W) in the order in which they are tried.
        count: of images.

    Raises:
        NotConvertible: the network takes none of them; the message ends in its error for the last.

    >>> [tuple(x.shape) for x in probe_images(nn.Conv2d(4, 8, 3), None)]
    [(1, 4, 64, 96), (1, 4, 67, 93)]
    """
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    candidates = [image.detach().cpu().to(dtype)] if image is not None else list(_candidates(network, sizes, dtype))
    accepted, complaint = [], ""
    for candidate in candidates:
        if text := _complaint(network, candidate):
            complaint = text
            continue
        accepted.append(candidate)
        if len(accepted) == count:
            break
    if not accepted:
        tried = ", ".join(dict.fromkeys(f"{'x'.join(map(str, x.shape[-2:]))}" for x in candidates))
        raise NotConvertible(
            f"the network does not take an image of {tried} ({complaint}): give one that it takes as image=, or a "
            "network that takes one image alone"
        )
    return accepted


def _candidates(network: nn.Module, sizes: Sequence[tuple[int, int]], dtype: torch.dtype) -> Iterator[Tensor]:
    first = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)
    for channels in dict.fromkeys((first, 3, 1)):
        yield from (noise((channels, *size), dtype) for size in sizes)


def noise(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Returns one image (1, *shape) of normal noise, the same in every call."""
    return torch.randn(1, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def _complaint(network: nn.Module, image: Tensor) -> str:
    """The network's error for an image; empty where it takes the image."""
    with foreign_code(passing=NotConvertible) as failure, torch.no_grad():
        network(image.clone())
    return str(failure) if failure else ""


def fill_zeros(network: nn.Module) -> None:
    """Fills parameters that are all zero with random numbers, since zeros would hide differences before them."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.is_floating_point() and not parameter.any():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator) / 10)
