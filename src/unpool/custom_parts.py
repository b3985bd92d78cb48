"""What a caller from Python passes in place of the recipe's parts: a network, data sets, callbacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unpool.assemble.names import check_alike, info_of
from unpool.assemble.plain import gives_of, is_reader, plan, recipe_of, wrap
from unpool.data.loader import Order
from unpool.errors import RecipeError
from unpool.recipe import Model, Overrides, Recipe, load_recipe, parse_overrides, recipe_name
from unpool.training.callbacks import Callback
from unpool.types import DataInfo, Reader, Samples


@dataclass(frozen=True, kw_only=True)
class CustomParts:
    """Objects of the caller's that replace parts that the recipe names.

    Attributes:
        order: of the training samples, where it is one of the caller's own.
        why_no_resume: why the run cannot be resumed; empty where it can.
    """

    model: nn.Module | None = None
    train: Reader | None = None
    val: Reader | None = None
    callbacks: Sequence[Callback] = ()
    order: Callable[[Samples], Order] | None = None
    why_no_resume: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the parts that are not None."""
        return [name for name in ("model", "train", "val") if getattr(self, name) is not None]

    @property
    def network(self) -> str:
        """Words for a network of the caller's."""
        return f"{type(self.model).__name__} (a network of your own)"


def begin(
    recipe: str | Path | Recipe | None,
    overrides: Overrides,
    *,
    task: str | None,
    parts: Mapping[str, Any],
    callbacks: Sequence[Callback],
) -> tuple[Recipe, CustomParts, str]:
    """The recipe, the parts and the name of a run that begins.

    Args:
        recipe: as `unpool.train` takes it.
        overrides: of the recipe.
        task: in place of a recipe.
        parts: `model`, `train`, `val` and `classes` as `unpool.train` takes them.
        callbacks: of the caller.

    Raises:
        RecipeError: not exactly one of recipe and task, or a part is nothing that can be trained.
        DataError: samples are not what the task needs.
    """
    model = parts["model"]
    if model is not None and not isinstance(model, nn.Module | str):
        raise RecipeError(f"model is a {type(model).__name__}: give a torch.nn.Module, or the name of a network")
    if (recipe is None) == (task is None):
        both = "both a recipe and a task" if recipe is not None else "neither a recipe nor a task"
        raise RecipeError(f"{both} are named: give one, as unpool.train('folder_resnet18', ...) or task='segmentation'")
    name = recipe_name(recipe) if recipe is not None else str(task)
    source = recipe if recipe is not None else recipe_of(name)
    asked = {*parse_overrides(overrides), *(["model.name"] if isinstance(model, str) else [])}
    if isinstance(model, str):  # none of the options of the recipe's own network
        source, model = load_recipe(source).model_copy(update={"model": Model(name=model)}), None
    settings = load_recipe(source, overrides)
    if task is None:
        return settings, _wrapped(settings, parts, model=model, callbacks=callbacks, info=None), name
    sets = {key: parts[key] for key in ("train", "val", "classes")}
    planned = plan(settings, asked, model=model, **sets)
    custom = CustomParts(
        model=model,
        train=planned.train.reader,
        val=planned.val.reader,
        callbacks=callbacks,
        order=planned.train.order,
        why_no_resume=planned.train.why_no_resume,
    )
    return planned.recipe, custom, name


def again(
    recipe: Recipe, info: DataInfo, parts: Mapping[str, Any], *, callbacks: Sequence[Callback] = ()
) -> CustomParts:
    """The parts of a run that goes on, or is evaluated; `info` is what the run knows of its data."""
    return _wrapped(recipe, parts, model=parts["model"], callbacks=callbacks, info=info)


def _wrapped(
    recipe: Recipe,
    parts: Mapping[str, Any],
    *,
    model: nn.Module | None,
    callbacks: Sequence[Callback],
    info: DataInfo | None,
) -> CustomParts:
    train, val = parts["train"], parts["val"]
    if info is None and parts.get("classes") is not None:
        info = _info(recipe, parts["classes"], train)
    reading = None if train is None else wrap(train, recipe, info, part="train")
    measuring = None if val is None else wrap(val, recipe, info or (reading and reading.reader.info), part="val")
    if reading and measuring:
        check_alike(reading.reader, measuring.reader, gives_of(recipe))
    return CustomParts(
        model=model,
        train=reading and reading.reader,
        val=measuring and measuring.reader,
        callbacks=callbacks,
        order=reading and reading.order,
        why_no_resume=reading.why_no_resume if reading else "",
    )


def _info(recipe: Recipe, classes: Sequence[str] | DataInfo, train: Any) -> DataInfo:
    if train is None or is_reader(train):
        raise RecipeError("classes names those of a data set passed as train=: leave it out")
    return info_of(classes, train, gives_of(recipe), part="train")
