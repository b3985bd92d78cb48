"""`check`: proves within minutes that a training run is right, or says what is wrong, where, and how to mend it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from unpool.checks.budget import Budget
from unpool.checks.looking import look
from unpool.checks.report import Report
from unpool.checks.setup import Setup
from unpool.checks.source import Source
from unpool.errors import RecipeError


def check(  # noqa: PLR0913, a public verb
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
    minutes: float = 2.0,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Checks a training run in plain PyTorch objects; nothing of Unpool is asked of them.

    Model, optimiser, schedule, generators and modes are afterwards as they were, bit for bit. What cannot be seen
    without an argument is reported as not applicable, naming the argument.

    Args:
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
        minutes: that it may take; a large network gets fewer batches and steps, and the report says so.
        seed: of everything that is drawn.
        progress: called with (checks made, checks in all).

    Returns:
        The report: `is_right`, `cause`, `wrong`, `to_text()`, `to_json()`, `to_page()`.

    Raises:
        RecipeError: there is no model or no training data.
        DataError: the data can be run only once, or is no pairs or dicts.

    Example:
        >>> images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> batches = [(images[i : i + 8], (images[i : i + 8].mean((1, 2, 3)) > 0.5).long()) for i in (0, 8, 16, 24)]
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        >>> report = check(model=net, train=batches, loss=nn.functional.cross_entropy)
        >>> report.is_right
        True
    """
    if model is None or train is None:
        raise RecipeError("check takes a model and its training data: give model= and train=")
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
        budget=Budget(minutes),
        seed=seed,
    )
    return look(setup, type(model).__name__, progress=progress)
