"""Anchors for a recipe's network: those that it has, those that suit the boxes of its data, and how well both do."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from unpool import models
from unpool.assemble.data import Data, read_data
from unpool.errors import DataError, RecipeError
from unpool.layers.anchors import Anchors, shared_out
from unpool.models.catalog import MOST_ITEMS
from unpool.ops.anchors import REACHED, plan_maps
from unpool.ops.box_sides import SetBoxes, boxes_of, reach
from unpool.pages.blocks import Bar, bars, note, table
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import PLANNED, Overrides, Recipe, load_recipe
from unpool.tasks import TASKS

Pair = tuple[int, int]
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
    """How well anchors suit the boxes of a training set, where both stand on the network's input.

    Attributes:
        boxes: number of them, without crowds and what is difficult.
        share: reached by an anchor of the network at IoU 0.5, of all.
        shares: the same of each class that has boxes.
        unreached: those that are reached least, the worst first, at most `LISTED`.
        planned: width, height, width and so on of anchors planned from the boxes: what `model.anchors` takes.
        planned_share: reached by these; `model.anchors: planned` takes them where it is not less than by default.
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

    def view(self) -> View:
        """The shares by class, the boxes that are reached least, and the planned anchors."""
        shares = [Bar("all", self.share, f"{self.share:.1%}"), *(Bar(k, v, f"{v:.1%}") for k, v in self.shares.items())]
        planned = note(f"Planned anchors would reach {self.planned_share:.1%}: model.anchors={self.planned}")
        rows = [
            (one.image, one.label, round(one.width), round(one.height), round(one.iou, 2)) for one in self.unreached
        ]
        least = [table(rows, headings=("image", "class", "width", "height", "IoU"))] if rows else []
        sections = [
            Section(f"Boxes that an anchor reaches at IoU {REACHED}", [bars(shares), planned]),
            Section("Reached least", least),
        ]
        return View(f"Anchors and {self.boxes:,} boxes", sections, self.to_json())

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def save(self, path: str | Path) -> Path:
        """Writes the page; see `View.save`."""
        return self.view().save(path)


def with_planned_anchors(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with numbers in place of `model.anchors: planned`, from the boxes of the training set.

    Where these reach fewer boxes than the network's default ones, those are kept.

    Raises:
        RecipeError: the network has no anchors.
        DataError: there are fewer boxes of different sides than anchors are due for one a map.
    """
    if recipe.model.options.get("anchors") != PLANNED:
        return recipe
    set_boxes, network = boxes_of(data.train.samples, data.preprocessing), _Network(recipe, data)
    numbers = _plan(network, data, set_boxes)
    share, kept = _share(network.best(set_boxes, numbers)), _share(network.best(set_boxes))
    if share < kept and not (network.default.is_share and recipe.data.shorter):
        text = "anchors planned from %d boxes would reach %.1f %% of them at IoU %.1f, the default ones %.1f %%: kept"
        _log.info(text, len(set_boxes.boxes), 100 * share, REACHED, 100 * kept)
        return load_recipe(recipe, {"model.anchors": []})
    _log.info(
        "anchors planned from %d boxes reach %.1f %% of them at IoU %.1f, default ones %.1f %%: model.anchors is %s",
        *(len(set_boxes.boxes), 100 * share, REACHED, 100 * kept, numbers),
    )
    return load_recipe(recipe, {"model.anchors": numbers})


def with_planned_proposals(recipe: Recipe, data: Data) -> Recipe:
    """The recipe with numbers in place of the planned shapes of `data.proposals`, as the data was read with."""
    if recipe.data.proposals == data.preprocessing.proposals:
        return recipe
    return load_recipe(recipe, {"data.proposals": data.preprocessing.proposals})


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
    set_boxes = boxes_of(data.train.samples, data.preprocessing)
    network = _Network(recipe, data)
    planned = _plan(network, data, set_boxes)
    settled = with_planned_anchors(recipe, data)
    best = network.best(set_boxes, settled.model.options.get("anchors", ()))
    is_reached = best >= REACHED
    shares = {
        name: float(is_reached[set_boxes.labels == label].double().mean())
        for label, name in enumerate(data.info.classes)
        if (set_boxes.labels == label).any()
    }
    worst = [number for number in best.argsort(stable=True).tolist() if not is_reached[number]][:LISTED]
    return AnchorReport(
        boxes=len(best),
        share=_share(best),
        shares=shares,
        unreached=[_unreached(set_boxes, data, best, number) for number in worst],
        planned=planned,
        planned_share=_share(network.best(set_boxes, planned)),
    )


def _share(best: Tensor) -> float:
    return float((best >= REACHED).double().mean())


class _Network:
    """A recipe's network without values, asked where its anchors stand; `default` ones are those of no option.

    Raises:
        RecipeError: it has none.
    """

    def __init__(self, recipe: Recipe, data: Data) -> None:
        options = {key: value for key, value in recipe.model.options.items() if key != "anchors"}
        with torch.device("meta"):
            self._network = models.build(
                recipe.model.name,
                backbone=recipe.model.backbone,
                num_classes=len(data.info.classes),
                in_channels=recipe.data.channels,
                **options,
            ).eval()
        self._channels = recipe.data.channels
        self._maps: dict[Pair, list[Pair]] = {}
        if not getattr(getattr(self._network, "anchors", None), "counts", ()):
            raise RecipeError(f"model.name is {recipe.model.name}, which has no anchors; choose a detector of anchors")
        self.default = cast(Anchors, self._network.anchors)

    def maps_hw(self, input_hw: Pair) -> list[Pair]:
        """Sizes of the maps that anchors stand on."""
        if input_hw not in self._maps:
            seen: list[Pair] = []
            hook = self.default.register_forward_pre_hook(
                lambda module, inputs: seen.extend((x.shape[-2], x.shape[-1]) for x in inputs[0])
            )
            with torch.inference_mode():
                self._network(torch.zeros(1, self._channels, *input_hw, device="meta"))
            hook.remove()
            self._maps[input_hw] = seen
        return self._maps[input_hw]

    def best(self, set_boxes: SetBoxes, numbers: Sequence[int] = ()) -> Tensor:
        """(N,) IoU of each box with the best of its anchors, or of those that the numbers say in their stead."""
        old = self.default
        anchors = old
        if numbers:
            shapes = shared_out(numbers, len(old.counts))
            anchors = Anchors(shapes, old.strides, centre=old.centre, is_whole=old.is_whole)
        return reach(set_boxes, lambda hw: anchors([torch.empty(1).expand(one) for one in self.maps_hw(hw)], hw))


def _plan(network: _Network, data: Data, set_boxes: SetBoxes) -> list[int]:
    """Width, height, width and so on of as many anchors for each map as there are by default, on average.

    Fewer where boxes are few.
    """
    counts, sides = network.default.counts, set_boxes.sides_wh
    kinds = len(sides[sides.prod(1) > 0].round().unique(dim=0))
    each = min(-(-sum(counts) // len(counts)), kinds // len(counts), MOST_ITEMS // (2 * len(counts)))
    if not each:
        raise DataError(
            f"anchors cannot be planned: the training set has {kinds} boxes of different sides, and the network asks "
            f"for one for each of {len(counts)} maps at least; leave model.anchors out"
        )
    height, width = data.train.samples.sizes_hw[0]
    input_hw = data.preprocessing.layout((height, width)).input_hw
    strides = [input_hw[0] / rows for rows, _ in network.maps_hw(input_hw)]
    shapes = plan_maps(sides, strides, each).round().clamp(min=1, max=int(set_boxes.input_hw.amax()))
    return shapes.int().flatten().tolist()


def _unreached(set_boxes: SetBoxes, data: Data, best: Tensor, number: int) -> Unreached:
    width, height = set_boxes.sides_wh[number].tolist()
    name = data.train.samples.names[int(set_boxes.samples[number])]
    return Unreached(name, data.info.classes[int(set_boxes.labels[number])], width, height, float(best[number]))
