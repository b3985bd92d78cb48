"""People as things in boxes: their one class, and the area of whoever has a box alone."""

import torch
from torch import Tensor

from unpool.ops.boxes import areas
from unpool.types import Batch

_COVERED = 0.53  # of its box: median area of a person in COCO; 0.25 to 0.75 for 90 of 100


def areas_of_people(boxes: Tensor) -> Tensor:
    """(N,) pixels that people in boxes (N, 4) cover, where nothing says so: 0.53 of the box.

    >>> areas_of_people(torch.tensor([[0.0, 0.0, 10.0, 20.0]])).round()
    tensor([106.])
    """
    return _COVERED * areas(boxes)


def as_things(batch: Batch) -> Batch:
    """The batch with `labels`, and with those of `ignored` behind the people, who have joints.

    Who is ignored is a crowd, or difficult: no loss learns from them, and who is predicted there is not counted.

    >>> people = {"boxes": [torch.ones(1, 4)], "people": [torch.ones(1, 2, 2)], "ignored": [torch.zeros(1, 6)]}
    >>> things = as_things(people)
    >>> things["labels"], things["difficult"], things["people"][0].shape
    ([tensor([0, 0])], [tensor([False,  True])], torch.Size([2, 2, 2]))
    """
    boxes, others = batch["boxes"], batch.get("ignored", [one.new_zeros(0, 6) for one in batch["boxes"]])
    is_crowd = [torch.cat([one.new_zeros(len(one)), other[:, 5]]).bool() for one, other in _pairs(boxes, others)]
    is_other = [torch.arange(len(crowd), device=crowd.device) >= len(one) for crowd, one in _pairs(is_crowd, boxes)]
    things: Batch = {
        **batch,
        "boxes": [torch.cat([one, other[:, :4]]) for one, other in _pairs(boxes, others)],
        "labels": [torch.zeros(len(crowd), dtype=torch.int64, device=crowd.device) for crowd in is_crowd],
        "crowd": is_crowd,
        "difficult": [other & ~crowd for other, crowd in _pairs(is_other, is_crowd)],
        "people": [
            torch.cat([one, one.new_full((len(other), *one.shape[1:]), torch.nan)])
            for one, other in _pairs(batch["people"], others)
        ],
    }
    if "areas" in batch:
        things["areas"] = [torch.cat([one, other[:, 4]]) for one, other in _pairs(batch["areas"], others)]
    return things


def _pairs(some: list, others: list) -> zip:
    return zip(some, others, strict=True)
