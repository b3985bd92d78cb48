"""What the module of a batch norm does beside the norm: nothing before it, and which of its own modules behind it."""

from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Reached(NamedTuple):
    """How far a tensor has come inside of its module: its version, the modules that it went through behind the norm."""

    x: Tensor
    version: int
    kept: tuple[str, ...]

    def is_still(self, x: Any) -> bool:
        return x is self.x and x._version == self.version


class InsideNorm:
    """Follows, inside of a `with`, the one argument of each norm's module to the norm, and the result from it on.

    Attributes:
        kept: of each norm, for its calls: names of the modules that the result went through, one after the other; None
            where anything else was done to the argument or to the result.
    """

    def __init__(self, network: nn.Module) -> None:
        self.kept: dict[str, set[tuple[str, ...] | None]] = defaultdict(set)
        self._network = network
        self._given: dict[str, Reached] = {}
        self._reached: dict[str, Reached] = {}
        self._entered: dict[str, Reached] = {}
        self._handles: list[RemovableHandle] = []

    def start(self, norm: str, x: Tensor, result: Tensor) -> None:
        """Notes that the norm has read x."""
        given = self._given.get(norm)
        if given and given.is_still(x):
            self._reached[norm] = Reached(result, result._version, ())
        else:
            self.kept[norm].add(None)

    def __enter__(self) -> "InsideNorm":
        for name, module in self._network.named_modules():
            self._handles.append(module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True))
            self._handles.append(module.register_forward_hook(partial(self._leave, name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [*args, *kwargs.values()]
        if len(given) == 1 and isinstance(given[0], Tensor):
            self._given[name] = Reached(given[0], given[0]._version, ())
        reached = self._reached.get(name.rpartition(".")[0])
        if reached and name not in reached.kept and len(args) == 1 and not kwargs and reached.is_still(args[0]):
            self._entered[name] = reached

    def _leave(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        self._given.pop(name, None)
        entered, reached = self._entered.pop(name, None), self._reached.pop(name, None)
        if entered and isinstance(output, Tensor):
            self._reached[name.rpartition(".")[0]] = Reached(output, output._version, (*entered.kept, name))
        if reached:
            self.kept[name].add(reached.kept if reached.is_still(output) else None)
