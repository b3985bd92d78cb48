"""Which samples each batch of an epoch takes: orders by the name they have in a recipe.

An order is a pure function of its arguments and the epoch: `batches(epoch)` gives positions in the set, and as many
batches in every epoch. Its random numbers come from `data.draws`, never from torch's generator.
"""

from collections.abc import Callable
from math import log2
from typing import Annotated, Literal, NamedTuple

from unpool.data.labels import read_labels
from unpool.data.loader import Order
from unpool.data.order.by_class import PTimesK, WeightedByClass
from unpool.data.order.by_rank import ByRank, WholeBatches
from unpool.data.order.every_sample import Grouped, Sequential, Shuffled
from unpool.errors import RecipeError
from unpool.limits import MANY, Weights
from unpool.types import Samples

__all__ = [
    "ORDERS",
    "Batching",
    "ByRank",
    "Grouped",
    "PTimesK",
    "Sequential",
    "Shuffled",
    "WeightedByClass",
    "WholeBatches",
    "whole_of",
]


def whole_of(order: Order) -> Order:
    """The order of all processes together, of one that is shared out among them."""
    return order.whole if isinstance(order, ByRank | WholeBatches) else order


class Batching(NamedTuple):
    """What a recipe's `train` section says of batches."""

    batch: int
    seed: int
    drop_last: bool


def shuffled(samples: Samples, batching: Batching) -> Shuffled:
    """Every sample once."""
    return Shuffled(len(samples), **batching._asdict())


def weighted(samples: Samples, batching: Batching, *, weights: Weights | None = None) -> WeightedByClass:
    """As many samples as the set has, drawn by the weight of their class, up to 10^6; None draws all equally often."""
    return WeightedByClass(read_labels(samples), weights=weights, **batching._asdict())


def p_times_k(samples: Samples, batching: Batching, *, per_class: Annotated[int, MANY]) -> PTimesK:
    """`per_class` samples of each of batch / `per_class` classes.

    Raises:
        RecipeError: the batch is no multiple of `per_class`.
    """
    if per_class < 1 or batching.batch % per_class:
        raise RecipeError(
            f"a batch has {batching.batch} images and data.order p_times_k takes {per_class} of each class; "
            "make train.batch a multiple of per_class"
        )
    classes = batching.batch // per_class
    return PTimesK(read_labels(samples), classes=classes, samples=per_class, seed=batching.seed)


def grouped(samples: Samples, batching: Batching, *, by: Literal["size", "aspect"] = "size") -> Grouped:
    """Every sample once, those of one size together, or of one ratio of height to width to half a power of 2.

    Raises:
        RecipeError: no group fills a batch, and smaller batches are left out.
    """
    sizes = list(samples.sizes_hw)
    order = Grouped(sizes if by == "size" else [round(2 * log2(h / w)) for h, w in sizes], **batching._asdict())
    if sizes and not order.steps_per_epoch:
        raise RecipeError(
            f"data.order grouped by {by} has groups of at most {order.largest} images, a batch has {batching.batch}, "
            f"and train.drop_last leaves out smaller ones: set train.batch={order.largest} or train.drop_last=false"
        )
    return order


ORDERS: dict[str, Callable[..., Order]] = {
    "shuffled": shuffled,
    "weighted": weighted,
    "p_times_k": p_times_k,
    "grouped": grouped,
}
