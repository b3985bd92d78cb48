"""What the module of a batch norm does beside normalising: nothing before it, and which of its modules after it."""

from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Step(NamedTuple):
    """A tensor inside of a norm's module.

    Attributes:
        x: the tensor.
        version: counts the writes into it.
        kept: names of the modules that ran on it after the norm, in order.
    """

    x: Tensor
    version: int
    kept: tuple[str, ...]

    def is_still(self, x: Any) -> bool:
        """Whether x is this tensor and was not written to since."""
        return x is self.x and x._version == self.version


class NormModules:
    """Follows, inside of a `with`, the argument of each norm's module to the norm, and the norm's output to the end.

    Attributes:
        kept: for each norm, of all its calls: names of the modules that ran after the norm, in order; None for a call
            that did anything else to the argument or to the output.
    """

    def __init__(self, network: nn.Module) -> None:
        self.kept: dict[str, set[tuple[str, ...] | None]] = defaultdict(set)
        self._network = network
        self._arguments: dict[str, Step] = {}
        self._outputs: dict[str, Step] = {}
        self._entered: dict[str, Step] = {}
        self._handles: list[RemovableHandle] = []

    def start(self, norm: str, x: Tensor, result: Tensor) -> None:
        """Notes that the norm has read x and computed the result."""
        argument = self._arguments.get(norm)
        if argument and argument.is_still(x):
            self._outputs[norm] = Step(result, result._version, ())
        else:
            self.kept[norm].add(None)

    def __enter__(self) -> "NormModules":
        for name, module in self._network.named_modules():
            self._handles.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            self._handles.append(module.register_forward_hook(partial(self._leave, name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        arguments = [*args, *kwargs.values()]
        if len(arguments) == 1 and isinstance(arguments[0], Tensor):
            self._arguments[name] = Step(arguments[0], arguments[0]._version, ())
        output = self._outputs.get(name.rpartition(".")[0])
        if output and name not in output.kept and len(args) == 1 and not kwargs and output.is_still(args[0]):
            self._entered[name] = output

    def _leave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._arguments.pop(name, None)
        entered, last = self._entered.pop(name, None), self._outputs.pop(name, None)
        if entered and isinstance(output, Tensor):
            self._outputs[name.rpartition(".")[0]] = Step(output, output._version, (*entered.kept, name))
        if last:
            self.kept[name].add(last.kept if last.is_still(output) else None)
