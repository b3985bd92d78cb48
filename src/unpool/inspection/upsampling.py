"""Checkerboards: whether a network that upsamples treats all positions of its output alike.

A transposed convolution whose filter is no multiple of its stride adds up more products at some outputs than at others.
Source: Odena et al. 2016, "Deconvolution and checkerboard artifacts", doi:10.23915/distill.00003.

A score is the deviation over the phases of the output's period, divided by the root of the mean square: 0 where all
phases are alike, at most 1. Scores by structure are those of the same network with equal weights, where every deviation
is one of the numbers of products; the score as trained is that of its weights, which may make or mend a checkerboard.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted

FLAT = 2  # flat images of different colours that the score as trained is of
_MOST_PERIOD = 64


class Upsampler(NamedTuple):
    """One transposed convolution: its name, sides of the filter and stride; whether they divide on both axes."""

    layer: str
    kernel_hw: tuple[int, ...]
    stride_hw: tuple[int, ...]
    is_even: bool


class Checkerboard(NamedTuple):
    """How uneven the output of a network is.

    Attributes:
        score: by structure, of the output for a flat image.
        decoder_score: by structure, of the path from the coarsest map to the output alone.
        trained_score: of the weights as they are, for flat images.
        period: pixels of the output by pixel of the coarsest map.
        coarsest: name of the layer that gives the coarsest map.
        impulse: (H, W) by structure, what one pixel of the coarsest map adds to the output, mean over its channels.
        trained_impulse: (H, W) the same of the weights as they are, root of the mean square over channels.
        flat: (H, W) the first output channel of the weights as they are for a flat image, without its border.
        upsamplers: the transposed convolutions of the network.
    """

    score: float
    decoder_score: float
    trained_score: float
    period: int
    coarsest: str
    impulse: Tensor
    trained_impulse: Tensor
    flat: Tensor
    upsamplers: Sequence[Upsampler]


def measure_checkerboard(
    model: nn.Module, shape: tuple[int, int, int], *, layer: str | None = None, seed: int = 0
) -> Checkerboard:
    """Measures the checkerboard of a network's output, by its structure and as trained; the network is left as it is.

    Args:
        model: gives a map for an image.
        shape: (C, H, W) of the image.
        layer: that gives the coarsest map; None takes the last one with the smallest map.
        seed: of the colours of the flat images.

    Raises:
        RecipeError: the output is no map, nothing is upsampled, or the image is too small to see it.

    Example:
        >>> uneven, even = (nn.ConvTranspose2d(4, 4, side, stride=2, padding=1) for side in (3, 4))
        >>> decoder = lambda last: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), last)
        >>> [round(measure_checkerboard(decoder(one), (3, 32, 32)).score, 4) for one in (uneven, even)]
        [0.4359, 0.0]
    """
    trained = _without_borders(deepcopy(model).eval())
    equal = _with_equal_weights(deepcopy(trained))
    name, size_hw = _coarsest(equal, shape, layer)
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randn(FLAT, shape[0], 1, 1, generator=generator).expand(-1, -1, *shape[1:]).to(device)
    with torch.no_grad():
        flat, pixel, next_pixel, whole = _with_added(equal, (name, size_hw), colours[:1].abs().expand(4, -1, -1, -1))
        period = _period(pixel - flat, next_pixel - flat)
        if period < 2:
            raise RecipeError(f"the output is not finer than the map of {quoted(name)}: this network upsamples nothing")
        looked = _with_added(trained, (name, size_hw), torch.cat([colours[:1], colours[:1], colours[1:]]), only=1)
    upsamplers = [
        Upsampler(key, one.kernel_size, one.stride, not any(map(_remainder, one.kernel_size, one.stride)))
        for key, one in model.named_modules()
        if isinstance(one, nn.ConvTranspose2d)
    ]
    return Checkerboard(
        score=_unevenness(flat[None], period),
        decoder_score=_unevenness((whole - flat)[None], period),
        trained_score=_unevenness(looked[[0, *range(2, len(looked))]], period),
        period=period,
        coarsest=name,
        impulse=(pixel - flat).mean(0).cpu(),
        trained_impulse=(looked[1] - looked[0]).square().mean(0).sqrt().cpu(),
        flat=_inner(looked[:1], period)[0, 0].cpu(),
        upsamplers=upsamplers,
    )


def _remainder(kernel: int, stride: int) -> int:
    return kernel % stride


def _without_borders(model: nn.Module) -> nn.Module:
    """The network with borders repeated in place of zeros, so that a flat image stays flat up to its edge."""

    def repeat(pads: list[int]) -> Any:
        return lambda module, inputs: nn.functional.pad(inputs[0], pads, mode="replicate")

    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            down, across = module.padding
            module.register_forward_pre_hook(repeat([across, across, down, down]))
            module.padding = (0, 0)
    return model


def _with_equal_weights(model: nn.Module) -> nn.Module:
    """The network as a mean of what each layer reads: no biases, no normalisation, all weights of a layer the same."""
    kinds = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d, nn.LocalResponseNorm)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, nn.Identity())
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.reset_parameters()
        elif isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            _make_equal(module)
    return model


@torch.no_grad()
def _make_equal(layer: nn.modules.conv._ConvNd | nn.Linear) -> None:
    """Weights of 1 by the number of products of an output; of a transposed convolution, of a mean output."""
    reads = layer.weight[0].numel()
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        reads = layer.weight[:, 0].numel() / layer.groups / prod(layer.stride)
    layer.weight.fill_(1 / reads)
    if layer.bias is not None:
        layer.bias.zero_()


def _coarsest(model: nn.Module, shape: tuple[int, int, int], layer: str | None) -> tuple[str, tuple[int, int]]:
    """The last layer that gives the smallest map of at least two pixels a side, or the named one, and its size."""
    sizes: dict[str, tuple[int, int]] = {}

    def watch(name: str) -> Any:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 4 and min(output.shape[-2:]) > 1:
                before = sizes.pop(name, output.shape[-2:])  # a layer may run several times
                sizes[name] = min((before[0], before[1]), (output.shape[-2], output.shape[-1]))

        return note

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if name and not list(module.children())
    ]
    try:
        with torch.no_grad():
            device = next((weight.device for weight in model.parameters()), None)
            _map_of(_run(model, torch.zeros(1, *shape, device=device)))
    finally:
        for hook in hooks:
            hook.remove()
    if layer is not None and layer not in sizes:
        raise RecipeError(f"no layer {quoted(layer)} of the network gives a map; `unpool summary` lists their names")
    if not sizes:
        raise RecipeError("no layer of this network gives a map of two pixels a side: give a larger size")
    least = min(height * width for height, width in sizes.values())
    name = layer or [name for name, (height, width) in sizes.items() if height * width == least][-1]
    return name, sizes[name]


def _run(model: nn.Module, image: Tensor) -> Any:
    try:
        return model(image)
    except (RuntimeError, ValueError) as error:
        raise RecipeError(
            f"the network cannot take an image of {tuple(image.shape[1:])} (C, H, W): {error}; give another size"
        ) from error


def _map_of(output: Any) -> Tensor:
    """(B, C, H, W): the finest map of an output, the last of equal ones.

    Raises:
        RecipeError: there is none.
    """
    maps = list(_tensors(output))
    if not maps:
        raise RecipeError("the output of this network is no map (C, H, W), so that nothing in it can be a checkerboard")
    return max(reversed(maps), key=lambda one: one.shape[-2] * one.shape[-1])


def _tensors(output: Any) -> Sequence[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.dim() == 4 and min(output.shape[-2:]) > 1 else []
    inside = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [tensor for one in inside for tensor in _tensors(one)]


def _with_added(
    model: nn.Module, at: tuple[str, tuple[int, int]], images: Tensor, *, only: int | None = None
) -> Tensor:
    """(B, C, H, W): outputs where the first image's map of a layer is left as it is, and in others something is added.

    To the second a pixel in the middle, to the third the pixel before it, down and across, to the fourth all pixels;
    where `only` is set, to that one a pixel in the middle. `at` is the layer, and the size of its map that is meant.
    """
    name, size_hw = at

    def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if tuple(output.shape[-2:]) != size_hw:
            return output
        changed = output.clone()
        y, x = size_hw[0] // 2, size_hw[1] // 2
        size = output.detach()[0].std() + 1
        changed[only or 1, :, y, x] += size
        if only is None:
            changed[2, :, y - 1, x - 1] += size
            changed[3] += size
        return changed

    hook = dict(model.named_modules())[name].register_forward_hook(add)
    try:
        return _map_of(_run(model, images))
    finally:
        hook.remove()


def _period(pixel: Tensor, before: Tensor) -> int:
    """Pixels of the output, down and across, by which a response (C, H, W) moves with its pixel."""
    pixel, before = pixel.mean(0), before.mean(0)
    height, width = pixel.shape
    steps = range(min(_MOST_PERIOD + 1, height, width))
    likeness = [float((pixel[step:, step:] * before[: height - step, : width - step]).sum()) for step in steps]
    return likeness.index(max(likeness))


def _inner(maps: Tensor, period: int) -> Tensor:
    """The middle of the maps, whole periods.

    Raises:
        RecipeError: there is none.
    """
    height, width = maps.shape[-2:]
    down, across = (side // 2 // period * period for side in (height, width))
    if not down or not across:
        raise RecipeError(
            f"the output of {height} x {width} shows no two periods of {period} pixels: give a larger size"
        )
    top, left = (height - down) // 2, (width - across) // 2
    return maps[..., top : top + down, left : left + across]


def _unevenness(maps: Tensor, period: int) -> float:
    """Deviation over the phases by the root of the mean square, over all images and channels; 0 of an empty output."""
    split = _inner(maps, period).double().unflatten(-1, (-1, period)).unflatten(-3, (-1, period))
    phases = split.mean((2, 4))  # (B, C, period, period), of (B, C, n, period, m, period)
    whole = phases.square().mean()
    return float((phases.var((2, 3), unbiased=False).mean() / whole).sqrt()) if whole > 0 else 0.0
