"""Checks those keys of a recipe that name rows of tables of their own: augmentations, noise, proposals, order, init."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from unpool.errors import RecipeError, quoted
from unpool.recipe.keywords import misfits, options_of
from unpool.recipe.mistakes import Mistake, nearest
from unpool.recipe.settings import Model, Recipe


def check_rows(recipe: Recipe) -> Iterator[Mistake]:
    """Names that are in no table, options that their row does not take, and rows that do not go with other keys."""
    yield from _check_augment(recipe)
    yield from _check_noise(recipe)
    yield from _check_proposals(recipe)
    yield from _check_order(recipe)
    yield from _check_init(recipe.model)


def _check_augment(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.augment import AUGMENTATIONS, Finishing, OnDevice
    from unpool.tasks import TASKS

    task = recipe.task.name
    for position, (name, options) in enumerate(recipe.data.steps):
        path, kind = ("data", "augment", position), AUGMENTATIONS.get(name)
        yield from _check_row(path, "augmentation", name, options, rows=AUGMENTATIONS)
        if kind and recipe.data.augment_on == "device" and issubclass(kind, OnDevice.refuses):
            text = f"augmentation {quoted(name)} has no form for a whole batch on the device"
            yield Mistake((*path, name), f"{text}: set data.augment_on=loader, or leave {name} out")
        if kind and issubclass(kind, Finishing) and kind.mixes and task in TASKS and not TASKS[task].mixes:
            fitting = ", ".join(other for other in TASKS if TASKS[other].mixes)
            text = f"augmentation {quoted(name)} mixes two images, and the loss of task {quoted(task)} is of one"
            yield Mistake((*path, name), f"{text}: leave {name} out; tasks that learn from mixed images: {fitting}")


def _check_noise(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.noise import NOISES

    for name, options in (recipe.data.noise or {}).items():
        yield from _check_row(("data", "noise"), "noise", name, options, rows=NOISES)


def _check_proposals(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.proposals import PROPOSERS
    from unpool.models import row_of

    for name, options in (recipe.data.proposals or {}).items():
        yield from _check_row(("data", "proposals"), "source of proposals", name, options, rows=PROPOSERS)
    try:
        reads = row_of(recipe.model.name).reads_proposals
    except RecipeError:  # reported where the network is checked
        return
    if reads and recipe.data.proposals is None:
        text = f"model {quoted(recipe.model.name)} classifies regions that are given with each image"
        yield Mistake(("data", "proposals"), f"{text}: set data.proposals, such as selective_search")
    if recipe.data.proposals is not None and not reads:
        text = f"model {quoted(recipe.model.name)} reads no proposals"
        yield Mistake(("data", "proposals"), f"{text}: leave data.proposals out, or choose a network such as fastrcnn")
    if recipe.data.proposals is not None and recipe.data.noise is not None:
        text = "regions are proposed for images without noise, which a noisy photograph would not get"
        yield Mistake(("data", "noise"), f"{text}: leave data.noise or data.proposals out")


def _check_order(recipe: Recipe) -> Iterator[Mistake]:
    from unpool.data.order import ORDERS

    for name, options in recipe.data.order.items():
        yield from _check_named(("data", "order"), "order", name, options, rows=ORDERS)


def _check_init(model: Model) -> Iterator[Mistake]:
    from unpool.layers.initializations import INITS

    for name, options in (model.init or {}).items():
        yield from _check_named(("model", "init"), "init", name, options, rows=INITS)
        if name == "lsuv" and model.weights is not None:
            yield Mistake(
                ("model", "init"),
                "model.init is lsuv, which scales every layer by the data, and model.weights loads layers that stay as "
                "they are: choose another init for the layers that are not loaded, or leave one of the two out",
            )


def _check_row(
    path: tuple[str | int, ...],
    what: str,
    name: str,
    options: Mapping[str, Any],
    *,
    rows: Mapping[str, Callable[..., Any]],
) -> Iterator[Mistake]:
    wrong = list(_check_named(path, what, name, options, rows=rows))
    yield from wrong
    if not wrong:
        try:
            rows[name](**options)
        except (ValueError, TypeError) as error:  # also RecipeError
            yield Mistake((*path, name), f"{what} {quoted(name)}: {error}")


def _check_named(
    path: tuple[str | int, ...],
    what: str,
    name: str,
    options: Mapping[str, Any],
    *,
    rows: Mapping[str, Callable[..., Any]],
) -> Iterator[Mistake]:
    """A name in no table, and options that its row does not take."""
    if name not in rows:
        yield Mistake(path, f"no {what} is called {quoted(name)}{nearest(name, rows)}")
    else:
        yield from misfits((*path, name), f"{what} {quoted(name)}", options, options_of(rows[name]))
