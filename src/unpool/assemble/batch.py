"""The largest batch of a recipe that fits into memory."""

import copy
import logging

from torch import nn

from unpool.assemble.data import Data
from unpool.assemble.job import make_job
from unpool.assemble.loaders import make_train_loader
from unpool.recipe import Recipe, load_recipe
from unpool.training import processes
from unpool.training.memory import largest_batch
from unpool.training.stopping import StopRequest

MOST = 1024  # images; a run of larger batches has few steps, and another rate than people use
_log = logging.getLogger(__name__)


def with_fitting_batch(recipe: Recipe, data: Data, *, model: nn.Module | None = None) -> Recipe:
    """The recipe with a number in place of `train.batch: auto`: the largest power of two of which a step fits.

    It is no larger than the training set, and in several processes as many times what fits into each of them.

    Args:
        recipe: any.
        data: scanned; its largest training image is tried.
        model: a network of the caller's; None builds the recipe's.

    Raises:
        EnvironmentFault: not even two images fit.
    """
    if recipe.train.batch != "auto":
        return recipe
    trial = load_recipe(recipe, {"train.batch": 2, "train.drop_last": False, "data.order": {"shuffled": {}}})
    loader = make_train_loader(trial, data)
    job = make_job(trial, data, loader, model=copy.deepcopy(model), stop=StopRequest(), is_resumed=True)
    areas = [height * width for height, width in data.train.samples.sizes_hw]
    batch = loader.batch_of([areas.index(max(areas))] * 2, 0)
    count = processes.world_size()
    size = min(processes.gathered(largest_batch(job, batch, max(1, min(MOST, len(loader.samples)) // count)))) * count
    _log.info(
        "train.batch is %d, the most that fits here; train.lr stays %g, whatever it was for", size, recipe.train.lr
    )
    return load_recipe(recipe, {"train.batch": size})
