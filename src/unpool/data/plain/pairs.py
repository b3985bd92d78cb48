"""Whether boxes and what lies in them, masks or joints, belong together.

Two lists in another order, or an image that was resized with one of them alone, show in masks and joints that lie for
the most part outside of their boxes. A box may well be larger than what is seen of its thing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.data.readers.box_forms import SLACK, most_are_odd
from unpool.errors import DataError


def masks_outside(boxes: Tensor, masks: Tensor) -> Tensor:
    """(N,) bool: more than half of the pixels of a mask (N, H, W) lie outside of its box (N, 4).

    >>> masks_outside(torch.tensor([[0.0, 0, 4, 9], [6, 0, 9, 9]]), torch.eye(9)[None].repeat(2, 1, 1).bool()).tolist()
    [False, True]
    """
    rows, columns = (
        (middles >= boxes[:, axis, None] - SLACK) & (middles <= boxes[:, axis + 2, None] + SLACK)
        for axis, middles in ((1, torch.arange(masks.shape[1]) + 0.5), (0, torch.arange(masks.shape[2]) + 0.5))
    )
    within = (masks & rows[:, :, None] & columns[:, None]).flatten(1).sum(1)
    return 2 * within < masks.flatten(1).sum(1)


def joints_outside(boxes: Tensor, people: Tensor) -> Tensor:
    """(N,) bool: more than half of the known joints of people (N, K, 2) lie outside of their box (N, 4).

    >>> joints_outside(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[[9.0, 2], [9, 4], [1, 1]]])).tolist()
    [True]
    """
    middles = people + 0.5
    within = ((middles >= boxes[:, None, :2] - SLACK) & (middles <= boxes[:, None, 2:] + SLACK)).all(2)
    return 2 * within.sum(1) < (~people.isnan().any(2)).sum(1)


def check_pairs(outside: Sequence[bool], *, what: str) -> None:
    """Refuses a set where a tenth of those looked at, or all of a few, lie outside of their boxes.

    Args:
        outside: of each that has pixels or known joints.
        what: they are, for the message.

    Raises:
        DataError: they do.
    """
    count, odd = len(outside), sum(outside)
    if most_are_odd(odd, count):
        raise DataError(
            f"{odd} of {count} {what} lie for the most part outside of their boxes: give both in the same order and "
            "in pixels of the image of the sample, and let each transform have all of them"
        )
