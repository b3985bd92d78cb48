"""The verbs, as functions. The command line prints what these return."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from unpool import predictor
from unpool.assemble import Prepare, make_device, make_eval_loader, make_reader, make_task_again
from unpool.conduct import Own, conduct
from unpool.data.store import scan
from unpool.recipe import Overrides, Recipe, load_recipe, recipe_name
from unpool.run_directory import RunDirectory
from unpool.training import speed
from unpool.training.callbacks import Callback
from unpool.training.evaluation import evaluate as measure
from unpool.training.job import MemoryFormat, Precision, place
from unpool.types import Reader

RESUMABLE = ("data.root", "train.epochs")  # what may differ in a resumed run
OnStart = Callable[[Path], None]


def train(  # noqa: PLR0913, a public verb
    recipe: str | Path | Recipe,
    overrides: Overrides = (),
    *,
    model: nn.Module | None = None,
    train: Reader | None = None,
    val: Reader | None = None,
    callbacks: Sequence[Callback] = (),
    run: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_start: OnStart | None = None,
) -> dict[str, Any]:
    """Trains a recipe and leaves a run directory.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one.
        overrides: `section.key=value` texts, or values by dotted key.
        model: a network of your own instead of the recipe's; such a run asks for it again when resumed.
        train: a reader of your own instead of the recipe's.
        val: the same, of validation.
        callbacks: your own, called at every step (see `unpool.training.callbacks.Callback`).
        run: folder to make; `runs/<recipe>-<n>` where None.
        progress: called with (files done, files in all) while the data is read.
        on_start: called with the run directory as soon as it exists.

    Returns:
        What metrics.json holds: the metrics of the last weights under plain names, `history`, `time_s`, and `run`.

    Raises:
        RecipeError, DataError, EnvironmentFault, Diverged, Stopped, TimeLimit: see `unpool.errors`.
    """
    settings = load_recipe(recipe, overrides)
    directory = RunDirectory.create(recipe_name(recipe), run)
    if on_start is not None:
        on_start(directory.path)
    own = Own(model=model, train=train, val=val, callbacks=callbacks)
    with directory.held(), directory.removed_if_unused():
        return {**conduct(settings, directory, own, progress=progress), "run": str(directory.path)}


def resume(
    run: Path,
    overrides: Overrides = (),
    *,
    model: nn.Module | None = None,
    train: Reader | None = None,
    val: Reader | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Goes on with a run from its newest saved state, bit for bit as if it had never stopped.

    Args:
        run: its directory.
        overrides: `data.root` or `train.epochs` only.
        model: as given to `train`.
        train: as given to `train`.
        val: as given to `train`.
        callbacks: as given to `train`.
        progress: as in `train`.

    Returns:
        As `train`; of a finished run what it left, nothing being written.
    """
    directory = RunDirectory.open(run)
    settings = load_recipe(directory / "recipe.yaml", overrides, only=RESUMABLE)
    if directory.is_finished(settings.train.epochs):
        return {**directory.read_json("metrics.json"), "run": str(directory.path), "already_complete": True}
    own = Own(model=model, train=train, val=val, callbacks=callbacks)
    with directory.held():
        return {**conduct(settings, directory, own, progress=progress), "run": str(directory.path)}


def evaluate(
    run: Path,
    overrides: Overrides = (),
    *,
    split: Literal["train", "val", "test"] = "val",
    weights: Literal["last", "best"] = "last",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Metrics of a run's network on one split, as `unpool evaluate --json` prints them.

    Args:
        run: its directory.
        overrides: such as `data.root`, for another set in the same format; its classes are matched by name.
        split: the part of the set to measure on.
        weights: of the last step, or the best seen in validation.
        progress: as in `train`.

    Raises:
        ModelFileError: the run has no such weights.
        DataError: the set cannot be read, or holds classes the network does not know.
    """
    directory = RunDirectory.open(run)
    settings = load_recipe(directory / "recipe.yaml", overrides)
    trained = predictor.load(directory.path, weights=weights)
    reader = make_reader(settings, split, classes=trained.info.classes)
    result = scan(reader, memory=False, progress=progress)
    device = make_device(settings)
    precision, layout = _as_trained(settings, device)
    loader = make_eval_loader(settings, result.samples, trained.preprocessing)
    try:
        metrics = measure(
            place(trained.model, device, memory_format=layout),
            make_task_again(directory.read_json("config.json"), trained.info, trained.preprocessing),
            loader,
            prepare=Prepare(trained.preprocessing, device),
            precision=precision,
            memory_format=layout,
        )
    finally:
        loader.close()
    return {**metrics, "split": split, "weights": weights, "skipped": [fault._asdict() for fault in result.faults]}


def _as_trained(recipe: Recipe, device: torch.device) -> tuple[Precision, MemoryFormat]:
    """What the run was trained in; float32 where this machine only emulates that."""
    asked = recipe.train.precision
    fits = asked == "float32" or (asked != "auto" and asked in speed.allowed_precisions("auto", device))
    layout = recipe.train.memory_format
    return (asked if fits and asked != "auto" else "float32"), ("contiguous" if layout == "auto" else layout)


def predict(run: Path, images: Sequence[Path], out: Path) -> list[dict[str, Any]]:
    """Predicts files and writes pictures and raw results to `out`, each at the size of its image."""
    return predictor.write_predictions(predictor.load(RunDirectory.open(run).path), images, out)
