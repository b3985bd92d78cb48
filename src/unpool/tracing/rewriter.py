"""What a conversion by tracing gives: a graph of operations on the modules of the network before."""

from typing import Any, NamedTuple, Self

from torch import fx, nn


class Change(NamedTuple):
    """What became of one layer."""

    layer: str
    old: str
    new: str


class Rewritten(fx.GraphModule):
    """Parameters, buffers and modules have the names they had, also those that no operation reads.

    Attributes:
        changes: what became of which layer, in the order in which they run.
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

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = super().__deepcopy__(memo)
        copied._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        return copied  # pyright: ignore[reportReturnType]
