"""What a detector gives for each image of a set, and what is there: plain arrays, from which all scores are counted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.ops.boxes import areas
from unpool.ops.run_lengths import encode_rle
from unpool.types import Batch, Prediction

Segmentation = Mapping[str, Any]  # as `ops.run_lengths` writes it


class Truth(NamedTuple):
    """The N things of one image.

    Attributes:
        boxes: (N, 4) float64 xyxy.
        labels: (N,) int64.
        areas: (N,) float64 pixels, as the data set has them; else of the mask; else of the box.
        crowd: (N,) bool.
        difficult: (N,) bool.
        masks: N segmentations; None where masks are not recorded.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    masks: tuple[Segmentation, ...] | None

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """(N,) who need not be detected."""
        return self.crowd | self.difficult


class Detections(NamedTuple):
    """The M detections in one image, the best first, and its truth.

    Attributes:
        position: in the reader, by which images are ordered.
        size_hw: of the image as decoded.
        boxes: (M, 4) float64 xyxy; one that is not finite is empty.
        labels: (M,) int64.
        score: (M,) float64; minus infinity for one that is no number.
        masks: M segmentations; None where masks are not recorded.
        mask_areas: (M,) float64 pixels of the masks.
        truth: what is there.
    """

    position: int
    size_hw: tuple[int, int]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    score: NDArray[np.float64]
    masks: tuple[Segmentation, ...] | None
    mask_areas: NDArray[np.float64]
    truth: Truth


class DetectionRecord:
    """Detections and truth of a whole set.

    Args:
        classes: names by label.
        masks: whether masks are recorded too, as run lengths.

    Attributes:
        images: in the order of the updates; `ordered` has them by index.
    """

    def __init__(self, classes: Sequence[str], *, masks: bool = False) -> None:
        self.classes = tuple(classes)
        self.has_masks = masks
        self.images: list[Detections] = []
        self._keys = ("boxes", "labels", "score", *(("masks",) if masks else ()))

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: boxes, labels, score and, where they are recorded, masks, each a list of B tensors.

        The batch has boxes, labels, size_hw and index, and where the data set knows them crowd, difficult and areas.

        Raises:
            ValueError: a label is no class, a mask has another size than its image, or the numbers of things differ.
        """
        for i in range(len(batch["boxes"])):
            height, width = batch["size_hw"][i].tolist()
            things = {key: batch[key][i].cpu() for key in _TRUTH if key in batch}
            parts = {key: prediction[key][i].cpu() for key in self._keys if key in prediction}
            self._check("the batch", things, (height, width))
            self._check("the prediction", parts, (height, width))
            position = int(batch["index"][i])
            self.images.append(self._detections(parts, position, (height, width), self._truth(things)))

    def _truth(self, things: Mapping[str, Tensor]) -> Truth:
        none = torch.zeros(len(things["boxes"]), dtype=torch.bool)
        sizes = things["masks"].flatten(1).sum(1) if "masks" in things else areas(things["boxes"])
        return Truth(
            boxes=things["boxes"].numpy().astype(np.float64),
            labels=things["labels"].numpy().astype(np.int64),
            areas=things.get("areas", sizes).numpy().astype(np.float64),
            crowd=things.get("crowd", none).numpy().astype(np.bool_),
            difficult=things.get("difficult", none).numpy().astype(np.bool_),
            masks=self._encoded(things),
        )

    def _detections(
        self, parts: Mapping[str, Tensor], position: int, size_hw: tuple[int, int], truth: Truth
    ) -> Detections:
        score = parts["score"].double().nan_to_num(nan=-torch.inf)
        order = score.argsort(descending=True, stable=True)
        parts = {key: values[order] for key, values in parts.items()}
        boxes = parts["boxes"].double()
        boxes = torch.where(boxes.isfinite().all(1, keepdim=True), boxes, 0.0)
        boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2])
        sizes = parts["masks"].flatten(1).sum(1) if self.has_masks else torch.zeros(len(boxes))
        return Detections(
            position=position,
            size_hw=size_hw,
            boxes=boxes.numpy(),
            labels=parts["labels"].long().numpy(),
            score=score[order].numpy(),
            masks=self._encoded(parts),
            mask_areas=sizes.double().numpy(),
            truth=truth,
        )

    def _check(self, source: str, parts: Mapping[str, Tensor], size_hw: tuple[int, int]) -> None:
        numbers = {key: len(values) for key, values in parts.items()}
        if len(set(numbers.values())) > 1:
            raise ValueError(f"an image of {source} has {numbers}; expected as many of each")
        if self.has_masks and "masks" not in parts:
            raise ValueError(f"{source} has no masks, which are to be scored; score boxes alone, or give masks")
        if self.has_masks and tuple(parts["masks"].shape[1:]) != size_hw:
            raise ValueError(
                f"masks of {source} are {tuple(parts['masks'].shape)}, the image {size_hw} (H, W); "
                "give masks at the size of the image"
            )
        labels = parts["labels"].long()
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= len(self.classes)):
            raise ValueError(
                f"labels of {source} are {labels.unique().tolist()[:20]}, not all in 0..{len(self.classes) - 1}; "
                "the background is no class"
            )

    def _encoded(self, parts: Mapping[str, Tensor]) -> tuple[Segmentation, ...] | None:
        return tuple(encode_rle(mask) for mask in parts["masks"]) if self.has_masks else None

    def merge(self, other: "DetectionRecord") -> None:
        """Adds another part of the set.

        Raises:
            ValueError: it is of other classes, or only one of them has masks.
        """
        if (other.classes, other.has_masks) != (self.classes, self.has_masks):
            raise ValueError(f"cannot merge detections of {other.classes} into those of {self.classes}")
        self.images += other.images

    def ordered(self) -> list[Detections]:
        """Returns the images by index, so that equal scores are ranked alike however the set was divided."""
        return sorted(self.images, key=lambda image: image.position)


_TRUTH = ("boxes", "labels", "areas", "crowd", "difficult", "masks")
