"""Networks made deeper by construction: the layers of a trained one, and blocks between them that change nothing.

A deeper network can do at least what a shallower one does: copy its layers and let those added be the identity (He et
al. 2016, arXiv:1512.03385, section 1). Net2DeeperNet (Chen et al. 2016, arXiv:1511.05641, section 2.3) starts training
there. After a ReLU the added layer is a convolution whose filters have a one in the middle, and another ReLU; behind a
residual block it is a copy of the block whose branch ends in a zero: its last norm has scale and shift 0, or, where
none follows, its last convolution has weights and bias 0. What is added learns from the first step on.

Nothing is read from the network's code: it runs, and a block is one where such a copy gives back what it gets.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code, isolated
from unpool.tracing.outputs import difference, outputs_of
from unpool.tracing.probes import check_network, copy_network, probe_images
from unpool.tracing.rewriter import Change

EXACT = 1e-6  # of the largest value of an output
_WEIGHED = (nn.Conv2d, nn.Linear, _BatchNorm, nn.GroupNorm)


class Deepened(NamedTuple):
    """A deeper network that gives the same answers.

    Attributes:
        network: in evaluation mode; the tensors of the shallower network keep their names.
        changes: behind which layer what was added.
        compared_at: shapes of the images on which the networks were compared.
    """

    network: nn.Module
    changes: tuple[Change, ...]
    compared_at: tuple[tuple[int, ...], ...]


class _Call(NamedTuple):
    """The output of a module that ran once and was given one tensor."""

    module: nn.Module
    output: Tensor


def deepen(network: nn.Module, *, after: Sequence[str] = (), image: Tensor | None = None) -> Deepened:
    """Returns a deeper copy of a network that gives the same answers in evaluation, within 1e-6.

    Args:
        network: takes one image (B, C, H, W), or whatever `image` is; neither it nor its mode is changed.
        after: names of the modules to add a block behind: residual blocks that end an `nn.Sequential`, or `nn.ReLU`
            modules. Empty for all such blocks or, where there are none, for the last ReLU of each size of map.
        image: what the two networks are compared on, for those that take none of 64x96, 224x224 and a few others.

    Returns:
        The network in evaluation mode, with dtype and device of the given one.

    Raises:
        NotConvertible: nothing can be added, by default or where it was asked for, or the network cannot be run or
            copied.

    >>> import torch
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> deeper = deepen(network)
    >>> deeper.changes
    (Change(layer='1', old='ReLU', new='ReLU, Conv2d, ReLU'),)
    >>> image = torch.rand(1, 3, 32, 32)
    >>> torch.allclose(deeper.network(image), network(image), atol=1e-6)
    True
    """
    check_network(network, image)
    with foreign_code(passing=NotConvertible) as failure, isolated():
        return _deepen(network, after, image)
    kind = type(failure.error).__name__
    raise NotConvertible(
        f"{type(network).__name__} cannot be deepened: its code ends in {kind}: {failure}"
    ) from failure.error


def _deepen(network: nn.Module, after: Sequence[str], image: Tensor | None) -> Deepened:
    before, result = (copy_network(network).cpu() for _ in range(2))
    images = probe_images(before, image)
    calls = _calls(before, images[0])
    added = {name: block for name, call in _ending(before, calls) if (block := _identity(call))}
    if not added or after:
        shapes = {tuple(call.output.shape): name for name, call in calls.items() if _is_rectifier(call)}
        lasting = [name for name in calls if name in shapes.values() or name in after]
        added |= {name: _filter(calls[name].output) for name in lasting if _is_rectifier(calls[name])}
    if unfit := [name for name in after if name not in added]:
        raise NotConvertible(
            f"nothing can be added behind {', '.join(unfit)}: name residual blocks at the end of an nn.Sequential, or "
            f"nn.ReLU modules that run once, such as {', '.join(added) or 'there are none'}"
        )
    if not added:
        raise NotConvertible(
            f"{type(network).__name__} cannot be deepened: it has no residual block at the end of an nn.Sequential, "
            "and no nn.ReLU module that runs once on a map"
        )
    changes = tuple(_add(result, name, added[name]) for name in added if not after or name in after)
    _require_run(result, images[0], {change.layer: added[change.layer] for change in changes})
    _require_same(before, result, images, changes)
    weight = next(network.parameters(), None)
    result = result if weight is None else result.to(weight.device)
    return Deepened(result.eval(), changes, tuple(tuple(one.shape) for one in images))


def _calls(network: nn.Module, image: Tensor) -> dict[str, _Call]:
    """Modules that ran once, on one tensor, and gave one, by name in the order in which they ended."""
    seen: dict[str, list[_Call | None]] = {}

    def note(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        is_plain = len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
        seen.setdefault(name, []).append(_Call(module, output.clone()) if is_plain else None)

    hooks = [module.register_forward_hook(partial(note, name)) for name, module in network.named_modules()]
    try:
        outputs_of(network, image)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: call for name, (call, *more) in seen.items() if call is not None and not more}


def _ending(network: nn.Module, calls: dict[str, _Call]) -> Iterator[tuple[str, _Call]]:
    """The last child of each `nn.Sequential` that has weights inside."""
    for path, parent in network.named_modules():
        if isinstance(parent, nn.Sequential) and len(parent):
            name = ".".join(filter(None, (path, list(dict(parent.named_children()))[-1])))
            if name in calls and next(calls[name].module.children(), None) is not None:
                yield name, calls[name]


def _identity(call: _Call) -> nn.Module | None:
    """A copy of a block that gives back what the block gives, with one layer set to zero; None where there is none."""
    block = copy.deepcopy(call.module)
    for layer in reversed([module for module in block.modules() if isinstance(module, _WEIGHED)]):
        if not isinstance(layer.weight, Tensor):
            continue
        kept = [parameter.clone() for parameter in layer.parameters(recurse=False)]
        for parameter in layer.parameters(recurse=False):
            parameter.zero_()
        if _gives_back(block, call.output):
            return block
        for parameter, value in zip(layer.parameters(recurse=False), kept, strict=True):
            parameter.copy_(value)
    return None


def _gives_back(block: nn.Module, x: Tensor) -> bool:
    outputs: list[Any] = []
    with foreign_code():
        outputs.append(block(x.clone()))
    return bool(outputs) and isinstance(outputs[0], Tensor) and difference(x, outputs[0]) <= EXACT


def _is_rectifier(call: _Call) -> bool:
    return type(call.module) is nn.ReLU and call.output.dim() == 4


def _filter(x: Tensor) -> nn.Module:
    """A convolution that gives back maps (B, C, H, W), and a ReLU, behind a ReLU."""
    channels = x.shape[1]
    conv: Any = nn.utils.skip_init(nn.Conv2d, channels, channels, 3, padding=1, dtype=x.dtype)
    nn.init.dirac_(conv.weight)
    nn.init.zeros_(conv.bias)
    return nn.Sequential(nn.ReLU(), conv, nn.ReLU())


def _add(network: nn.Module, name: str, block: nn.Module) -> Change:
    """Puts a block behind a module, in place of a ReLU or at the end of its `nn.Sequential`."""
    path, _, last = name.rpartition(".")
    parent, old = network.get_submodule(path), network.get_submodule(name)
    if isinstance(old, nn.ReLU):
        setattr(parent, last, block)
        return Change(name, "ReLU", "ReLU, Conv2d, ReLU")
    names = dict(parent.named_children())
    parent.add_module(next(one for one in map(str, range(len(names), 2 * len(names) + 1)) if one not in names), block)
    kind = type(old).__name__
    return Change(name, kind, f"{kind}, {kind}")


def _require_run(network: nn.Module, image: Tensor, added: Mapping[str, nn.Module]) -> None:
    """Raises NotConvertible where the network's code calls another module than the one that it has by that name."""
    ran: set[str] = set()
    hooks = [block.register_forward_hook(lambda *_, name=name: ran.add(name)) for name, block in added.items()]
    try:
        outputs_of(network.eval(), image)
    finally:
        for hook in hooks:
            hook.remove()
    if idle := sorted(added.keys() - ran):
        raise NotConvertible(
            f"what was added behind {', '.join(idle)} does not run: the network's code keeps its layers by other ways "
            "than their names, or counts them; choose other modules with after=..."
        )


def _require_same(before: nn.Module, after: nn.Module, images: Sequence[Tensor], changes: Sequence[Change]) -> None:
    for image in images:
        pairs = zip(outputs_of(before, image), outputs_of(after.eval(), image), strict=True)
        if (worst := max(difference(a, b) for a, b in pairs)) > EXACT:
            layers = ", ".join(change.layer for change in changes)
            raise NotConvertible(
                f"the deeper network differs by {worst:.1e} of the largest value on an image of "
                f"{'x'.join(map(str, image.shape[-2:]))}: choose other modules than {layers} with after=..."
            )
