"""Runs a network and records each call of its modules; works on any `nn.Module`, on the meta device too."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of one module; a module used twice has two calls.

    Attributes:
        name: dotted path inside the network, "" being the network itself.
        kind: name of its class.
        module: the module that ran; a copy without values where the recording was made on one.
        is_leaf: it has no modules inside.
        is_first: no earlier call was of the same module.
        inputs, outputs: shape of every tensor, in order, with the batch.
        params: number of its direct parameters that no earlier call counted.
        weights: those of them with more than one axis, so without biases and without the scales of norms.
    """

    name: str
    kind: str
    module: nn.Module
    is_leaf: bool
    is_first: bool
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    params: int
    weights: int


class Recorder:
    """Records the calls of modules inside a `with`, by hooks that are removed at its end.

    Args:
        model: the network.
        watch: called with each finished call and its output, while the output's tensors still live.
    """

    def __init__(self, model: nn.Module, *, watch: Callable[[Call, Any], None] | None = None) -> None:
        self.calls: list[Call] = []
        self._model = model
        self._watch = watch
        self._running: list[str] = []
        self._seen: set[int] = set()
        self._handles: list[RemovableHandle] = []

    @property
    def running(self) -> str:
        """Name of the innermost module that runs now, "" between calls and inside the network itself."""
        return self._running[-1] if self._running else ""

    def __enter__(self) -> "Recorder":
        for name, module in self._model.named_modules():
            self._handles.append(module.register_forward_pre_hook(self._enter_hook(name)))
            self._handles.append(module.register_forward_hook(self._leave_hook(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._running.clear()

    def _enter_hook(self, name: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)

        return enter

    def _leave_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._running.pop()
            call = self._note(name, module, inputs=inputs, output=output)
            self.calls.append(call)
            if self._watch is not None:
                self._watch(call, output)

        return leave

    def _note(self, name: str, module: nn.Module, *, inputs: Any, output: Any) -> Call:
        is_first = id(module) not in self._seen
        self._seen.add(id(module))
        direct = [p for p in module.parameters(recurse=False) if id(p) not in self._seen]
        self._seen.update(id(p) for p in direct)
        return Call(
            name=name,
            kind=type(module).__name__,
            module=module,
            is_leaf=next(module.children(), None) is None,
            is_first=is_first,
            inputs=tuple(tuple(x.shape) for x in tensors_of(inputs)),
            outputs=tuple(tuple(x.shape) for x in tensors_of(output)),
            params=sum(p.numel() for p in direct),
            weights=sum(p.numel() for p in direct if p.ndim > 1),
        )


def record(model: nn.Module, image: Tensor) -> list[Call]:
    """Runs one batch of images and returns the calls of every module, children before their parents.

    Args:
        model: runs in evaluation mode, without gradients.
        image: what the network takes, (B, C, H, W) for most.

    >>> calls = record(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), torch.zeros(1, 3, 10, 10))
    >>> [(call.name, call.outputs) for call in calls]
    [('0', ((1, 8, 8, 8),)), ('1', ((1, 8, 8, 8),)), ('', ((1, 8, 8, 8),))]
    """
    with evaluating(model), torch.no_grad(), Recorder(model) as recorder:
        model(image)
    return recorder.calls


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_of(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from tensors_of(item)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Puts a network into evaluation mode inside a `with`; afterwards every module is in its old mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, was_training in modes:
            module.training = was_training


def without_values(model: nn.Module) -> nn.Module:
    """Returns a copy on the meta device: shapes without values, which need neither memory nor time to run.

    Raises:
        RuntimeError: the network holds tensors that cannot be copied.
    """
    values = [*model.parameters(), *model.buffers()]
    empty = {id(value): _shell(value) for value in values}
    return copy.deepcopy(model, memo=dict(empty))


def _shell(value: Tensor) -> Tensor:
    shell = value.detach().to("meta")
    return nn.Parameter(shell, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else shell
