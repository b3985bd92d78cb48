"""The learning-rate range test of a recipe."""

from collections.abc import Callable
from pathlib import Path

import torch

from unpool.assemble.data import read_data
from unpool.assemble.job import make_job
from unpool.assemble.loaders import make_train_loader
from unpool.assemble.settling import settled
from unpool.errors import RecipeError
from unpool.recipe import Overrides, Recipe, load_recipe
from unpool.training.rate_range import LEAST_STEPS, STEPS, RateRange, range_test
from unpool.training.stopping import StopRequest


def find_lr(
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> RateRange:
    """Trains a recipe's network for some steps at rising rates, and reads a rate to train with from the losses.

    Nothing is written, and the recipe stays as it is. The network runs in float32.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one.
        overrides: as in `unpool.train`.
        steps: of the test, each of one batch or of `train.accumulate`.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError: too few steps, or as `unpool.train`.
        DataError: the training set cannot be used.
    """
    if steps < LEAST_STEPS:
        raise RecipeError(f"steps is {steps}; a curve needs at least {LEAST_STEPS}")
    settings = load_recipe(recipe, overrides)
    if settings.train.threads != "auto":
        torch.set_num_threads(settings.train.threads)
    with StopRequest() as stop:
        data = read_data(settings, progress=progress)
        settings = settled(settings, data)
        loader = make_train_loader(settings, data)
        return range_test(make_job(settings, data, loader, model=None, stop=stop), steps=steps)
