"""Pictures for the report: validation images with truth and prediction, those that went worst, and what was seen."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from unpool.assemble.augmented import draw_augmented
from unpool.assemble.data import Data
from unpool.assemble.first_filters import FirstFilters
from unpool.data.loader import Loader
from unpool.errors import UnpoolError
from unpool.ops.drawing import drawable
from unpool.pages.page import Section
from unpool.recipe import Recipe
from unpool.report import Example, sheet_section
from unpool.task import first_sample
from unpool.training.job import MemoryFormat, lay_out
from unpool.training.step import Step, total_loss
from unpool.types import Batch, Prediction, Samples, Transform

LOOKED_AT = 200  # samples, evenly spread, among which the worst are sought
SHOWN = 8
_log = logging.getLogger(__name__)


class _Seen(NamedTuple):
    position: int
    loss: float
    sure: float | None


class Examples(NamedTuple):
    """Images of a set with truth and prediction.

    Attributes:
        spread: evenly over the set.
        worst: of the highest loss.
        confident: where the network is surest of something wrong.
    """

    spread: list[Example]
    worst: list[Example]
    confident: list[Example]


def draw_examples(
    step: Step,
    samples: Samples,
    collate: Transform,
    *,
    prepare: Callable[[Batch], Batch],
    memory_format: MemoryFormat = "contiguous",
) -> Examples:
    """Draws evenly spread images, those of the highest loss, and those with the most confident mistakes.

    Args:
        step: the network, with the weights to be shown, and its task; left in evaluation mode.
        samples: of the set.
        collate: makes batches as in evaluation.
        prepare: batch of the loader -> float batch on the network's device.
        memory_format: of the images.
    """
    look = _Look(step, samples, collate, prepare, memory_format)
    spread = _spread(len(samples), LOOKED_AT)
    seen = [look.at(index) for index in spread]
    worst = [one.position for one in sorted(seen, key=lambda one: one.loss, reverse=True)[:SHOWN]]
    mistaken = sorted((one for one in seen if one.sure is not None), key=lambda one: one.sure or 0.0, reverse=True)
    confident = [one.position for one in mistaken[:SHOWN]]
    shown = _spread(len(samples), SHOWN)
    drawn = {index: look.example(index) for index in dict.fromkeys((*shown, *worst, *confident))}
    return Examples(*([drawn[index] for index in part] for part in (shown, worst, confident)))


def _spread(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


class _Look(NamedTuple):
    """Asks a network about single samples; fields as the arguments of `draw_examples`."""

    step: Step
    samples: Samples
    collate: Transform
    prepare: Callable[[Batch], Batch]
    memory_format: MemoryFormat

    def at(self, index: int) -> _Seen:
        batch, prediction, loss = self._ask(self.collate([self.samples[index]], 0))
        return _Seen(index, loss, self.step.task.sure_mistake(prediction, batch))

    @torch.inference_mode()
    def _ask(self, batch: Batch) -> tuple[Batch, Prediction, float]:
        """What the network sees of a batch of one sample, its prediction, and the loss."""
        prepared = lay_out(self.prepare(batch), self.memory_format)
        self.step.eval()
        losses, prediction = self.step.evaluated(prepared)
        return prepared, prediction, float(total_loss(losses))

    def example(self, index: int) -> Example:
        task, sample = self.step.task, self.samples[index]
        batch = self.collate([sample], 0)
        _, prediction, loss = self._ask(batch)
        if task.is_image:  # what the network saw, which may have noise that the file has not
            sample = {**sample, **{key: batch[key][0] for key in task.needs}}
        image = drawable(sample["image"].round().clamp(0, 255).to(torch.uint8)).expand(3, -1, -1)
        record: dict[str, Any] = task.record(first_sample(prediction))
        exhibit = task.exhibit(image, sample, task.thinned(record, 1))
        return Example(self.samples.names[index], exhibit, loss)


def sheet_sections(recipe: Recipe, data: Data, loader: Loader, filters: FirstFilters) -> list[Section]:
    """Sections with the augmented images of training, and the first layer's filters before and after.

    A sheet that cannot be drawn is left out, and the log says why: a finished run does not fail for a picture.

    Args:
        recipe: of the run.
        data: that was read.
        loader: of the training batches.
        filters: noted at the start and the end.
    """
    sections = []
    if recipe.data.augment:
        try:
            sheet = draw_augmented(recipe, data, loader=loader)
            text = f"Left, images as they are read; then as the network saw them, by {', '.join(sheet.steps)}."
            sections.append(sheet_section("Augmentation", [("", sheet.picture)], text))
        except UnpoolError as error:
            _log.warning("the report has no sheet of augmented images: %s", error)
    text = f"Layer {filters.layer}, all filters on one scale, grey is 0: what stayed noise has learned nothing."
    sections.append(sheet_section("First layer", filters.sheets(data.preprocessing.order), text))
    return sections
