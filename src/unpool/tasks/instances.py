"""Instances: any number of things in an image, each a box, a class and a mask."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from unpool.metrics.detection_figures import DetectionFigures
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.region_maps import mask_targets, paste_masks
from unpool.ops.run_lengths import encode_rle
from unpool.task import Description
from unpool.tasks.detection import Detection
from unpool.tasks.detection_answers import Selection
from unpool.tasks.detection_losses import Regions
from unpool.tasks.detection_output import Seen, require_branch
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term


class Instances(Detection):
    """Detection by COCO's protocol, and the mask of each thing: its loss is that of the true class alone.

    A mask is learned of the regions that answer for a thing, cell by cell of a grid of 28x28: the share of the cell
    that is in the thing. Things that have a box and no pixel of a mask teach no mask.

    Source: He et al. 2017, arXiv:1703.06870, section 3. Differs in that shares are not rounded to 0 and 1, as in
    torchvision.
    """

    needs = ("image", "boxes", "labels", "masks")
    published = MappingProxyType({"coco": "coco_maskrcnn"})
    takes = ("boxes_and_masks",)
    averages = "the boxes of all with their masks, of which one that overlaps a better one of its class is left out"

    def __init__(
        self, info: DataInfo, *, preprocessing: Preprocessing | None = None, samples: Samples | None = None
    ) -> None:
        super().__init__(info, preprocessing=preprocessing, samples=samples)
        self.best = "mask_ap"

    @property
    def described(self) -> Mapping[str, Description]:
        boxes = super().described
        of_masks = {
            f"mask_{name}": one._replace(title=f"masks: {one.title}")
            for name, one in boxes.items()
            if name.startswith("a")
        }
        return of_masks | {
            name: one._replace(title=f"boxes: {one.title}") if name.startswith("a") else one
            for name, one in boxes.items()
        }

    def freeze(self, model: nn.Module) -> None:
        return

    def forward(self, model: nn.Module, inputs: Batch) -> Seen:
        require_branch(model, "masks", such_as="maskrcnn")
        return super().forward(model, inputs)

    def losses_of_boxes(self, seen: Seen, regions: Sequence[Regions], batch: Batch) -> Losses:
        """`masks`: binary cross-entropy of the cells of the true class, by cell."""
        boxes = [one.boxes[: len(one.rows)] for one in regions]
        labels = torch.cat([one.labels[: len(one.rows)] for one in regions])
        logits = _of_class(seen.region_maps(boxes, len(self.info.classes) + 1), labels)
        side = logits.shape[-1]
        targets, are_known = [], []
        for masks, one, on_image in zip(batch["masks"], regions, Layout.of(batch).boxes_to_image(boxes), strict=True):
            targets.append(mask_targets(masks, one.rows, on_image, side))
            are_known.append(masks.flatten(1).any(1)[one.rows])
        is_known = torch.cat(are_known)
        each = binary_cross_entropy_with_logits(logits[is_known], torch.cat(targets)[is_known], reduction="sum")
        return {"masks": Term(each, is_known.sum().float() * side**2)}

    def answers_of_boxes(
        self, seen: Seen, selected: Sequence[Selection], boxes: Sequence[Tensor], inputs: Batch
    ) -> Prediction:
        """masks (N, H, W) bool at the size of the image, a list of B."""
        labels = torch.cat([one.labels for one in selected]) + 1
        logits = seen.region_maps([one.boxes for one in selected], len(self.info.classes) + 1)
        shares = _of_class(logits, labels).sigmoid().split([len(one) for one in boxes])
        sizes = Layout.of(inputs).size_hw.tolist()
        drawn = [
            paste_masks(of_image, on_image, (height, width))
            for of_image, on_image, (height, width) in zip(shares, boxes, sizes, strict=True)
        ]
        return {"masks": drawn}

    def unmirrored(self, opinion: Prediction, inputs: Batch) -> Prediction:
        return {**super().unmirrored(opinion, inputs), "masks": [one.flip(-1) for one in opinion["masks"]]}

    def metric(self) -> DetectionFigures:
        return DetectionFigures(self.info, masks=True)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """That of detection, and the masks (N, H, W)."""
        return {**super().record(prediction), "masks": prediction["masks"]}

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        """Masks as run lengths in COCO's form, under `segmentations`."""
        written = {key: value for key, value in record.items() if key != "masks"}
        return {**written, "segmentations": [encode_rle(mask) for mask in record["masks"]]}


def _of_class(maps: Tensor, labels: Tensor) -> Tensor:
    """(R, m, m): of maps (R, K + 1, m, m) those of the classes (R,), the background being 0."""
    return maps[torch.arange(len(labels), device=labels.device), labels]
