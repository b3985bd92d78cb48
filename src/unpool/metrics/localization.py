"""Scores of boxes that are regressed: a known number of things an image.

ILSVRC counts an image where one of five guesses has the right class and a box whose IoU with the truth is at least 0.5
(Russakovsky et al. 2015, arXiv:1409.0575, section 4.2, for a single object); here the five are the five likeliest
classes, each with its box, or with the one box that all classes share.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.errors import DataError
from unpool.metrics.classification import LabelScores
from unpool.ops.assignment import least_cost
from unpool.ops.boxes import iou
from unpool.types import Batch, Prediction

NEAR = 0.5  # least IoU of a box that is right
LEFT_OUT = ("crowd", "difficult")  # flags of boxes that count nowhere


def counted(batch: Batch, index: int) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and classes (N,) of one image of a batch, without those of a crowd and difficult ones.

    >>> batch = {"boxes": [torch.zeros(2, 4)], "labels": [torch.tensor([3, 4])], "crowd": [torch.tensor([True, False])]}
    >>> counted(batch, 0)[1].tolist()
    [4]
    """
    boxes, labels = batch["boxes"][index], batch["labels"][index]
    keep = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    for key in LEFT_OUT:
        keep = keep & ~batch[key][index] if key in batch else keep
    return boxes[keep], labels[keep]


def fault_of(labels: Tensor, things: int, *, by_class: bool) -> str:
    """What is wrong with the classes (N,) of the boxes of one image; empty where nothing is.

    Args:
        labels: of the boxes that count.
        things: that each image must show.
        by_class: whether they must be one of each class.

    >>> fault_of(torch.tensor([0, 0]), 1, by_class=False), fault_of(torch.tensor([0, 0]), 2, by_class=True)
    ('2 boxes', 'boxes of the classes [0, 0]')
    """
    if len(labels) != things:
        return f"{len(labels)} {'box' if len(labels) == 1 else 'boxes'}"
    if by_class and sorted(labels.tolist()) != list(range(things)):
        return f"boxes of the classes {labels.tolist()}"
    return ""


class LocalizationScores:
    """Success, mean IoU and the scores of `LabelScores` over all things of a set.

    Args:
        classes: names.
        by_class: answer i is of class i; else the answers of an image go to its things so that the sum of IoU is
            largest.
    """

    def __init__(self, classes: Sequence[str], *, by_class: bool = False) -> None:
        self.classes, self.by_class = tuple(classes), by_class
        self.labels = LabelScores(self.classes)
        self.overlap = torch.zeros(len(self.classes), dtype=torch.float64)  # sum of IoU by class of the thing
        self.seen = torch.zeros(len(self.classes), dtype=torch.int64)
        self.successes = self.first_successes = 0

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch, with boxes and labels, and answers with these, top_labels (N, T) and top_boxes (N, T, 4).

        Raises:
            DataError: an image has another number of boxes than answers.
        """
        for i, boxes in enumerate(prediction["boxes"]):
            truth, labels = (value.cpu() for value in counted(batch, i))
            if fault := fault_of(labels, len(boxes), by_class=self.by_class):
                position = int(batch["index"][i]) if "index" in batch else i
                wanted = f"{len(boxes)}{', one of each class' if self.by_class else ''}"
                raise DataError(f"sample {position} has {fault}, and an answer has {wanted}: leave it out")
            keys = ("boxes", "labels", "top_labels", "top_boxes", *(("score",) if "score" in prediction else ()))
            answer = {key: prediction[key][i].cpu() for key in keys}
            self._add(answer, truth, labels)

    def _add(self, answer: Prediction, truth: Tensor, labels: Tensor) -> None:
        order = labels if self.by_class else least_cost(-iou(truth, answer["boxes"])[None])[0]
        answer = {key: value[order] for key, value in answer.items()}
        scores = {key: answer[key] for key in ("top_labels", "score") if key in answer}
        self.labels.update({"label": answer["labels"], **scores}, {"label": labels})
        overlap = iou(answer["boxes"], truth).diag()
        self.overlap.index_add_(0, labels, overlap.double())
        self.seen += torch.bincount(labels, minlength=len(self.seen))
        self.first_successes += int(((answer["labels"] == labels) & (overlap >= NEAR)).sum())
        near = torch.stack([iou(boxes, one[None])[:, 0] for boxes, one in zip(answer["top_boxes"], truth, strict=True)])
        self.successes += int(((answer["top_labels"] == labels[:, None]) & (near >= NEAR)).any(1).sum())

    def merge(self, other: "LocalizationScores") -> None:
        self.labels.merge(other.labels)
        self.overlap += other.overlap
        self.seen += other.seen
        self.successes += other.successes
        self.first_successes += other.first_successes

    def compute(self) -> dict[str, Any]:
        """Computes the scores: shares in 0..1, None where the set has nothing to count.

        Returns:
            success_top1 (right class, IoU at least 0.5), success (the same of one of the five likeliest classes; of all
            classes if there are fewer than 5, so that it says nothing of them), mean_iou (of the box of the answered
            class, right or wrong), iou by class name, and what `LabelScores` computes.
        """
        total = int(self.seen.sum())
        means = (self.overlap / self.seen).tolist()
        return {
            "success_top1": self.first_successes / total if total else None,
            "success": self.successes / total if total else None,
            "mean_iou": float(self.overlap.sum()) / total if total else None,
            "iou": {
                name: mean if seen else None for name, mean, seen in zip(self.classes, means, self.seen, strict=True)
            },
            **self.labels.compute(),
        }
