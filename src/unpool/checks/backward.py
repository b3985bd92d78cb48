"""One forward and backward pass: which parameters the loss was computed with, and which have a gradient."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.checks.source import picked
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import tensors_of

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

SAMPLES = 8


class Backward(NamedTuple):
    """One forward and backward pass of a small batch in training mode.

    Attributes:
        in_graph: names of the parameters that the loss was computed with.
        zero: names of those of them whose gradient is 0 throughout.
        unregistered: weights in the graph that neither the network, the loss nor the optimiser has: shapes.
        failure: why there is none.
    """

    in_graph: frozenset[str]
    zero: frozenset[str]
    unregistered: tuple[tuple[int, ...], ...]
    failure: str


def go_back(setup: "Setup") -> Backward:
    """Computes the loss, of outputs their mean square where there is none, and its gradients."""
    names: dict[Tensor, str] = {weight: name for name, weight in setup.model.named_parameters()}
    batch = picked(setup.train.batches(1)[0], slice(0, SAMPLES))
    with setup.trying(training=True), foreign_code() as failure:
        setup.model.zero_grad(set_to_none=True)
        outputs = setup.outputs(batch)
        total = setup.loss_of(outputs, batch) if setup.loss is not None else _mean_square(outputs)
        leaves = set(_leaves(total))
        total.backward()
        known = names.keys() | _others(setup)
        strangers = tuple(tuple(leaf.shape) for leaf in leaves if leaf not in known and isinstance(leaf, nn.Parameter))
        in_graph = {names[leaf] for leaf in leaves if leaf in names}
        zero = {names[w] for w in names if names[w] in in_graph and (w.grad is None or not bool((w.grad != 0).any()))}
        return Backward(frozenset(in_graph), frozenset(zero), strangers, "")
    return Backward(frozenset(), frozenset(), (), str(failure))


def _mean_square(outputs: Any) -> Tensor:
    floats = [one for one in tensors_of(outputs) if one.is_floating_point()]
    return torch.stack([one.square().mean() for one in floats]).sum()


def _others(setup: "Setup") -> set[Tensor]:
    """Parameters that are known from elsewhere: of the loss and of the optimiser."""
    known: set[Tensor] = set(setup.loss.parameters()) if isinstance(setup.loss, nn.Module) else set()
    groups = [] if setup.optimizer is None else setup.optimizer.param_groups
    return known | {weight for group in groups for weight in group["params"]}


def _leaves(total: Tensor) -> Iterator[Tensor]:
    """The tensors without a history from which a result was computed and that need a gradient."""
    core: Any = torch._C  # its parts have no types
    waiting: list[Any] = [total.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, core._functions.AccumulateGrad):
            yield node.variable
        waiting += [following for following, _ in node.next_functions]
