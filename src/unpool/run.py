"""The verbs, as functions. The command line prints what these return."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from unpool import predictor
from unpool.assemble.copies import kept_together
from unpool.assemble.data import as_sized, check_gives, give_set_range, make_reader
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.assemble.plain import wrap
from unpool.conduct import train_to_end
from unpool.custom_parts import CustomParts, again, begin
from unpool.data.content_cache import ContentCache
from unpool.data.label_counts import log_unlabelled
from unpool.data.looking import Binding
from unpool.data.measure import MeasuringReader
from unpool.data.readers import READERS, whole_options
from unpool.data.same_names import check_same_names
from unpool.data.store import scan
from unpool.errors import RecipeError
from unpool.machine import cache_folder
from unpool.model_file import read_config
from unpool.models.pretrained import WORDS
from unpool.notebook import Metrics
from unpool.published import only_counted, published_on
from unpool.recipe import Overrides, Recipe, load_recipe, load_run_recipe, parse_overrides, resumed_recipe
from unpool.recipe.options import DERIVED, options_of
from unpool.run_directory import CONFIG, RunDirectory
from unpool.screen import audible
from unpool.task import with_facts
from unpool.training import processes, speed
from unpool.training.callbacks import Callback
from unpool.training.evaluation import evaluate as measure
from unpool.training.job import MemoryFormat, Precision, move
from unpool.training.log import as_json
from unpool.types import MOST_PIXELS, DataInfo, Range, Reader, Samples

EVALUABLE = (  # what may differ in an evaluation, beside the options of the reader
    *("data.root", "data.memory", "data.noise", "data.noise_seed", "data.range", "data.background", "data.max_pixels"),
    *("train.device", "train.precision", "train.memory_format", "train.eval_batch"),
)
OnStart = Callable[[Path], None]
_log = logging.getLogger(__name__)


def train(  # noqa: PLR0913, a public verb
    recipe: str | Path | Recipe | None = None,
    overrides: Overrides = (),
    *,
    task: str | None = None,
    model: nn.Module | str | None = None,
    train: Any = None,
    val: Any = None,
    classes: Sequence[str] | DataInfo | None = None,
    epochs: int | None = None,
    callbacks: Sequence[Callback] = (),
    run: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_start: OnStart | None = None,
) -> dict[str, Any]:
    """Trains a recipe, or a task on data sets of your own, and leaves a run directory.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one; None with `task`.
        overrides: `section.key=value` texts, or values by dotted key.
        task: "classification", "segmentation", "denoising", "pose", "pose_coordinates", "people", "detection" or
            "localization", with `train` and `val`: the recipe is `dataset_<task>`, in which a few samples decide
            channels, size and the like; the log says so, and recipe.yaml of the run has it all.
        model: a network that replaces the recipe's, which a resume needs again; or the name of one.
        train: what replaces the recipe's training images: a `torch.utils.data.Dataset`, `IterableDataset` or
            `DataLoader` of (image, target) or of dicts by batch key, a list of such, or a reader. Images are PIL
            images, arrays (H, W, C) or tensors (C, H, W) of uint8, or of floats from 0 to 1; targets are as
            `data/plain/targets.py` takes them, boxes and what goes with them as `data/plain/things.py`.
        val: the same, of validation.
        classes: names of the classes by number, or of the joints; or a `DataInfo`. None takes those that the data set
            has as `classes`. Of boxes the names of things; where their labels count from 1, "__background__" first.
        epochs: as `train.epochs` among the overrides.
        callbacks: called at every step (see `unpool.training.callbacks.Callback`).
        run: folder to make; `runs/<recipe>-<n>` where None.
        progress: called with (files done, files in all) while the data is read.
        on_start: called with the run directory as soon as it exists.

    Returns:
        What metrics.json holds: the metrics of the last weights under plain names, `history`, facts of the run under
        `training` and `data`, and `run`, the path of its directory.

    Raises:
        RecipeError, DataError, EnvironmentFault, Diverged, Stopped, TimeLimit: see `unpool.errors`.

    Example:
        >>> import tempfile
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     metrics = train("scenes_unet", small, run=Path(folder, "run"))
        >>> metrics["training"]["images_seen"], sorted(metrics["iou"])
        (8, ['background', 'cross', 'disc', 'square', 'triangle'])
    """
    if epochs is not None:
        overrides = {**parse_overrides(overrides), "train.epochs": epochs}
    parts = {"model": model, "train": train, "val": val, "classes": classes}
    with audible(progress) as tell, processes.joined():
        settings, custom, name = begin(recipe, overrides, task=task, parts=parts, callbacks=callbacks)
        processes.check_count(settings.train.processes)
        is_restarted = processes.is_restarted()
        left = processes.by_leader(lambda: RunDirectory.left_by_restart(name, run) if is_restarted else None)
        if left is not None:
            return resume(left, model=custom.model, train=train, val=val, callbacks=callbacks, progress=progress)
        directory = processes.by_leader(lambda: RunDirectory.create(name, run))
        with directory.held(), directory.removed_if_unused():
            if on_start is not None:
                on_start(directory.path)
            metrics = train_to_end(settings, directory, custom, progress=tell)
    return _of_run(directory, metrics)


def resume(
    run: Path,
    overrides: Overrides = (),
    *,
    model: nn.Module | None = None,
    train: Any = None,
    val: Any = None,
    callbacks: Sequence[Callback] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Goes on with a run from its newest saved state, bit for bit as if it had never stopped.

    Args:
        run: its directory.
        overrides: of the keys in `recipe.RESUMABLE` only.
        model: as given to `train`.
        train: as given to `train`.
        val: as given to `train`.
        callbacks: as given to `train`.
        progress: as in `train`.

    Returns:
        As `train`; of a finished run what it left, nothing being written.

    Raises:
        RecipeError: fewer epochs than planned, or custom parts that differ from those the run began with.
        ModelFileError: a file of the run was changed or damaged.
        DataError: the images are not those that the run began with.

    Example:
        >>> import tempfile
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Path(train("scenes_unet", small, run=Path(folder, "run"))["run"])
        ...     metrics = resume(run, {"train.epochs": 2})
        >>> metrics["training"]["images_seen"]
        16
    """
    with audible(progress) as tell, processes.joined():
        directory = RunDirectory.open(run)
        settings = resumed_recipe(directory.path, overrides)
        processes.check_count(settings.train.processes)
        directory.check()
        if directory.is_finished(settings.train.epochs):
            return _of_run(directory, directory.read_json("metrics.json"), already_complete=True)
        if reason := directory.read_json("data.json").get("why_no_resume"):
            raise RecipeError(f"{run} cannot be resumed: {reason}; start a new run")
        info = read_config(directory / CONFIG).info
        parts = {"model": model, "train": train, "val": val}
        custom = again(settings, info, parts, callbacks=callbacks)
        _require_same_parts(directory, custom)
        with directory.held():
            metrics = train_to_end(settings, directory, custom, progress=tell)
    return _of_run(directory, metrics)


def _of_run(directory: RunDirectory, metrics: Mapping[str, Any], **facts: Any) -> Metrics:
    task = read_config(directory / CONFIG).task
    return Metrics(with_facts(metrics, run=str(directory.path), **facts), task.described, task.best)


def evaluate(
    run: Path,
    overrides: Overrides = (),
    *,
    split: Literal["train", "val", "test"] = "val",
    weights: predictor.Weights = "last",
    model: nn.Module | None = None,
    reader: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Metrics of a run's network, or of a published one, on one split, as `unpool evaluate --json` prints them.

    Args:
        run: its directory, or a network's name for published weights.
        overrides: such as `data.root`, for another set in the same format: its classes are matched by name, and where
            it has no folders for splits all of it is measured. What shapes the network or its input is refused. For
            published weights also `data.reader`, by default that of class folders, images and masks, or COCO's files.
        split: the part of the set to measure on.
        weights: of the last step, or the best seen in validation; or published ones, as in `unpool.load`.
        model: as given to `train`; takes the weights.
        reader: what to measure on in place of the recipe's set: a reader, or what `train` takes as `val`, whose
            `classes` are matched by name.
        progress: as in `train`.

    Raises:
        RecipeError: an override that a trained network does not allow, or a custom part is missing.
        ModelFileError: the run has no such weights.
        DataError: the set cannot be read, or has other classes or joints than the network.

    Example:
        >>> import tempfile
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     metrics = train("scenes_unet", small, run=Path(folder, "run"))
        ...     again = evaluate(Path(metrics["run"]))
        >>> again["mean_iou"] == metrics["mean_iou"], again["split"]
        (True, 'val')
    """
    if weights in WORDS:
        if model is not None or reader is not None:
            raise RecipeError(f"weights {weights!r} are of the network {str(run)!r}: leave model and reader out")
        trained, settings, reader = published_on(str(run), weights, overrides, split=split, allowed=EVALUABLE)
    else:
        directory = RunDirectory.open(run)
        trained = predictor.load(directory.path, weights=weights, model=model)
        settings, reader = _measured_on(directory, overrides, split, reader=reader, known=trained.info)
    give_set_range(reader, trained.preprocessing.set_range)
    trained.task.measure_with(reader.info)
    memory = None if settings.data.memory == "auto" else settings.data.memory
    with audible(progress) as tell, ContentCache(cache_folder("contents")) as cache:
        result = scan(reader, memory=memory, binding=Binding(cache=cache), progress=tell)
    log_unlabelled(result.counts, trained.task.needs, part=split)
    trained.preprocessing = as_sized(trained.preprocessing, reader, result.samples)
    metrics = as_json(_measured(trained, settings, result.samples))  # None for what is not finite, as `train` gives
    facts: dict[str, Any] = {"split": split, "weights": weights, "skipped": [f._asdict() for f in result.faults]}
    if weights in WORDS:  # of a published network's classes a set may have some only
        metrics = only_counted(metrics)
    else:
        facts["not_measured"] = result.counts.absent(trained.task.needs)
    return Metrics(with_facts(metrics, **facts), trained.task.described, trained.task.best)


def _measured(trained: predictor.Predictor, settings: Recipe, samples: Samples) -> dict[str, Any]:
    """The metrics of a trained network over every sample, on the device and in the precision of the settings."""
    device = make_device(settings)
    precision, layout = _as_trained(settings, device)
    loader = make_eval_loader(settings, samples, trained.preprocessing)
    try:
        return measure(
            move(trained.model, device, memory_format=layout),
            trained.task.to(device),
            loader,
            prepare=Prepare(trained.preprocessing, device),
            precision=precision,
            memory_format=layout,
        )
    finally:
        loader.close()


def _measured_on(
    directory: RunDirectory,
    overrides: Overrides,
    split: Literal["train", "val", "test"],
    *,
    reader: Any,
    known: DataInfo,
) -> tuple[Recipe, Reader]:
    """The recipe as overridden, and the reader to measure on."""
    trained_on = load_run_recipe(directory.path)
    options = list(options_of(READERS[trained_on.data.reader], DERIVED["data"]))
    settings = load_run_recipe(
        directory.path,
        overrides,
        only=(*EVALUABLE, *(f"data.{name}" for name in options if name != "classes")),
    )
    if reader is not None:
        reader = wrap(reader, settings, known, part="reader", by_name=True).reader
    else:
        if {"train", "val"} & set(_custom_parts(directory)) and settings.data.root == trained_on.data.root:
            raise RecipeError("this run was trained on readers of your own: give evaluate(..., reader=...)")
        reader = _reader_of_all(directory, trained_on, settings, split=split, classes=known.classes)
        together = kept_together(directory.read_json("data.json"))
        reader = reader or make_reader(settings, split, classes=known.classes, together=together)
    check_gives(settings, reader, "the reader")
    check_same_names(reader.info, known, reader="the reader")
    return settings, reader


def _reader_of_all(
    directory: RunDirectory, trained_on: Recipe, settings: Recipe, *, split: str, classes: tuple[str, ...]
) -> Reader | None:
    """All of another folder that has no splits, since none of it was trained on; None where that is not the case."""
    whole = whole_options(settings.data.reader)
    asked = any(settings.data.options.get(name) != trained_on.data.options.get(name) for name in whole)
    if not whole or asked or settings.data.root == trained_on.data.root or split == "train":
        return None
    changes = {f"data.{name}": value for name, value in whole.items()}
    reader = make_reader(load_recipe(settings, changes), split, classes=classes)
    is_drawn = isinstance(reader, MeasuringReader) and reader.origin["drawn"]
    known = directory.read_json("data.json")
    if not is_drawn or set(reader.names) == {name for part in ("train", "val") for name in known[part]["names"]}:
        return None  # the latter is the folder of the run at another path
    _log.warning("%s has no %s split: all of its %d images are measured", settings.data.root, split, len(reader))
    return reader


def _require_same_parts(directory: RunDirectory, custom: CustomParts) -> None:
    """Raises RecipeError if the custom parts differ from those that the run began with."""
    then, now = _custom_parts(directory), custom.names
    if then != now:
        raise RecipeError(
            f"the run began with {_parts(then)} and would go on with {_parts(now)}; "
            f"give the same from Python: unpool.resume(run, {', '.join(f'{name}=...' for name in then)})"
        )


def _custom_parts(directory: RunDirectory) -> list[str]:
    """Names of the parts with which the caller of `train` replaced the recipe's."""
    return list(read_config(directory / "config.json").custom)


def _parts(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} of your own" if names else "the recipe's own parts"


def _as_trained(recipe: Recipe, device: torch.device) -> tuple[Precision, MemoryFormat]:
    """What the run was trained in; float32 where this machine only emulates that."""
    asked = recipe.train.precision
    fits = asked == "float32" or (asked != "auto" and asked in speed.allowed_precisions("auto", device))
    layout = recipe.train.memory_format
    return (asked if fits and asked != "auto" else "float32"), ("contiguous" if layout == "auto" else layout)


def predict(  # noqa: PLR0913, a public verb
    run: Path,
    images: Sequence[str | Path],
    out: Path | None = None,
    *,
    weights: predictor.Weights = "last",
    model: nn.Module | None = None,
    black_white: Range | None = None,
    max_pixels: int = MOST_PIXELS,
    csv: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_answer: Callable[[dict[str, Any], str], None] = lambda record, brief: None,
) -> list[dict[str, Any]]:
    """Predicts files and writes pictures and raw results to a folder, each at the size of its image.

    Args:
        run: as in `unpool.load`: a run's directory, or a network's name.
        images: files, folders of them at any depth, or patterns such as `photos/*.jpg`.
        out: the folder; None makes `predictions` in the run's directory, of a published network in the working
            directory, or where that exists already `predictions-2` and so on.
        weights: as in `unpool.load`: of a run "last" or "best", of a network published ones.
        model: as given to `train`; takes the weights.
        black_white: `data.range` of these files, where it is not that of training.
        max_pixels: images of more are refused.
        csv: whether to write predictions.csv too, a row an image.
        progress: called with (images done, images in all).
        on_answer: called with each record and its answer in a few words.

    Returns:
        What predictions.json lists.

    Raises:
        RecipeError, ModelFileError, DataError, EnvironmentFault: see `unpool.load` and
            `unpool.predictor.write_predictions`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run, photo, out = Path(folder, "run"), Path(folder, "street.png"), Path(folder, "out")
        ...     _ = train("scenes_unet", small, run=run)
        ...     Image.new("RGB", (48, 32)).save(photo)
        ...     records = predict(run, [photo], out)
        ...     written = sorted(path.name for path in out.iterdir())
        >>> len(records), written
        (1, ['predictions.json', 'street_mask.png', 'street_view.jpg'])
    """
    source = RunDirectory.open(run).path if weights in ("last", "best") else run
    loaded = predictor.load(source, weights, model=model, max_pixels=max_pixels)
    if black_white is not None:
        loaded.preprocessing = replace(loaded.preprocessing, range=black_white)
    out = default_output(run, weights) if out is None else out
    return predictor.write_predictions(loaded, images, out, csv=csv, progress=progress, on_answer=on_answer)


def default_output(run: Path, weights: predictor.Weights) -> Path:
    """The folder that `predict` writes into where none is named; it does not exist yet."""
    return predictor.free_folder((Path(run) if weights not in WORDS else Path()) / "predictions")
