"""What a detector gives for a batch, checked once, and how to go on from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.ops.layout import Layout
from unpool.tasks.detection_answers import clip, propose
from unpool.tasks.detection_practice import Practice, Proposing
from unpool.tasks.one_forward import to_float32
from unpool.types import AnchoredBoxes, Batch, ClassifiedRegions, GridBoxes, ProposedRegions, RegionMaps


class Detector(Protocol):
    """What a network has beside its output; `classify(maps, boxes, input_hw)` too where it classifies regions.

    One that gives masks or joints of boxes has `region_maps(maps, boxes, input_hw)` too, logits (R, C, side, side).
    """

    practice: Practice
    box_weights: Sequence[float]
    classify: Callable[[tuple[Tensor, ...], list[Tensor], tuple[int, int]], ClassifiedRegions]
    region_maps: Callable[[tuple[Tensor, ...], list[Tensor], tuple[int, int]], Tensor]


@dataclass(frozen=True)
class Seen:
    """What a network gave for a batch, in float32 but for the maps of its first stage.

    Attributes:
        output: of the network.
        detector: the network.
        classify: B times regions (R, 4) to what the second stage says of them, in the precision of the first.
        region_maps: the same, and the number of channels due, to the maps of the third branch, where there is one.
        valid_xyxy: (B, 4) the part of the input that shows each image.
        is_training: whether the network was in training mode.
        regions: B times regions (R, 4) on the network's input that were given with the images, of `RegionMaps`.
    """

    output: AnchoredBoxes | GridBoxes | ProposedRegions | RegionMaps
    detector: Detector
    classify: Callable[[list[Tensor]], ClassifiedRegions]
    region_maps: Callable[[list[Tensor], int], Tensor]
    valid_xyxy: Tensor
    is_training: bool
    regions: list[Tensor] | None = None

    @property
    def proposing(self) -> Proposing:
        """Numbers of the first of two stages."""
        numbers = self.detector.practice.proposing
        if numbers is None:
            raise RecipeError(
                "the network has two stages, and its practice has no `proposing`, the numbers of the first"
            )
        return numbers

    @cached_property
    def proposals(self) -> list[Tensor]:
        """B times regions (R, 4): of the first of two stages, or those that were given."""
        if self.regions is not None:
            return self.regions
        output = cast(ProposedRegions, self.output)
        return propose(output, self.valid_xyxy, self.proposing, is_training=self.is_training)


def look(model: nn.Module, inputs: Batch, *, num_classes: int) -> Seen:
    """What a network gives for the images of a batch.

    Raises:
        RecipeError: it is no detector, lacks what one has, or scores another number of classes.
    """
    image = inputs["image"]
    output = model(image)
    _check(output, model, num_classes)
    layout = Layout.of(inputs)
    detector, kind = cast(Detector, model), image.device.type
    dtype, is_enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

    def in_precision(stage: Callable[..., Any], boxes: list[Tensor]) -> Any:
        with torch.autocast(kind, dtype=dtype, enabled=is_enabled):
            return to_float32(stage(output.maps, boxes, layout.input_hw))

    def classify(boxes: list[Tensor]) -> ClassifiedRegions:
        classified = in_precision(detector.classify, boxes)
        allowed = (num_classes, num_classes + 1) if isinstance(output, RegionMaps) else (num_classes + 1,)
        _check_scores(classified.scores.shape[1], allowed, num_classes)
        if model.training and classified.scores.shape[1] == num_classes:
            raise RecipeError(
                "the network's support vector machines are fitted to features and not trained: train rcnn, then call "
                "`unpool probe RECIPE --by svm` with model.weights=RUN/model.safetensors"
            )
        return classified

    def region_maps(boxes: list[Tensor], channels: int) -> Tensor:
        maps = in_precision(detector.region_maps, boxes)
        if maps.shape[1] != channels:
            raise RecipeError(
                f"the network gives {maps.shape[1]} maps a box where {channels} were due; build it with as many "
                "classes or joints as the data has"
            )
        return maps

    valid = layout.valid_xyxy.to(image.device)
    if isinstance(output, RegionMaps):
        full, regions = output, regions_of(inputs, layout, valid)
    else:
        full, regions = _without_maps(output) if isinstance(output, ProposedRegions) else to_float32(output), None
    return Seen(full, detector, classify, region_maps, valid, model.training, regions)


def require_branch(model: nn.Module, what: str, *, such_as: str) -> None:
    """Raises RecipeError unless a network's `region_maps` give `what` of each box."""
    if getattr(model, "of_boxes", None) != what or not hasattr(model, "region_maps"):
        raise RecipeError(
            f"the network gives no {what} of boxes (`region_maps`, with `of_boxes` as {what!r}): take one that does, "
            f"such as {such_as}"
        )


def _without_maps(output: ProposedRegions) -> ProposedRegions:
    """The output in float32 but for its maps, which stay as they are."""
    return to_float32(output._replace(maps=()))._replace(maps=output.maps)


def regions_of(inputs: Batch, layout: Layout, valid_xyxy: Tensor) -> list[Tensor]:
    """B times (R, 4): the proposals of a batch on the network's input, within the image; all of it where none is."""
    if "proposals" not in inputs:
        raise RecipeError(
            "the network classifies regions that are given with each image, and these have none: set data.proposals, "
            "such as selective_search"
        )
    moved = layout.boxes_to_input([one.float() for one in inputs["proposals"]])
    regions = []
    for boxes, valid in zip(moved, valid_xyxy, strict=True):
        clipped = clip(boxes.to(valid_xyxy.device), valid)
        kept = clipped[(clipped[:, 2:] > clipped[:, :2]).all(1)]
        regions.append(kept if len(kept) else valid[None].to(clipped))
    return regions


def _check(output: Any, model: nn.Module, num_classes: int) -> None:
    if not isinstance(output, AnchoredBoxes | GridBoxes | ProposedRegions | RegionMaps):
        raise RecipeError(
            f"the network gives a {type(output).__name__} and no boxes; detection needs a detector, such as "
            "fasterrcnn, ssd, retinanet or yolo"
        )
    lacks = [name for name in ("practice", "box_weights") if not hasattr(model, name)]
    if lacks:
        raise RecipeError(f"the network has no {' and no '.join(lacks)}, the numbers that a detector goes by: add it")
    if isinstance(output, AnchoredBoxes):
        _check_scores(output.scores.shape[2], (num_classes, num_classes + 1), num_classes)
    if isinstance(output, GridBoxes):
        _check_scores(output.classes.shape[3], (num_classes,), num_classes)


def _check_scores(count: int, allowed: Sequence[int], num_classes: int) -> None:
    if count not in allowed:
        raise RecipeError(
            f"the network gives {count} scores a box where {' or '.join(map(str, allowed))} were due, "
            f"{num_classes + 1} with the background; build it with num_classes={num_classes}"
        )
