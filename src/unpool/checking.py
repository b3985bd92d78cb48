"""`check`: proves within minutes that a training run is right, or says what is wrong, where, and how to mend it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from unpool.checks.budget import Budget
from unpool.checks.findings import Check, Finding, passed
from unpool.checks.looking import look
from unpool.checks.report import Report, Result
from unpool.checks.setup import Form, Setup
from unpool.checks.source import Source
from unpool.checks.table import CHECKS
from unpool.data.seeding import shared_restored
from unpool.errors import DataError, RecipeError
from unpool.plain_objects import setup_of
from unpool.recipe import Overrides, Recipe, load_recipe, recipe_name
from unpool.tracing.foreign import first_line

_MEND = "mend what is named, or leave it out of the set; the whole message says how"
READING = Check(
    "the set can be read",
    "data",
    {"data.unreadable": _MEND},
    symptom="the run stops before its first step, or trains without what could not be read",
    measure="every file of both splits is read as training reads it",
    threshold="any file, label or mask that training refuses",
    origin="the rules of the readers",
    look=lambda setup: passed(f"{len(setup.train):,} samples to train on were read"),
)


def check(  # noqa: PLR0913, a public verb
    recipe: str | Path | Recipe | None = None,
    overrides: Overrides = (),
    *,
    model: nn.Module | None = None,
    train: Any = None,
    val: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    step: Callable[[Any], Any] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    schedule: LRScheduler | None = None,
    epochs: int | None = None,
    augment: Callable[[Any, Any], Any] | None = None,
    metric: Any = None,
    evaluate: Callable[[nn.Module, Any], Any] | None = None,
    predict: Callable[[Any], Any] | None = None,
    classes: Sequence[str] = (),
    targets: Form | None = None,
    minutes: float = 2.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Checks a training run: a recipe's, or one in plain PyTorch objects, of which nothing of Unpool is asked.

    Model, optimiser, schedule, generators and modes are afterwards as they were, bit for bit. What cannot be seen
    without an argument is reported as not applicable, naming the argument.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one; its objects are made and checked as those of anybody.
        overrides: of the recipe, as in `train`.
        model: as it is before the first step.
        train: an iterable of batches that can be run again (a DataLoader, a list), or a map-style data set of samples.
            A batch is a tuple (inputs, targets), or a dict with `image` and more.
        val: the same, of validation.
        loss: of (outputs, targets), of dicts of (outputs, batch); a scalar, or a dict of scalars to add.
        optimizer: over the model's parameters.
        step: the author's own training step with all that belongs to it; takes a batch, returns the loss.
        forward: of (model, batch), where `model(inputs)` would not do.
        schedule: of the learning rate.
        epochs: how long the run is to be.
        augment: of (image, target), as training applies it to one sample.
        metric: of (outputs, targets) of a batch, or an object with update, compute and reset.
        evaluate: of (model, val), the score that the author reads.
        predict: answers about one picture: about a path where `val` lists files, else what `val.raw(i)` returns where
            it has that, else an image as `val` yields it.
        classes: names by number.
        targets: what a target is: "class", "flags" (several classes at once), "class map", "picture", "points",
            "things" (boxes), "vector" (of embeddings), "tokens" or "numbers"; None tells it from the first batch, and
            the report says what it was taken for.
        minutes: that it may take; a large network gets fewer batches and steps, and the report says so.
        seed: of everything that is drawn.
        progress: called with (checks made, checks in all); of a recipe with (files read, files in all).

    Returns:
        The report: `is_right`, `cause`, `wrong`, `to_text()`, `to_json()`, `to_page()`.

    Raises:
        RecipeError: the recipe is wrong, or there is neither a recipe nor a model with training data.
        DataError: the data can be run only once, or is no pairs or dicts.

    Example:
        >>> images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> batches = [(images[i : i + 8], (images[i : i + 8].mean((1, 2, 3)) > 0.5).long()) for i in (0, 8, 16, 24)]
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> report = check(model=net, train=batches, loss=nn.functional.cross_entropy)
        >>> report.is_right
        True
    """
    if recipe is not None:
        if model is not None or train is not None:
            raise RecipeError("check takes a recipe or objects of your own, not both: leave one of them out")
        return _check_recipe(load_recipe(recipe, overrides), recipe_name(recipe), minutes=minutes, progress=progress)
    if model is None or train is None:
        raise RecipeError("check takes a recipe, or a model and its training data: give model= and train=")
    setup = Setup(
        model=model,
        train=Source(train, name="train", seed=seed),
        val=None if val is None else Source(val, name="val", seed=seed),
        loss=loss,
        optimizer=optimizer,
        step=step,
        forward=forward,
        schedule=schedule,
        epochs=epochs,
        augment=augment,
        metric=metric,
        evaluate=evaluate,
        predict=predict,
        classes=classes,
        form=targets,
        budget=Budget(minutes),
        seed=seed,
    )
    return look(setup, type(model).__name__, progress=progress)


def _check_recipe(recipe: Recipe, name: str, *, minutes: float, progress: Callable[[int, int], None]) -> Report:
    """Data that a run of the recipe would refuse is a failure like any other; a wrong recipe is an error."""
    budget = Budget(minutes)
    try:
        with shared_restored():
            setup = setup_of(recipe, budget=budget, progress=progress)
    except DataError as error:
        finding = Finding("fail", first_line(error), cause=error.cause, cure=_MEND, evidence=(str(error),))
        return Report(name, (Result(READING, (finding,), budget.used_s()),), (), budget.used_s())
    with shared_restored():
        return look(setup, name, checks=(READING, *CHECKS))
