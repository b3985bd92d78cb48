"""Detection: any number of things in an image, each a box and a class.

One task for every detector. What the network returns says which losses and answers are due: `AnchoredBoxes` of one
stage, whose classes are independent or exclude one another by the number of scores, `GridBoxes` of one whose cells
answer for what lies in them, `ProposedRegions` of two stages, or `RegionMaps`, of which regions are read that are given
with each image (`proposals`). The published numbers that go with a network, such as thresholds and the size of samples,
are its attribute `practice`.
"""

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.detection_figures import DetectionFigures
from unpool.metrics.detection_record import DetectionRecord
from unpool.metrics.mistakes import mistakes_of
from unpool.ops.anchors import best_iou
from unpool.ops.box_sides import SetBoxes, boxes_of, on_input, warning_of
from unpool.ops.drawing import complete_palette
from unpool.ops.drawing_boxes import SURE, draw_things
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.views import mirrored_boxes
from unpool.task import Description, Exhibit, Explained, Results, TrainingSetup
from unpool.tasks.detection_answers import (
    Selection,
    answer_one_stage,
    answer_two_stages,
    join_boxes,
    on_image,
    on_images,
    score_anchors,
)
from unpool.tasks.detection_explained import chosen_box, explained_box
from unpool.tasks.detection_grid import answer_grid, crowded_cells, grid_losses, score_cells
from unpool.tasks.detection_losses import (
    Regions,
    draw_regions,
    first_stage_losses,
    one_stage_losses,
    second_stage_losses,
)
from unpool.tasks.detection_output import Detector, Seen, look
from unpool.tasks.detection_results import as_results, image_ids
from unpool.tasks.detection_truth import truths
from unpool.tasks.one_forward import OneForward
from unpool.types import (
    AnchoredBoxes,
    Batch,
    ClassifiedRegions,
    DataInfo,
    GridBoxes,
    Losses,
    Prediction,
    ProposedRegions,
    RegionMaps,
    Samples,
)

_MORE = {
    "precision": Description("Precision at IoU 0.5", unit="recall", is_share=True, each="class", is_curve=True),
    "mistake_costs": Description("AP at IoU 0.5 lost to mistakes", is_share=True, higher_is_better=False, each="kind"),
    "mistakes": Description("Mistakes", higher_is_better=False, each="kind"),
}
_log = logging.getLogger(__name__)


class Detection(OneForward):
    """The losses of one stage or two, boxes without their weaker doubles, average precision.

    Crowds and things that are difficult take no part in the losses: what lies in them is neither to be detected nor
    background. How the metric counts them, the protocol says.

    Args:
        info: class names, without a background.
        protocol: of the metric, "coco" or "voc".
        preprocessing: what the images go through; refused where it cuts borders off, on which things may lie.
        samples: the training set, whose boxes are compared with the network's anchors.
    """

    needs = ("image", "boxes", "labels")
    inputs = ("image", "size_hw", "valid_xyxy", "proposals")
    points = ("boxes",)
    published = MappingProxyType({"coco": "coco_fasterrcnn"})
    takes = ("boxes", "boxes_of_proposals", "boxes_and_masks")
    views = ("flip", "colors")
    averages = "the boxes of all, of which one that overlaps a better one of its class is left out"
    joins_networks = True

    def __init__(
        self,
        info: DataInfo,
        *,
        protocol: Literal["coco", "voc"] = "coco",
        preprocessing: Preprocessing | None = None,
        samples: Samples | None = None,
    ) -> None:
        super().__init__()
        if not info.classes:
            raise RecipeError("detection needs class names; the data set gives none")
        preprocessing = preprocessing or Preprocessing()
        preprocessing.check_borders("on which things may lie")
        self.info = info
        self.protocol: Literal["coco", "voc"] = protocol
        self.best = "ap" if protocol == "coco" else "voc_ap"
        self.palette = complete_palette(info.palette, len(info.classes))
        self._set_boxes: SetBoxes | None = None if samples is None else boxes_of(samples, preprocessing)
        self._is_compared = samples is None

    @property
    def outputs(self) -> int:
        """Classes of things; a network whose classes exclude one another adds the background itself."""
        return len(self.info.classes)

    @property
    def described(self) -> Mapping[str, Description]:
        if self.protocol == "voc":
            return {
                "voc_ap": Description("AP at IoU 0.5 (VOC)", is_share=True),
                "voc_ap_11": Description("AP at IoU 0.5, 11 points (VOC)", is_share=True),
                "voc_ap_by_class": Description("AP at IoU 0.5", is_share=True, each="class"),
                **_MORE,
            }
        shares = {
            "ap": "AP at IoU 0.5 to 0.95",
            "ap50": "AP at IoU 0.5",
            "ap75": "AP at IoU 0.75",
            "ap_small": "AP of things up to 32x32 pixels",
            "ap_medium": "AP of things up to 96x96 pixels",
            "ap_large": "AP of larger things",
            "ar100": "recall of 100 boxes",
        }
        by_class = {"ap_by_class": "AP at IoU 0.5 to 0.95", "ap50_by_class": "AP at IoU 0.5"}
        return {name: Description(title, is_share=True) for name, title in shares.items()} | {
            **{name: Description(title, is_share=True, each="class") for name, title in by_class.items()},
            **_MORE,
        }

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """The score of the surest box that is of another class, in another place, or where nothing is."""
        record = DetectionRecord(self.info.classes)
        record.update(prediction, batch)
        image = record.images[0]
        wrong = [float(score) for score, kind in zip(image.score, mistakes_of(image).kinds, strict=True) if kind]
        return max(wrong, default=None)

    def freeze(self, model: nn.Module) -> None:
        """Takes the gradient of a branch that gives more of each box than this task learns."""
        branch = getattr(model, "branch", None) if hasattr(model, "region_maps") else None
        if isinstance(branch, nn.Module):
            branch.requires_grad_(requires_grad=False)

    def forward(self, model: nn.Module, inputs: Batch) -> Seen:
        """What the network gives for the images.

        Raises:
            RecipeError: it is no detector, or scores another number of classes.
        """
        return look(model, inputs, num_classes=len(self.info.classes))

    def loss(self, output: Seen, batch: Batch) -> Losses:
        """`classes` and `boxes`; of two stages also `objectness` and `proposals`, of the first; of cells also
        `confidences` and `background`.

        Nothing that is drawn depends on anything but the step and the image. An image without boxes is background.
        """
        seen, truth, practice = output, truths(batch, is_training=output.is_training), output.detector.practice
        weights, input_hw = seen.detector.box_weights, (batch["image"].shape[-2], batch["image"].shape[-1])
        if seen.is_training and not isinstance(seen.output, RegionMaps):
            self._compare(seen.output, input_hw)
        if isinstance(seen.output, GridBoxes):
            return grid_losses(seen.output, truth, practice, input_hw=input_hw)
        if isinstance(seen.output, AnchoredBoxes):
            return one_stage_losses(seen.output, truth, practice, weights=weights, num_classes=len(self.info.classes))
        losses: Losses = {}
        if isinstance(seen.output, ProposedRegions):
            losses = first_stage_losses(seen.output, truth, seen.proposing)
        regions = [draw_regions(*pair, practice) for pair in zip(seen.proposals, truth, strict=True)]
        classified = seen.classify([one.boxes for one in regions])
        losses |= second_stage_losses(
            classified, regions, practice, weights=weights, is_exclusive=self._is_exclusive(classified)
        )
        return losses | self.losses_of_boxes(seen, regions, batch)

    def losses_of_boxes(self, seen: Seen, regions: Sequence[Regions], batch: Batch) -> Losses:
        """Terms of what is learned of the regions beside class and box; written by a task that has more."""
        return {}

    def _is_exclusive(self, classified: ClassifiedRegions) -> bool:
        """Whether classes exclude one another, the background among them."""
        return classified.scores.shape[1] == len(self.info.classes) + 1

    def decode(self, output: Seen, inputs: Batch) -> Prediction:
        """boxes (N, 4) on the image of `size_hw`, labels (N,) and score (N,), lists of B, each the best first."""
        seen, weights = output, output.detector.box_weights
        valid, practice, layout = seen.valid_xyxy, seen.detector.practice, Layout.of(inputs)
        if isinstance(seen.output, GridBoxes):
            selected = answer_grid(seen.output, valid, practice, input_hw=layout.input_hw)
        elif isinstance(seen.output, AnchoredBoxes):
            selected = answer_one_stage(
                seen.output, valid, practice, weights=weights, num_classes=len(self.info.classes)
            )
        else:
            classified = seen.classify(seen.proposals)
            is_exclusive = self._is_exclusive(classified)
            selected = answer_two_stages(
                classified, seen.proposals, valid, practice, weights=weights, is_exclusive=is_exclusive
            )
        answer = on_images(selected, layout)
        return answer | self.answers_of_boxes(seen, selected, answer["boxes"], inputs)

    def answers_of_boxes(
        self, seen: Seen, selected: Sequence[Selection], boxes: Sequence[Tensor], inputs: Batch
    ) -> Prediction:
        """What is answered of the selected boxes, which are `boxes` on their images, beside class and score."""
        return {}

    def looked_at(self, output: Seen, inputs: Batch) -> list[Tensor]:
        """B times boxes (N, 4) on the image of `size_hw` that the answer is chosen from, the best first.

        Of two stages, or of regions that were given, the proposals; of one those anchors, or predictors of cells, of
        which some class has a score that an answer may have, each moved to its box.
        """
        seen, practice, layout = output, output.detector.practice, Layout.of(inputs)
        if isinstance(seen.output, AnchoredBoxes):
            weights, classes = seen.detector.box_weights, len(self.info.classes)
            boxes = [
                one.above(practice.score) for one in score_anchors(seen.output, weights=weights, num_classes=classes)
            ]
        elif isinstance(seen.output, GridBoxes):
            boxes = [one.above(practice.score) for one in score_cells(seen.output, input_hw=layout.input_hw)]
        else:
            boxes = seen.proposals
        return on_image(boxes, layout)

    def explained(self, model: nn.Module, inputs: Batch, target: str | None) -> Explained:
        """The score of a box, by its number in the answer or by a class; of the best where none is named."""
        with torch.no_grad():
            answer = self.answer(model, inputs)
        classes = self.info.classes
        number = chosen_box(answer, target, classes)
        return explained_box(model, self.inputs_of(inputs), answer, number, classes=classes)

    def opinion(self, model: nn.Module, inputs: Batch) -> Prediction:
        return self.answer(model, inputs)

    def unmirrored(self, opinion: Prediction, inputs: Batch) -> Prediction:
        widths = inputs["size_hw"][:, 1].tolist()
        boxes = [mirrored_boxes(one, width) for one, width in zip(opinion["boxes"], widths, strict=True)]
        return {**opinion, "boxes": boxes}

    def reordered(self, opinion: Prediction, order: Sequence[int]) -> Prediction:
        labels = opinion["labels"]
        position = torch.tensor(order, device=labels[0].device).argsort()
        return {**opinion, "labels": [position[one] for one in labels]}

    def conclude(self, model: nn.Module, opinions: Sequence[Prediction], inputs: Batch) -> Prediction:
        """The boxes of all opinions without their weaker doubles, as the detector leaves out its own.

        So each box and score is one that a network gave, and scores can be compared with those of one opinion; the
        mean of boxes (box voting) would need a number of its own that nothing was trained or published with.
        """
        return join_boxes(opinions, cast(Detector, model).practice)

    def metric(self) -> DetectionFigures:
        return DetectionFigures(self.info, protocol=self.protocol)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """Of each box its corners, its class by number and name, and how sure it is, the surest first."""
        labels = prediction["labels"].tolist()
        return {
            "boxes": prediction["boxes"].tolist(),
            "labels": labels,
            "classes": [self.info.classes[label] for label in labels],
            "score": prediction["score"].tolist(),
        }

    def results(self, records: Sequence[Mapping[str, Any]]) -> Results:
        """The boxes as COCO's result files have them; the records with the number of each image in them.

        What the number of an image is, a line of the log says. Categories have the numbers of the data set's own files;
        where those have none, 1 and so on.
        """
        numbers, what = image_ids([record["image"] for record in records])
        if records:
            _log.info(
                "image_id of each image is %s, as in images.json; to compare with annotations that number images in "
                "another way, name the files by those numbers",
                what,
            )
        numbered = [{"image_id": number, **record} for number, record in zip(numbers, records, strict=True)]
        return Results(as_results(numbered, self.info.class_ids), numbered)

    def brief(self, written: Mapping[str, Any]) -> str:
        """How many things of each class there are, of those that are likelier than not."""
        sure = [name for name, score in zip(written["classes"], written["score"], strict=True) if score >= SURE]
        counts = {name: sure.count(name) for name in self.info.classes if name in sure}
        return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with its boxes over its masks, of an answer those that are likelier than not.

        Those of a target that do not count, crowds and difficult ones, are thin and without a name.
        """
        return draw_things(image, target, classes=self.info.classes, palette=self.palette, least=SURE)

    @property
    def legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """The colour of each class."""
        return tuple(zip(self.info.classes, self.palette, strict=True))

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """Truth and answer, and how many things each has."""
        sure = sum(score >= SURE for score in record["score"])
        drawn = (("truth", self.draw(image, target)), ("prediction", self.draw(image, record)))
        text = f"things: {len(target['boxes'])} in truth, {sure} in the answer from a score of {SURE:.0%} on"
        return Exhibit(drawn, caption=text)

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        boxes = [[side / step for side in box] for box in record["boxes"]]
        return {**super().thinned(record, step), "boxes": boxes}

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """That many images have no box."""
        count = len(setup.sizes_hw)
        without = self._set_boxes.without if self._set_boxes is not None else 0
        if 2 * without <= count:
            return []
        return [f"{without} of {count} training images have no box and are learned as background: is that so?"]

    def _compare(self, output: AnchoredBoxes | GridBoxes | ProposedRegions, input_hw: tuple[int, int]) -> None:
        """Logs once which boxes of the training set no anchor reaches where it stands, or no cell has room for.

        That is with the first batch whose input has the size of some images, and of these images.
        """
        if self._is_compared or self._set_boxes is None:
            return
        here = on_input(self._set_boxes, input_hw)
        self._is_compared = len(here.boxes) > 0
        if not self._is_compared:
            return
        if isinstance(output, GridBoxes):
            rows, columns, most = output.confidences.shape[1:]
            text = crowded_cells(here, (rows, columns), most)
        else:
            best = best_iou(here.boxes, output.anchors.float().cpu(), output.level.cpu())
            text = warning_of(here, best, self.info.classes)
        if text:
            _log.warning(text)
