"""The verbs, as functions. The command line prints what these return."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from unpool import predictor
from unpool.assemble.data import as_sized
from unpool.conduct import train_to_end
from unpool.custom_parts import CustomParts, again, begin
from unpool.data.label_counts import log_unlabelled
from unpool.errors import RecipeError
from unpool.measuring import (
    EVALUABLE,
    custom_parts,
    measured,
    measured_on,
    measured_together,
    scanned,
    warn_of_seen,
)
from unpool.model_file import read_config
from unpool.models.pretrained import WORDS
from unpool.notebook import Metrics
from unpool.published import only_counted, published_on
from unpool.recipe import Overrides, Recipe, parse_overrides, resumed_recipe
from unpool.run_directory import CONFIG, RunDirectory
from unpool.screen import audible
from unpool.task_facts import with_facts
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.log import as_json
from unpool.types import MOST_PIXELS, DataInfo, Range

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
    check: bool = True,
    run: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_start: OnStart | None = None,
) -> dict[str, Any]:
    """Trains a recipe, or a task on data sets of your own, and leaves a run directory.

    Args:
        recipe: name of a shipped recipe, a file, or a loaded one; None with `task`.
        overrides: `section.key=value` texts, or values by dotted key.
        task: "classification", "segmentation", "denoising", "pose", "pose_coordinates", "people", "people_in_boxes",
            "detection", "instances", "localization", "embedding", "captions", "reading", "stereo" or "flow", with
            `train` and `val`: the recipe is `dataset_<task>`, in which a few samples decide channels, size and the
            like; the log says so, and recipe.yaml of the run has it all.
        model: a network that replaces the recipe's, which a resume needs again; or the name of one.
        train: what replaces the recipe's training images: a `torch.utils.data.Dataset`, `IterableDataset` or
            `DataLoader` of (image, target) or of dicts by batch key, a list of such, or a reader. Images are PIL
            images, arrays (H, W, C) or tensors (C, H, W) of uint8, or of floats from 0 to 1; targets are as
            `data/plain/targets.py` takes them, boxes and what goes with them as `data/plain/things.py`
            and, of people, `data/plain/people.py`; of stereo and flow the image is a pair (first, second), see
            `data/plain/matches.py`.
        val: the same, of validation.
        classes: names of the classes by number, or of the joints; or a `DataInfo`. None takes those that the data set
            has as `classes`. Of boxes the names of things; where their labels count from 1, "__background__" first.
        epochs: as `train.epochs` among the overrides.
        callbacks: called at every step (see `unpool.training.callbacks.Callback`).
        check: make the quick checks of `unpool.check` before the first step, in 15 seconds at most, and stop where one
            fails; and look for the same signs at the ends of epochs, of which the log warns.
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
            metrics = train_to_end(settings, directory, custom, check=check, progress=tell)
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


def evaluate(  # noqa: PLR0913, a public verb
    run: Path | Sequence[Path],
    overrides: Overrides = (),
    *,
    split: Literal["train", "val", "test"] = "val",
    weights: predictor.Weights = "last",
    model: nn.Module | None = None,
    reader: Any = None,
    tta: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Metrics of a run's network, or of a published one, on one split, as `unpool evaluate --json` prints them.

    Args:
        run: its directory, or a network's name for published weights; several directories are averaged, their classes
            matched by name, and the set is that of the first.
        overrides: such as `data.root`, for another set in the same format: its classes are matched by name, and where
            it has no folders for splits all of it is measured. What shapes the network or its input is refused. For
            published weights also `data.reader`, by default that of class folders, images and masks, or COCO's files.
        split: the part of the set to measure on.
        weights: of the last step, or the best seen in validation; or published ones, as in `unpool.load`.
        model: as given to `train`; takes the weights.
        reader: what to measure on in place of the recipe's set: a reader, or what `train` takes as `val`, whose
            `classes` are matched by name.
        tta: views of each image whose answers are averaged (`ops.views.VIEWS`), all combined: "flip", "ten_crops",
            "five_scales", "colors", "rotations". Of classes, probabilities are averaged; of boxes, those of all are
            joined; the result has `averaged`, which says so, and no loss.
        progress: as in `train`.

    Raises:
        RecipeError: an override that a trained network does not allow, a custom part is missing, or the task does not
            average what is asked for.
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
    runs = [run] if isinstance(run, str | Path) else list(run)
    others = [RunDirectory.open(other) for other in runs[1:]]
    doubted = list(others)  # runs that may have learned from what is measured
    if weights in WORDS:
        if model is not None or reader is not None or others:
            raise RecipeError(
                f"weights {weights!r} are of the network {str(runs[0])!r}: leave out model, reader and further runs"
            )
        trained, settings, reader = published_on(str(runs[0]), weights, overrides, split=split, allowed=EVALUABLE)
    else:
        directory = RunDirectory.open(runs[0])
        trained = predictor.load(directory.path, weights=weights, model=model)
        doubted += [directory] if overrides and reader is None else []
        settings, reader = measured_on(directory, overrides, split, reader=reader, known=trained.info)
    members = [trained, *(predictor.load(other.path, weights=weights) for other in others)]
    with audible(progress) as tell:
        result = scanned(reader, trained, settings, progress=tell)
    log_unlabelled(result.counts, trained.task.needs, part=split)
    for member in members:
        sized = as_sized(member.preprocessing, reader, result.samples)
        member.preprocessing = replace(sized, proposals=settings.data.proposals)
    skipped = [fault._asdict() for fault in result.faults]
    facts: dict[str, Any] = {"split": split, "weights": weights, "skipped": skipped}
    for one in doubted if split != "train" else ():
        warn_of_seen(one, result.samples, settings)
    if tta or others:
        metrics, facts["averaged"] = measured_together(members, tta, settings, result.samples)
    else:
        metrics = measured(trained, settings, result.samples)
    metrics = as_json(metrics)  # None for what is not finite, as `train` gives
    if weights in WORDS:  # of a published network's classes a set may have some only
        metrics = only_counted(metrics)
    else:
        facts["not_measured"] = result.counts.absent(trained.task.needs)
    return Metrics(with_facts(metrics, **facts), trained.task.described, trained.task.best)


def _require_same_parts(directory: RunDirectory, custom: CustomParts) -> None:
    """Raises RecipeError if the custom parts differ from those that the run began with."""
    then, now = custom_parts(directory), custom.names
    if then != now:
        raise RecipeError(
            f"the run began with {_parts(then)} and would go on with {_parts(now)}; "
            f"give the same from Python: unpool.resume(run, {', '.join(f'{name}=...' for name in then)})"
        )


def _parts(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} of your own" if names else "the recipe's own parts"


def predict(  # noqa: PLR0913, a public verb
    run: Path | Sequence[Path],
    images: Sequence[str | Path],
    out: Path | None = None,
    *,
    weights: predictor.Weights = "last",
    model: nn.Module | None = None,
    tta: Sequence[str] = (),
    black_white: Range | None = None,
    max_pixels: int = MOST_PIXELS,
    csv: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    on_answer: Callable[[dict[str, Any], str], None] = lambda record, brief: None,
) -> list[dict[str, Any]]:
    """Predicts files and writes pictures and raw results to a folder, each at the size of its image.

    Args:
        run: as in `unpool.load`: a run's directory, or a network's name; several directories as in `evaluate`.
        images: files, folders of them at any depth, or patterns such as `photos/*.jpg`.
        out: the folder; None makes `predictions` in the run's directory, of a published network in the working
            directory, or where that exists already `predictions-2` and so on.
        weights: as in `unpool.load`: of a run "last" or "best", of a network published ones.
        model: as given to `train`; takes the weights.
        tta: as in `evaluate`; predictions.json says under `averaged` what was averaged.
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
    runs = [run] if isinstance(run, str | Path) else list(run)
    if weights in WORDS and len(runs) > 1:
        raise RecipeError(f"weights {weights!r} are of one network and {len(runs)} are named: name one")
    if model is not None and len(runs) > 1:
        raise RecipeError("model is the network of one run, and several are named: name one")
    sources = [RunDirectory.open(one).path if weights not in WORDS else one for one in runs]
    members = [predictor.load(one, weights, model=model, max_pixels=max_pixels) for one in sources]
    if black_white is not None:
        for member in members:
            member.preprocessing = replace(member.preprocessing, range=black_white)
    loaded = predictor.Ensemble(members, tta) if tta or members[1:] else members[0]
    out = default_output(runs[0], weights) if out is None else out
    return predictor.write_predictions(loaded, images, out, csv=csv, progress=progress, on_answer=on_answer)


def default_output(run: Path, weights: predictor.Weights) -> Path:
    """The folder that `predict` writes into where none is named; it does not exist yet."""
    return predictor.free_folder((Path(run) if weights not in WORDS else Path()) / "predictions")
