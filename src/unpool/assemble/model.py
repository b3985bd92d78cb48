"""From a recipe to its task and its network."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unpool import models, tasks
from unpool.assemble.data import Data
from unpool.errors import ModelFileError, RecipeError
from unpool.layers.initializations import INITS, LSUV, Initialization
from unpool.layers.unit_variance import scale_to_unit_variance, unscaled
from unpool.models.of_run import run_config
from unpool.models.pretrained import is_file
from unpool.models.weights import some
from unpool.recipe import Model, Recipe
from unpool.task import Task
from unpool.task_facts import check_measured
from unpool.types import DataInfo

_log = logging.getLogger(__name__)


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


def make_model(recipe: Recipe, task: Task, info: DataInfo, *, is_resumed: bool = False) -> nn.Module:
    """The recipe's network with new weights, drawn from the seed, or those that it starts from.

    A resumed run gets new ones: its saved state replaces them, so that nothing is downloaded or read again.

    Raises:
        ModelFileError: the file does not fit, or the last layer was trained on the same classes in another order.
        RecipeError: the network's anchors are shares of its input, and inputs are of several sizes.
    """
    torch.manual_seed(recipe.train.seed)
    model = recipe.model
    if model.weights is not None and not is_resumed and (warning := _colours_warning(recipe, model.weights)):
        _log.warning(warning)
    if model.weights is not None and not (is_resumed or model.new_head) and is_file(model.weights):
        classifier = models.classifier_of(model.name, model.backbone) or model.name  # which gives it the last layer too
        _compare_names(Path(model.weights), (model.name, classifier), info)
    if model.init and model.weights is not None and not is_resumed:
        _log.info("model.init=%s draws those weights that %s does not have", *model.init, model.weights)
    network = models.build(
        model.name,
        weights=None if is_resumed else model.weights,
        backbone=model.backbone,
        num_classes=task.outputs,
        in_channels=recipe.data.channels + task.added_channels,
        new_head=model.new_head and not is_resumed,
        init=None if is_resumed else initialization(model),
        **model.options,
    )
    _require_equal_inputs(recipe, network)
    return network


def initialization(model: Model) -> Initialization | None:
    """What draws the initial weights that `model.init` asks for; None for those of the network's source."""
    made = [INITS[name](**options) for name, options in (model.init or {}).items()]
    return made[0] if made else None


def scale_by_data(recipe: Recipe, network: nn.Module, run: Callable[[], Any]) -> None:
    """Scales the layers of a new network by a batch of data where `model.init` asks for that.

    Args:
        recipe: its `model.init` decides.
        network: drawn anew.
        run: runs the network on the first batch of the training order, the same in every process.
    """
    made = initialization(recipe.model)
    if not isinstance(made, LSUV):
        return
    variances = scale_to_unit_variance(network, run, tolerance=made.tolerance)
    for what, names in (
        ("did not run, so that its weights stay orthogonal", unscaled(network, variances)),
        ("gives one value alone", [name for name, variance in variances.items() if variance == 0]),
    ):
        if names:
            _log.warning("model.init=lsuv: on the first batch %s %s", some(names), what)


def _require_equal_inputs(recipe: Recipe, network: nn.Module) -> None:
    """Raises RecipeError where the anchors of an image would change with the others of its batch."""
    if recipe.data.shorter is not None and getattr(getattr(network, "anchors", None), "is_share", False):
        raise RecipeError(
            f"the anchors of {recipe.model.name} are shares of its input, which data.shorter pads to the largest image "
            "of each batch, so that the same box would be learned from anchors of other sizes each time: set data.size "
            "in its stead, or anchors in pixels by model.anchors, such as planned"
        )


def _compare_names(path: Path, networks: Collection[str], info: DataInfo) -> None:
    """Warns, or raises, where the rows of the last layer in a run's file belong to other classes or joints."""
    config = run_config(path)
    of_run = config.get("info")
    if not isinstance(of_run, dict) or config["network"].get("name") not in networks:  # its last layer is not taken
        return
    for what in ("classes", "keypoints", "words"):
        ours = list(getattr(info, what))
        theirs = of_run.get(what)
        if not isinstance(theirs, list) or len(theirs) != len(ours) or theirs == ours:
            continue
        text = f"{path} was trained on the {what} {some(theirs)}, and these are {some(ours)}"
        if sorted(theirs) == sorted(ours):
            index = next(i for i, name in enumerate(ours) if name != theirs[i])
            raise ModelFileError(
                f"{text}: the same names in another order (number {index} is {theirs[index]}, and here {ours[index]}), "
                "so that its last layer would exchange them. Bring them into its order, or set model.new_head=true"
            )
        _log.warning("%s; its last layer starts from those: model.new_head=true makes a new one", text)


def _colours_warning(recipe: Recipe, weights: str) -> str:
    """Whether images are normalised as they were when the weights were trained, in words; empty where they are."""
    data, model = recipe.data, recipe.model
    ours = {"mean": data.mean, "std": data.std, "color_order": data.color_order, "value_range": data.value_range}
    theirs = models.colours_of(model.name, model.backbone, weights) or _colours_of_run(Path(weights))
    if theirs is None:
        text = ", ".join(f"data.{key} {_text(value)}" for key, value in ours.items())
        return f"{weights} does not say how its images were normalised; they are now by {text}"
    differing = [f"data.{key} {_text(ours[key])}, not {_text(theirs[key])}" for key in ours if ours[key] != theirs[key]]
    if not differing or data.channels == 1:
        return ""
    return f"{weights} was trained on images of another normalisation than this run's: {'; '.join(differing)}"


def _colours_of_run(path: Path) -> dict[str, object] | None:
    """What the run of a file says; None where it is no file of a run."""
    values = run_config(path).get("preprocessing")
    if not isinstance(values, dict) or not {"mean", "std", "order", "value_range"} <= values.keys():
        return None
    return {
        "mean": tuple(values["mean"]),
        "std": tuple(values["std"]),
        "color_order": values["order"],
        "value_range": tuple(values["value_range"]),
    }


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
