"""Whether a loss takes the outputs of a network as vectors of samples, and not as scores of classes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unpool.checks.answers import targets_of, with_targets
from unpool.checks.source import Batch, picked
from unpool.tracing.foreign import foreign_code

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

SAMPLES = 16  # of a batch, among which some are of one class where batches are made of groups
MOST_LEAVES = 4  # weights of a loss: directions, and a scale or margin that is learned
SAME = 1e-5  # relative difference below which two losses are the same


def are_vectors(setup: "Setup", batch: Batch, outputs: Any) -> bool:
    """Whether outputs (B, D), of a few samples of the batch, are vectors for this loss.

    They are where it holds weights of its own that stand for the classes (ArcFace), or where the numbers of the labels
    do not matter but which of them are equal does (contrastive, triplet).
    """
    if not _are_rows(outputs):
        return False
    batch = picked(batch, slice(0, SAMPLES))
    with setup.trying(training=False), torch.no_grad():
        outputs = setup.outputs(batch)
    return has_weights(setup, batch, outputs) or _is_of_pairs(setup, batch, outputs)


def has_weights(setup: "Setup", batch: Batch, outputs: Any) -> bool:
    """Whether the loss of outputs (B, D) is computed of matrices with a row of D for each class.

    They may be registered in the network; a penalty on all of its weights is something else.
    """
    if not _are_rows(outputs) or setup.loss is None:
        return False
    rows, read = outputs.detach().requires_grad_(), []
    with torch.enable_grad(), setup.trying(training=False), foreign_code():  # whoever asks may have none
        read = [leaf for leaf in leaves_of(setup.loss_of(rows, batch)) if leaf is not rows]
    of_classes = [leaf for leaf in read if leaf.dim() == 2 and outputs.shape[1] in leaf.shape]
    return bool(of_classes) and len(read) <= MOST_LEAVES


def _is_of_pairs(setup: "Setup", batch: Batch, outputs: Any) -> bool:
    """Whether the loss stays when each label gets another number, and changes when all get the same one."""
    labels = targets_of(batch)
    if not _are_rows(outputs) or labels is None or setup.loss is None:
        return False
    renumbered, losses = (labels + 1) % (int(labels.max()) + 1), [0.0, 1.0, 0.0]
    with setup.trying(training=False), foreign_code():
        numbers = (labels, renumbered, torch.zeros_like(labels))
        losses = [float(setup.loss_of(outputs.detach(), with_targets(batch, one)).detach()) for one in numbers]
    usual, other, alike = losses
    return abs(other - usual) <= SAME * abs(usual) < abs(alike - usual)


def _are_rows(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.dim() == 2


def leaves_of(value: Tensor) -> Iterator[Tensor]:
    """The tensors with gradients that a value was computed of."""
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [above for above, _ in node.next_functions]
        if node.name() == "torch::autograd::AccumulateGrad":
            yield node.variable  # type: ignore[attr-defined]
