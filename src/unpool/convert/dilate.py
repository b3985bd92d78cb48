"""Strides turned into dilations: the same network, its weights included, on a finer grid.

Chen et al. 2015 (arXiv:1412.7062, "hole algorithm") and Yu & Koltun 2016 (arXiv:1511.07122), for any network whose
operations `torch.fx` can follow. Where the network before has a position, the new one computes the same numbers;
between them it gives what the network before would give for a shifted image ("shift and stitch", Sermanet et al. 2014,
arXiv:1312.6229), padding and global averages aside: those stay where they were. Unlike libraries that only set
`dilation`, nothing is assumed: both networks are run, compared operation by operation, and refused where they differ.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.recorder import tensors_of
from unpool.convert.rewriting import TOLERANCE, Change, Rewriting, apply_settings, difference
from unpool.convert.rules import rule
from unpool.convert.tracing import FAULTS, trace
from unpool.errors import NotConvertible
from unpool.types import Backbone

# (H, W): even and odd at every stride up to 32, and for networks that take no odd ones
PROBES = ((64, 96), (97, 131), (160, 128))


class Dilated(fx.GraphModule):
    """A network whose coarsest map is finer than it was; parameters and buffers have the names they had.

    Attributes:
        changes: what became of which layer, in the order in which they run.
        channels, strides: of the maps, where the network before is a backbone; else empty.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, told: dict[str, Any]) -> None:
        super().__init__(root, graph, type(self).__name__)
        self._modules.clear()
        self._parameters.clear()
        self._buffers.clear()
        self._parameters.update(root._parameters)
        self._buffers.update(root._buffers)
        self._modules.update(root._modules)
        self._non_persistent_buffers_set = set(root._non_persistent_buffers_set)
        self.meta.update(told)

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.meta["changes"]

    @property
    def channels(self) -> tuple[int, ...]:
        return self.meta["channels"]

    @property
    def strides(self) -> tuple[int, ...]:
        return self.meta["strides"]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Dilated":
        copied = super().__deepcopy__(memo)
        copied._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        return copied  # pyright: ignore[reportReturnType]


def dilate(network: nn.Module, *, output_stride: int, image: Tensor | None = None) -> Dilated:
    """A copy of the network whose coarsest map has stride `output_stride`.

    Args:
        network: takes one image (B, C, H, W); it is left as it is.
        output_stride: pixels of the image between neighbours of the coarsest map; it divides the strides above it.
        image: what the two networks are compared on, for those that take none of 64x96, 97x131, 160x128.

    Returns:
        The network in the mode that the given one is in. Each of its maps holds that of the network before at every
        s-th position from the first on, s being the old stride over the new one, within 1e-5 of the largest value.

    Raises:
        NotConvertible: a layer has no exact counterpart, or the network cannot be followed; the message names it.
    """
    if isinstance(output_stride, bool) or not isinstance(output_stride, int) or output_stride < 1:
        raise NotConvertible(f"output_stride is {output_stride!r}; it must be a whole number of at least 1")
    before = copy.deepcopy(network).cpu().double().eval()
    _fill_zeros(before)
    images, tree = _probes(before, image), _with_the_same_values(before)
    rewriting = Rewriting(trace(before), tree, images, output_stride)
    rewriting.follow(rule)
    _refuse_other_answer(before, images[0], rewriting.answer)
    result = copy.deepcopy(network)
    apply_settings(result, rewriting.settings)
    for name, module in rewriting.added.items():
        result.add_module(name, module.train(result.training))
    told = {"changes": tuple(rewriting.changes), "channels": (), "strides": ()}
    if isinstance(network, Backbone):
        told |= {"channels": network.channels, "strides": tuple(min(s, output_stride) for s in network.strides)}
    return Dilated(result, rewriting.graph, told)


def _probes(network: nn.Module, image: Tensor | None) -> list[Tensor]:
    """Images in float64 that the network takes."""
    if image is not None:
        candidates = [[image.detach().cpu().double()]]
    else:
        own = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)
        candidates = [[_noise(channels, size) for size in PROBES] for channels in dict.fromkeys((own, 3, 1))]
    fault = ""
    for images in candidates:
        taken: list[Tensor] = []
        for x in images:
            if fault := _fault(network, x):
                continue
            taken.append(x)
            if len(taken) == 2:
                break
        if taken:
            return taken
    sizes = " and ".join(f"{x.shape[-2]}x{x.shape[-1]}" for x in candidates[-1])
    raise NotConvertible(f"the network does not take an image of {sizes} ({fault}): give one as image=")


def _with_the_same_values(network: nn.Module) -> nn.Module:
    """A copy whose modules can be set anew, on the same parameters and buffers."""
    return copy.deepcopy(network, {id(x): x for x in (*network.parameters(), *network.buffers())})


def _refuse_other_answer(network: nn.Module, image: Tensor, answer: Any) -> None:
    """Hooks and state that Python keeps between calls are not in a graph."""
    with torch.no_grad():
        own, followed = list(tensors_of(network(image.clone()))), list(tensors_of(answer))
    if len(own) != len(followed) or any(
        a.shape != b.shape or difference(a, b) > TOLERANCE for a, b in zip(own, followed, strict=True)
    ):
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: its operations alone give another answer than it gives, as "
            "where hooks collect maps; give a network whose forward returns them"
        )


def _noise(channels: int, size_hw: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, *size_hw, dtype=torch.float64, generator=generator)


def _fault(network: nn.Module, image: Tensor) -> str:
    """Why the network cannot take the image; empty where it can."""
    try:
        with torch.no_grad():
            network(image.clone())
    except FAULTS as error:
        return str(error).splitlines()[0]
    return ""


def _fill_zeros(network: nn.Module) -> None:
    """Draws the parameters that are all zero, behind which no difference would show."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        if parameter.is_floating_point() and not parameter.any():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator) / 10)
