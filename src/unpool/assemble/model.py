"""From a recipe to its task and its network."""

import torch
from torch import nn

from unpool import models, tasks
from unpool.assemble.data import Data
from unpool.recipe import Recipe
from unpool.task import Task, check_measured


def make_task(recipe: Recipe, data: Data) -> Task:
    """The recipe's task; its parameters are drawn from the seed, and it counts in the training set.

    Raises:
        TypeError: the task's metric does not compute what chooses the best weights, or uses a name of the run's facts.
    """
    task = tasks.build(
        recipe.task.name,
        data.info,
        options=recipe.task.options,
        preprocessing=data.preprocessing,
        samples=data.train.samples,
        seed=recipe.train.seed,
    )
    check_measured(task)
    return task


def make_model(recipe: Recipe, task: Task, *, is_resumed: bool = False) -> nn.Module:
    """The recipe's network with new weights, drawn from the seed, or those that it starts from.

    A resumed run gets new ones: its saved state replaces them, so that nothing is downloaded or read again.
    """
    torch.manual_seed(recipe.train.seed)
    model = recipe.model
    return models.build(
        model.name,
        weights=None if is_resumed else model.weights,
        backbone=model.backbone,
        num_classes=task.outputs,
        in_channels=recipe.data.channels + task.added_channels,
        **model.options,
    )
