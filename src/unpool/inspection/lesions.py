"""Takes parts out of a network, or changes their order, inside a `with` (Veit et al. 2016, arXiv:1605.06431).

To delete a residual block is to leave its shortcut alone; to delete another layer is to pass its input on, which needs
one shape before and behind it. The weights are not touched.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unpool.errors import RecipeError
from unpool.inspection.blocks import KINDS, Block, Layer, Position
from unpool.tracing.recorder import tensors_of

Change = Callable[..., Tensor]  # of the tensors that an operation reads, in order


@contextmanager
def without(network: nn.Module, parts: Sequence[Block | Layer]) -> Iterator[None]:
    """Inside, the network runs without some of its blocks and layers.

    Args:
        network: the one that `parts_of` looked at.
        parts: to be left out.

    Raises:
        RecipeError: a layer changes the shape, so that nothing can stand for it.

    Example:
        >>> import torch
        >>> from unpool.inspection.blocks import parts_of
        >>> from unpool.layers.residual import Residual
        >>> block = Residual(nn.Conv2d(4, 4, 3, padding=1), nn.Identity())
        >>> image = torch.ones(1, 4, 8, 8)
        >>> with without(block, parts_of(block, image).blocks):
        ...     print(torch.equal(block(image), image))
        True
    """
    changes: dict[Position, Change] = {}
    for part in parts:
        if isinstance(part, Block):
            changes[part.position] = _second if part.is_branch_first else _first
        elif part.keeps_shape:
            changes |= dict.fromkeys(part.positions, _first)
        else:
            raise RecipeError(
                f"{part.name} cannot be left out: its output {part.shape} has another shape than its input"
            )
    with changed(network, changes):
        yield


def _first(x: Tensor, *_: Tensor) -> Tensor:
    return x.clone()  # what follows may work in place, and others may read x


def _second(_: Tensor, x: Tensor, *__: Tensor) -> Tensor:
    return x.clone()


@contextmanager
def reordered(network: nn.Module, blocks: Sequence[Block], order: Sequence[int]) -> Iterator[None]:
    """Inside, the module of block order[i] runs in place of that of block i; all that differ need one shape.

    Example:
        >>> from unpool.inspection.blocks import parts_of
        >>> import torch
        >>> from unpool.layers.residual import Residual
        >>> network = nn.Sequential(*(Residual(nn.Conv2d(4, 4, 1), nn.Identity()) for _ in range(2)))
        >>> last, blocks = network[1], parts_of(network, torch.ones(1, 4, 8, 8)).blocks
        >>> with reordered(network, blocks, [1, 0]):
        ...     print(network[0] is last)
        True

    Raises:
        RecipeError: a block is no module by itself, or has another shape than the one whose position it gets.
    """
    moved = [(blocks[i], blocks[source]) for i, source in enumerate(order) if i != source]
    for here, other in moved:
        if not (here.is_module and other.is_module and here.keeps_shape and other.keeps_shape):
            raise RecipeError(f"blocks {here.name} and {other.name} cannot change places: both need to keep the shape")
        if here.shape != other.shape:
            raise RecipeError(f"blocks {here.name} and {other.name} have other shapes, {here.shape} and {other.shape}")
    modules = {block.name: network.get_submodule(block.name) for block in blocks}
    try:
        for here, other in moved:
            _put(network, here.name, modules[other.name])
        yield
    finally:
        for here, _ in moved:
            _put(network, here.name, modules[here.name])


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


@contextmanager
def changed(network: nn.Module, changes: Mapping[Position, Change]) -> Iterator[None]:
    """Inside, some operations of each forward of a network give what a function makes of the tensors that they read."""
    mode = _Changing(changes)
    handles = [
        network.register_forward_pre_hook(mode.begin, prepend=True),
        network.register_forward_hook(mode.end, always_call=True),
    ]
    try:
        with mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Changing(TorchFunctionMode):
    def __init__(self, changes: Mapping[Position, Change]) -> None:
        super().__init__()
        self._changes = changes
        self._counts: dict[str, int] | None = None

    def begin(self, module: nn.Module, inputs: Any) -> None:
        self._counts = dict.fromkeys(KINDS.values(), 0)

    def end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._counts = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = KINDS.get(func)
        if kind is None or self._counts is None:
            return func(*args, **(kwargs or {}))
        position = (kind, self._counts[kind])
        self._counts[kind] += 1
        change = self._changes.get(position)
        if change is None:
            return func(*args, **(kwargs or {}))
        return change(*tensors_of((*args, *(kwargs or {}).values())))
