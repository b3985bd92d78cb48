"""A sheet of training images before and after augmentation, with their targets drawn in (`unpool show augment`)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.assemble.data import Data, read_data
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.model import make_task
from unpool.assemble.settling import settled
from unpool.data.augment import OnDevice
from unpool.data.augment.targets import warp_targets
from unpool.data.image_file import Unusable
from unpool.data.loader import Loader
from unpool.errors import RecipeError, require_files
from unpool.ops import geometry
from unpool.ops.drawing import drawable
from unpool.ops.drawing_sheet import draw_sheet
from unpool.pages.blocks import note
from unpool.pages.images import Card, Picture, grid
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.task import Task
from unpool.types import Batch, Sample, Samples

IMAGES, EPOCHS = 6, 4  # rows of a sheet, and columns beside the image as it is read
LEAST = 192  # pixels of the longer side, to which a smaller image is enlarged by a whole factor


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

    def view(self) -> View:
        """The sheet, with what was done."""
        values = {"images": list(self.images), "steps": list(self.steps)}
        sheet = grid([Card(", ".join(self.steps), "", [Picture("", self.picture)], is_exact=True)])
        text = note("Left, each image as it is read; then as the network sees it in the first epochs.")
        return View("Augmentation", [Section("Sheet", [sheet, text])], values, picture=self.picture)

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def save(self, path: str | Path) -> Path:
        """Writes the sheet, or a page with it; see `View.save`."""
        return self.view().save(path)


def show_augment(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Augmented:
    """Draws training images as a recipe's augmentations show them to the network, with what lies on them.

    They are what a run of this seed sees in its first epochs; but mosaic, mixup and cutmix, which join or mix images of
    one batch, find here the images of the sheet. Images that cannot be read are left out, as training replaces them.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one.
        overrides: `section.key=value` texts, or values by dotted key.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError: the recipe augments nothing.
        DataError: the data cannot be used, or no image can be read.

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


def draw_augmented(recipe: Recipe, data: Data, *, loader: Loader | None = None) -> Augmented:
    """As `show_augment`, of data that is read, by the loader of its training batches or one that is made."""
    samples, task = data.train.samples, make_task(recipe, data)
    count = min(IMAGES, len(samples))
    read = _read(samples, [int(position) for position in torch.linspace(0, len(samples) - 1, count).round()])
    positions = list(read)
    loader = loader or make_train_loader(settled(recipe, data), data)
    indices = [position * recipe.data.repeat for position in positions]
    batches = [loader.batch_of(indices, epoch) for epoch in range(EPOCHS)]
    if isinstance(loader.transform, OnDevice):
        batches = [loader.transform.apply(batch, torch.device("cpu")) for batch in batches]
    rows = []
    for i, position in enumerate(positions):
        sample = read[position]
        before = (samples.names[position], _drawn(task, sample["image"], sample))
        after = [(f"epoch {epoch}", _drawn(task, *_one(batch, i))) for epoch, batch in enumerate(batches)]
        rows.append([before, *after])
    names = [samples.names[position] for position in positions]
    return Augmented(tuple(names), tuple(name for name, _ in recipe.data.steps), draw_sheet(rows))


def _read(samples: Samples, positions: Sequence[int]) -> dict[int, Sample]:
    """The samples at these positions, in place of one that cannot be read the next one that can."""
    read: dict[int, Sample] = {}
    failure = None
    for first in positions:
        for position in (one % len(samples) for one in range(first, first + len(samples))):
            if position in positions and position != first:
                break  # it stands on the sheet itself
            try:
                read[position] = samples[position]
                break
            except Unusable as error:
                require_files(error)
                failure = error
    if failure is not None and not read:
        raise failure
    return read


def _one(batch: Batch, i: int) -> tuple[Tensor, dict[str, Any]]:
    """Image and targets of one sample of a batch, without padding."""
    target = {key: value[i] for key, value in batch.items()}
    right, bottom = target["valid_xyxy"][2:].int().tolist()
    if "partner" in target:
        target["other_label"] = batch["label"][target["partner"]]
    return target["image"][..., :bottom, :right], target


def _drawn(task: Task, image: Tensor, target: Mapping[str, Any]) -> Tensor:
    image = image.round().clamp(0, 255).to(torch.uint8) if image.is_floating_point() else image
    image, target = _enlarged(drawable(image), target)
    if any(key not in target for key in task.needs if key != "image"):
        return image.expand(3, -1, -1)  # such as a file to which noise is added later: it has no target yet
    return task.draw(image, target).expand(3, -1, -1)


def _enlarged(image: Tensor, target: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, Any]]:
    """A small image and what lies on it, each pixel repeated, so that it can be seen and a line of text be read."""
    factor = LEAST // max(image.shape[-2:])
    if factor < 2:
        return image, target
    large = {
        key: one.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
        for key, one in {"image": image, "clean": target.get("clean")}.items()
        if one is not None
    }
    times = torch.tensor([float(factor)])
    height, width = large["image"].shape[-2:]
    moved = warp_targets({**target, "image": image}, geometry.zoom(times, times)[0], (height, width))
    return large.pop("image"), {**moved, **large}
