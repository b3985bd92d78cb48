"""What a run decides by its data before its first step, for whatever trains, tests or shows a recipe."""

from torch import nn

from unpool.assemble.anchors import with_planned_anchors
from unpool.assemble.batch import with_fitting_batch
from unpool.assemble.data import Data
from unpool.assemble.statistics import with_colour_axes
from unpool.recipe import Recipe, fit_to_length


def settled(recipe: Recipe, data: Data, *, model: nn.Module | None = None) -> Recipe:
    """The recipe with a value in place of each word that leaves one to the data or the machine; the log has them.

    These are a warm-up longer than the run, `model.anchors: planned`, `axes: training` of `pca_color`, and
    `train.batch: auto`. A recipe without them is returned as it is.

    Args:
        recipe: any.
        data: its data, as `read_data` returned it.
        model: a network of the caller's; None stands for the recipe's.

    Raises:
        RecipeError: the network has no anchors, or the order of samples allows no batch.
        DataError: there are too few boxes to plan anchors from, or images of several sizes would meet in a batch.
        EnvironmentFault: not even the smallest batch fits into memory.
    """
    recipe = with_planned_anchors(fit_to_length(recipe), data)
    return with_fitting_batch(with_colour_axes(recipe, data.train.samples), data, model=model)
