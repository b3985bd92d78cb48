"""The residual blocks of any network, and the layers that can be left out, by the graph of what one image runs.

A residual block is an addition of two maps of one shape that both come of one earlier map: one by a branch with
weights, the other by a shortcut, which is that map itself or passes at most one operation with weights and fewer than
the branch. Of blocks inside of one another the innermost counts. Names of modules take no part.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from unpool.tracing.recorder import evaluating, tensors_of

Kind = Literal["add", "weighted", "norm"]
Position = tuple[Kind, int]  # the nth call of a kind in a forward
Shape = tuple[int, ...]

_ADDITIONS = (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__, Tensor.__radd__)
_WEIGHTED = (
    *(torch.conv1d, torch.conv2d, torch.conv3d, functional.linear),
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
)
_NORMS = (functional.batch_norm, functional.group_norm, functional.instance_norm, functional.layer_norm)
KINDS: dict[Callable[..., Any], Kind] = {
    **dict.fromkeys(_ADDITIONS, "add"),
    **dict.fromkeys(_WEIGHTED, "weighted"),
    **dict.fromkeys(_NORMS, "norm"),
}


class Block(NamedTuple):
    """A residual block.

    Attributes:
        name: of the innermost module that holds all of it; what lies in it for the others.
        position: of its addition.
        is_branch_first: the addition's first operand is the branch.
        keeps_shape: its module's input has the shape of its output.
        shape: (C, H, W) of its output.
        is_module: the module holds this block and no other, so that it can trade places with another module.
    """

    name: str
    position: Position
    is_branch_first: bool
    keeps_shape: bool
    shape: Shape
    is_module: bool


class Layer(NamedTuple):
    """A convolution or linear layer outside of residual blocks, with the norm behind it.

    Attributes:
        name: of its module.
        positions: of the layer, and of its norm where it has one.
        keeps_shape: its output has the shape of its input, so that it can be left out.
        shape: of its output, without the batch.
    """

    name: str
    positions: tuple[Position, ...]
    keeps_shape: bool
    shape: Shape


class Parts(NamedTuple):
    """What can be taken out of a network, in the order in which it runs."""

    blocks: list[Block]
    layers: list[Layer]


def parts_of(network: nn.Module, image: Tensor) -> Parts:
    """Returns the residual blocks and the other layers of a network.

    Args:
        network: any; it runs once, in evaluation mode.
        image: what it takes, (B, C, H, W).

    Example:
        >>> from unpool.layers.residual import Residual
        >>> block = Residual(nn.Conv2d(4, 4, 3, padding=1), nn.Identity())
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), block, nn.Conv2d(4, 4, 1))
        >>> parts = parts_of(network, torch.zeros(1, 3, 8, 8))
        >>> [block.name for block in parts.blocks], [(layer.name, layer.keeps_shape) for layer in parts.layers]
        (['1'], [('0', False), ('2', True)])
    """
    follower = _Follower(image)
    handles = [handle for name, module in network.named_modules() for handle in follower.watch(name, module)]
    try:
        with evaluating(network), torch.no_grad(), follower:
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    blocks, inside = _blocks(follower.operations)
    return Parts(_with_modules(blocks, follower.operations), _layers(follower.operations, inside))


class _Running(NamedTuple):
    name: str
    first: int  # number of the first operation inside
    inputs: tuple[Shape, ...]


class _Operation(NamedTuple):
    shape: Shape
    inputs: tuple[int, ...] = ()  # numbers of operations, in the order of arguments
    read: tuple[Shape, ...] = ()
    kind: Kind | None = None
    nth: int = 0  # of its kind, others counted that no image reaches
    has_weight: bool = False
    running: tuple[_Running, ...] = ()  # from the outermost module to the innermost

    @property
    def position(self) -> Position:
        return (self.kind or "add", self.nth)


class _Follower(TorchFunctionMode):
    """Records the operations that work on the image, or on what came of it."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.operations: list[_Operation] = [_Operation(shape=tuple(image.shape))]
        self._made: dict[int, int] = {id(image): 0}
        self._kept: list[Any] = [image]  # so that no other tensor gets the id of one
        self._counts: dict[Kind, int] = dict.fromkeys(KINDS.values(), 0)
        self._running: list[_Running] = []

    def watch(self, name: str, module: nn.Module) -> tuple[Any, Any]:
        def enter(_: nn.Module, inputs: Any) -> None:
            shapes = tuple(tuple(one.shape) for one in tensors_of(inputs))
            self._running.append(_Running(name, len(self.operations), shapes))

        def leave(_: nn.Module, inputs: Any, output: Any) -> None:
            self._running.pop()

        return module.register_forward_pre_hook(enter), module.register_forward_hook(leave, prepend=True)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = KINDS.get(func)
        nth = self._counts[kind] if kind is not None else 0
        if kind is not None:
            self._counts[kind] += 1
        read = list(tensors_of((*args, *(kwargs or {}).values())))
        inputs = tuple(self._made[id(one)] for one in read if id(one) in self._made)
        shapes = tuple(tuple(one.shape) for one in read if id(one) in self._made)
        output = func(*args, **(kwargs or {}))
        made = list(tensors_of(output)) if inputs else []
        if made:
            weighted = any(isinstance(one, nn.Parameter) and one.dim() > 1 for one in read)
            number, shape = len(self.operations), tuple(made[0].shape)
            operation = _Operation(shape, inputs, shapes, kind, nth, weighted, tuple(self._running))
            self.operations.append(operation)
            self._made |= {id(one): number for one in made}
            self._kept += made
        return output


class _Candidate(NamedTuple):
    operation: int
    first: int  # number of the first operation behind the map that both operands come of
    is_branch_first: bool


def _blocks(operations: Sequence[_Operation]) -> tuple[list[_Candidate], int]:
    """Residual blocks, and the set of all operations inside of them as bits."""
    reached: list[int] = []  # by operation: itself and all before it, as bits
    for number, operation in enumerate(operations):
        bits = 1 << number
        for one in operation.inputs:
            bits |= reached[one]
        reached.append(bits)
    blocks: list[_Candidate] = []
    inside = additions = 0
    for number, operation in enumerate(operations):
        if operation.kind != "add" or len(operation.inputs) != 2 or len(set(operation.read)) > 1:
            continue
        fork = (reached[operation.inputs[0]] & reached[operation.inputs[1]]).bit_length() - 1
        sides = [reached[one] >> (fork + 1) << (fork + 1) for one in operation.inputs]
        whole = sides[0] | sides[1]
        if whole & additions or not _is_closed(operations, whole, fork):
            continue
        weights = [sum(operations[one].has_weight for one in _numbers(side)) for side in sides]
        if max(weights) == min(weights) or min(weights) > 1:
            continue
        blocks.append(_Candidate(number, min(_numbers(whole)), weights[0] > weights[1]))
        inside |= whole
        additions |= 1 << number
    return blocks, inside


def _is_closed(operations: Sequence[_Operation], inside: int, fork: int) -> bool:
    """Whether all that the operations read comes of the fork."""
    return all(one == fork or inside >> one & 1 for number in _numbers(inside) for one in operations[number].inputs)


def _numbers(bits: int) -> list[int]:
    """The positions of the bits of a set."""
    numbers = []
    while bits:
        lowest = bits & -bits
        numbers.append(lowest.bit_length() - 1)
        bits ^= lowest
    return numbers


def _with_modules(candidates: Sequence[_Candidate], operations: Sequence[_Operation]) -> list[Block]:
    """The blocks under the names of the innermost modules that hold all of each."""
    holders = []
    for one in candidates:
        running = operations[one.operation].running
        holders.append(next(module for module in reversed(running) if module.first <= one.first))
    names = [holder.name for holder in holders]
    blocks = []
    for one, holder in zip(candidates, holders, strict=True):
        addition = operations[one.operation]
        block = Block(
            name=holder.name,
            position=addition.position,
            is_branch_first=one.is_branch_first,
            keeps_shape=[shape[1:] for shape in holder.inputs] == [addition.shape[1:]],
            shape=addition.shape[1:],
            is_module=names.count(holder.name) == 1 and holder.name != "" and len(holder.inputs) == 1,
        )
        blocks.append(block)
    return blocks


def _layers(operations: Sequence[_Operation], inside: int) -> list[Layer]:
    layers = []
    for number, operation in enumerate(operations):
        if operation.kind != "weighted" or len(operation.inputs) != 1 or inside >> number & 1:
            continue
        norm = next((one for one in operations[number + 1 :] if one.inputs == (number,) and one.kind == "norm"), None)
        positions = (operation.position, *([norm.position] if norm else []))
        keeps_shape = operation.shape == operation.read[0]
        layers.append(Layer(operation.running[-1].name, positions, keeps_shape, operation.shape[1:]))
    return layers
