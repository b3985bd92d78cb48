"""Anchors for a recipe's network: those that it has, those that suit the boxes of its data, and how well both do."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool import models
from unpool.assemble.data import Data, read_data
from unpool.errors import DataError, RecipeError
from unpool.models.catalog import MOST_ITEMS
from unpool.ops.anchors import REACHED, Planned, plan, reached
from unpool.ops.box_sides import Sides, sides_of, sides_of_anchors
from unpool.recipe import PLANNED, Overrides, Recipe, load_recipe
from unpool.tasks import TASKS

LISTED = 20  # boxes of a report, the ones reached least
_log = logging.getLogger(__name__)


class Unreached(NamedTuple):
    """A box that no anchor reaches: its image, class, sides in pixels of the network's input, and best IoU."""

    image: str
    label: str
    width: float
    height: float
    iou: float


class AnchorReport(NamedTuple):
    """How well anchors suit the boxes of a training set, all by their sides alone.

    Attributes:
        boxes: number of them, without crowds and what is difficult.
        share: reached by an anchor of the network at IoU 0.5, of all.
        shares: the same of each class that has boxes.
        unreached: those that are reached least, the worst first, at most `LISTED`.
        planned: width, height, width and so on of anchors planned from the boxes: what `model.anchors` takes.
        planned_share: reached by these.
    """

    boxes: int
    share: float
    shares: dict[str, float]
    unreached: list[Unreached]
    planned: list[int]
    planned_share: float

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "unreached": [one._asdict() for one in self.unreached]}

    def to_text(self) -> str:
        """The shares, a line for each class and each listed box, and the planned anchors."""
        lines = [f"{self.share:7.1%}  of {self.boxes} boxes are reached by an anchor of the network at IoU {REACHED}"]
        lines += [f"{share:7.1%}  of class {name}" for name, share in self.shares.items()]
        lines += [f"{self.planned_share:7.1%}  would be by planned anchors: model.anchors={self.planned}"]
        if self.unreached:
            lines += ["", "reached least, in pixels of the network's input:"]
        return "\n".join(
            [
                *lines,
                *(f"{o.width:5.0f}x{o.height:<5.0f} IoU {o.iou:.2f}  {o.label}  {o.image}" for o in self.unreached),
            ]
        )


def with_planned_anchors(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with numbers in place of `model.anchors: planned`, from the boxes of the training set.

    Raises:
        RecipeError: the network has no anchors.
        DataError: there are fewer boxes of different sides than anchors are due for one a map.
    """
    if recipe.model.options.get("anchors") != PLANNED:
        return recipe
    planned = _plan(recipe, sides_of(data.train.samples, data.preprocessing), len(data.info.classes))
    numbers = as_numbers(planned)
    _log.info(
        "anchors planned from %d boxes reach %.1f %% of them at IoU %.1f: model.anchors is %s",
        *(len(planned.iou), 100 * planned.share_reached, REACHED, numbers),
    )
    return load_recipe(recipe, {"model.anchors": numbers})


def show_anchors(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> AnchorReport:
    """How well the anchors of a recipe's network, and planned ones, suit the boxes of its training set.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one; of detection.
        overrides: `section.key=value` texts, or values by dotted key.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError: the network has no anchors, or the data no boxes.
        DataError: there are too few boxes to plan anchors from.

    Example:
        >>> settings = {"data.count": 8, "model.width": 8}
        >>> show_anchors("scenes_ssd", settings).boxes > 8
        True
    """
    loaded = load_recipe(recipe, overrides)
    if "boxes" not in TASKS[loaded.task.name].needs:
        raise RecipeError(f"task.name is {loaded.task.name}, which learns no boxes; give a recipe of detection")
    return report_anchors(loaded, read_data(loaded, progress=progress))


def report_anchors(recipe: Recipe, data: Data) -> AnchorReport:
    """As `show_anchors`, of data that is read."""
    sides = sides_of(data.train.samples, data.preprocessing)
    planned = _plan(recipe, sides, len(data.info.classes))
    settled = with_planned_anchors(recipe, data)
    best = reached(sides.sides_wh, _anchors_wh(settled, data))
    is_reached = best >= REACHED
    shares = {
        name: float(is_reached[sides.labels == label].double().mean())
        for label, name in enumerate(data.info.classes)
        if (sides.labels == label).any()
    }
    worst = [number for number in best.argsort(stable=True).tolist() if not is_reached[number]][:LISTED]
    return AnchorReport(
        boxes=len(best),
        share=float(is_reached.double().mean()),
        shares=shares,
        unreached=[_unreached(sides, data, best, number) for number in worst],
        planned=as_numbers(planned),
        planned_share=planned.share_reached,
    )


def as_numbers(planned: Planned) -> list[int]:
    """Width, height, width and so on, in whole pixels.

    >>> as_numbers(Planned(torch.tensor([[8.4, 0.2], [20.0, 10.0]]), torch.zeros(0)))
    [8, 1, 20, 10]
    """
    return planned.sides_wh.round().clamp(min=1).int().flatten().tolist()


def _plan(recipe: Recipe, sides: Sides, num_classes: int) -> Planned:
    """As many anchors for each map of the network as it has by default, on average, or fewer where boxes are few."""
    counts = _counts(recipe, num_classes)
    kinds = len(sides.sides_wh[sides.sides_wh.prod(1) > 0].round().unique(dim=0))
    each = min(-(-sum(counts) // len(counts)), kinds // len(counts), MOST_ITEMS // (2 * len(counts)))
    if not each:
        raise DataError(
            f"anchors cannot be planned: the training set has {kinds} boxes of different sides, and the network asks "
            f"for one for each of {len(counts)} maps at least; leave model.anchors out"
        )
    return plan(sides.sides_wh, each * len(counts))


def _counts(recipe: Recipe, num_classes: int) -> Sequence[int]:
    """Anchors of each position, map by map, as the network has them by default."""
    options = {key: value for key, value in recipe.model.options.items() if key != "anchors"}
    with torch.device("meta"):
        network = models.build(recipe.model.name, backbone=recipe.model.backbone, num_classes=num_classes, **options)
    counts = getattr(getattr(network, "anchors", None), "counts", ())
    if not counts:
        raise RecipeError(f"model.name is {recipe.model.name}, which has no anchors; choose a detector of anchors")
    return counts


def _anchors_wh(recipe: Recipe, data: Data) -> Tensor:
    """(M, 2) sides of the network's anchors, asked of it with an empty image of the size of the first one's input."""
    network = models.build(
        recipe.model.name,
        backbone=recipe.model.backbone,
        num_classes=len(data.info.classes),
        in_channels=recipe.data.channels,
        **recipe.model.options,
    ).eval()
    height, width = data.train.samples.sizes_hw[0]
    size_hw = data.preprocessing.layout((height, width)).input_hw
    with torch.inference_mode():
        return sides_of_anchors(network(torch.zeros(1, recipe.data.channels, *size_hw)).anchors)


def _unreached(sides: Sides, data: Data, best: Tensor, number: int) -> Unreached:
    width, height = sides.sides_wh[number].tolist()
    name = data.train.samples.names[int(sides.samples[number])]
    return Unreached(name, data.info.classes[int(sides.labels[number])], width, height, float(best[number]))
