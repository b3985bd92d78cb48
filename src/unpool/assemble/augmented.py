"""A sheet of training images before and after augmentation, with their targets drawn in (`unpool show augment`)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.assemble.data import Data, read_data
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.model import make_task
from unpool.assemble.settling import settled
from unpool.errors import RecipeError
from unpool.ops.drawing import drawable
from unpool.ops.drawing_sheet import draw_sheet
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.task import Task
from unpool.types import Batch

IMAGES, EPOCHS = 6, 4  # rows of a sheet, and columns beside the image as it is read


class Augmented(NamedTuple):
    """The result of `show_augment`.

    Attributes:
        images: names of those shown, evenly spread over the training set.
        steps: names of the augmentations.
        picture: (3, H, W) uint8: a row for each image, first as it is read, then in the first epochs.
    """

    images: tuple[str, ...]
    steps: tuple[str, ...]
    picture: Tensor


def show_augment(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Augmented:
    """Draws training images as a recipe's augmentations show them to the network, with what lies on them.

    The images are one batch, in which they may be joined or mixed; they are those that a run of this seed would see.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one.
        overrides: `section.key=value` texts, or values by dotted key.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError: the recipe augments nothing.
        DataError: the data cannot be used.

    Example:
        >>> settings = {"data.count": 8, "data.augment": ["flip", {"rotate": {"degrees": 20}}]}
        >>> shown = show_augment("scenes_unet", settings)
        >>> shown.steps, len(shown.images)
        (('flip', 'rotate'), 6)
    """
    loaded = load_recipe(recipe, overrides)
    if not loaded.data.augment:
        raise RecipeError("data.augment is empty, so that training sees images as evaluation does: nothing to show")
    return draw_augmented(loaded, read_data(loaded, progress=progress))


def draw_augmented(recipe: Recipe, data: Data) -> Augmented:
    """As `show_augment`, of data that is read."""
    samples, task = data.train.samples, make_task(recipe, data)
    count = min(IMAGES, len(samples))
    positions = [int(position) for position in torch.linspace(0, len(samples) - 1, count).round()]
    loader = make_train_loader(settled(recipe, data), data)
    indices = [position * recipe.data.repeat for position in positions]
    batches = [loader.batch_of(indices, epoch) for epoch in range(EPOCHS)]
    rows = []
    for i, position in enumerate(positions):
        sample = samples[position]
        before = (samples.names[position], _drawn(task, sample["image"], sample))
        after = [(f"epoch {epoch}", _drawn(task, *_one(batch, i))) for epoch, batch in enumerate(batches)]
        rows.append([before, *after])
    names = [samples.names[position] for position in positions]
    return Augmented(tuple(names), tuple(name for name, _ in recipe.data.steps), draw_sheet(rows))


def _one(batch: Batch, i: int) -> tuple[Tensor, dict[str, Any]]:
    """Image and targets of one sample of a batch, without padding."""
    target = {key: value[i] for key, value in batch.items()}
    right, bottom = target["valid_xyxy"][2:].int().tolist()
    if "partner" in target:
        target["other_label"] = batch["label"][target["partner"]]
    return target["image"][..., :bottom, :right], target


def _drawn(task: Task, image: Tensor, target: Mapping[str, Any]) -> Tensor:
    shown = drawable(image.round().clamp(0, 255).to(torch.uint8)) if image.is_floating_point() else drawable(image)
    return task.draw(shown, target).expand(3, -1, -1)
