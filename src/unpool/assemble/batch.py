"""The largest batch of a recipe that fits into memory."""

import copy
import logging
from dataclasses import dataclass, replace

import torch
from torch import nn

from unpool.assemble.data import Data
from unpool.assemble.job import make_job
from unpool.assemble.loaders import make_train_loader, make_train_order
from unpool.data.loader import Loader
from unpool.errors import RecipeError
from unpool.recipe import Recipe, load_recipe
from unpool.training import processes
from unpool.training.memory import largest_batch
from unpool.training.stopping import StopRequest
from unpool.types import Batch, Samples

MOST = 1024  # images; a run of larger batches has few steps, and another rate than people use
DRAWS = 8  # batches of which the largest is tried, where augmentations draw the size
_log = logging.getLogger(__name__)


def with_fitting_batch(recipe: Recipe, data: Data, *, model: nn.Module | None = None) -> Recipe:
    """The recipe with a number in place of `train.batch: auto`: the largest power of two of which a step fits.

    It is no larger than the training set and one that `data.order` accepts: `p_times_k` takes a power of two of
    classes. In several processes it is as many times what fits into each of them.

    Args:
        recipe: any.
        data: scanned; a batch is tried that is padded as the largest of an epoch can be.
        model: a network of the caller's; None builds the recipe's.

    Raises:
        RecipeError: the order accepts no batch.
        DataError: images of several sizes would meet in a batch.
        EnvironmentFault: the smallest batch does not fit.
    """
    if recipe.train.batch != "auto":
        return recipe
    trial = load_recipe(recipe, {"train.batch": 2, "train.drop_last": False, "data.order": {"shuffled": {}}})
    loader = make_train_loader(trial, data)
    count, groups = processes.world_size(), _groups(recipe, loader.samples)
    sizes = _accepted(recipe, loader.samples, count)
    loader = replace(loader, order=_Apart(groups, steps_per_epoch=loader.steps_per_epoch))
    job = make_job(trial, data, loader, model=copy.deepcopy(model), stop=StopRequest(), is_resumed=True)
    batch = _largest_input(recipe, data, loader, groups)
    size = min(processes.gathered(largest_batch(job, batch, sizes))) * count
    _log.info(
        "train.batch is %d, the most that fits here; train.lr stays %g, whatever it was for", size, recipe.train.lr
    )
    return load_recipe(recipe, {"train.batch": size})


@dataclass(frozen=True)
class _Apart:
    """An order of which only is asked which samples may meet in a batch: those of a group."""

    groups: list[list[int]]
    steps_per_epoch: int
    batch: int = 2

    @property
    def num_samples(self) -> int:
        return sum(map(len, self.groups))

    def batches(self, epoch: int) -> list[list[int]]:
        return self.groups


def _groups(recipe: Recipe, samples: Samples) -> list[list[int]]:
    """Positions of the samples that the recipe's order may put into one batch."""
    if "grouped" not in recipe.data.order:
        return [list(range(len(samples)))]
    return make_train_order(_of_batch(recipe, len(samples), drop_last=False), samples).batches(0)


def _accepted(recipe: Recipe, samples: Samples, count: int) -> list[int]:
    """Batches of one of `count` processes, rising, that the order takes; of one image only where there is no other."""
    unit = recipe.data.order.get("p_times_k", {}).get("per_class", 1)
    most = max(1, min(MOST, len(samples)) // (count * unit))
    sizes: list[int] = []
    refused: list[RecipeError] = []
    for size in (unit * 2**power for power in range(most.bit_length())):
        try:
            make_train_order(_of_batch(recipe, size * count), samples)
        except RecipeError as error:
            refused.append(error)
        else:
            sizes.append(size)
    if not sizes:
        raise refused[0]
    return [size for size in sizes if size > 1] or sizes


def _of_batch(recipe: Recipe, batch: int, *, drop_last: bool | None = None) -> Recipe:
    kept = recipe.train.drop_last if drop_last is None else drop_last
    return load_recipe(recipe, {"train.batch": batch, "train.drop_last": kept})


def _largest_input(recipe: Recipe, data: Data, loader: Loader, groups: list[list[int]]) -> Batch:
    """Two samples as one batch: the highest and the widest image of the group that is padded to the largest area."""
    if recipe.data.size or recipe.data.train_size:
        return loader.batch_of([0, 0], 0)
    sizes_hw = data.preprocessing.maps(torch.tensor(loader.samples.sizes_hw), whole=True)[1]
    padded = [float(sizes_hw[group].amax(0).prod()) for group in groups]
    group = torch.tensor(groups[padded.index(max(padded))])
    indices = group[sizes_hw[group].argmax(0)].tolist()
    return max((loader.batch_of(indices, epoch) for epoch in range(DRAWS)), key=lambda batch: batch["image"].numel())
