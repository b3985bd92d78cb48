"""What `evaluate` measures: a run's network, or several, on the reader that the run's recipe or the caller names."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from unpool import predictor
from unpool.assemble.copies import enrolled_images, kept_together
from unpool.assemble.data import check_gives, give_set_range, make_reader
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.assemble.plain import wrap
from unpool.assemble.proposals import with_proposals
from unpool.data.content_cache import ContentCache
from unpool.data.looking import Binding
from unpool.data.measure import MeasuringReader
from unpool.data.readers import READERS, whole_options
from unpool.data.same_names import check_same_names
from unpool.data.store import ScanResult, scan
from unpool.errors import RecipeError
from unpool.machine import cache_folder
from unpool.model_file import read_config
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Overrides, Recipe, load_recipe, load_run_recipe
from unpool.recipe.keywords import DERIVED, options_of
from unpool.run_directory import RunDirectory
from unpool.task_facts import with_facts
from unpool.training import speed
from unpool.training.evaluation import evaluate as measure
from unpool.training.job import MemoryFormat, Precision, move, streamed, to_device
from unpool.training.step import autocast
from unpool.types import DataInfo, Reader, Samples

EVALUABLE = (  # what may differ in an evaluation, beside the options of the reader
    *("data.root", "data.memory", "data.noise", "data.noise_seed", "data.range", "data.background", "data.max_pixels"),
    "data.proposals",
    *("train.device", "train.precision", "train.memory_format", "train.eval_batch"),
)
_log = logging.getLogger(__name__)


def scanned(
    reader: Reader,
    trained: predictor.Predictor,
    settings: Recipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """What can be measured of a reader, read as the trained network reads it, with proposals where it takes them.

    Args:
        reader: of the set.
        trained: the network; its task takes from the reader what metrics alone use.
        settings: of the data and the machine.
        progress: called with (files done, files in all).
    """
    give_set_range(reader, trained.preprocessing.set_range)
    trained.task.measure_with(reader.info)
    memory = None if settings.data.memory == "auto" else settings.data.memory
    with ContentCache(cache_folder("contents")) as cache:
        result = scan(reader, memory=memory, binding=Binding(cache=cache), progress=progress)
        return with_proposals(result, settings.data.proposals, reader, root=settings.data.root, progress=progress)


def measured(trained: predictor.Predictor, settings: Recipe, samples: Samples) -> dict[str, Any]:
    """The metrics of a trained network over every sample, on the device and in the precision of the settings."""
    device = make_device(settings)
    precision, layout = as_trained(settings, device)
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


def measured_on(
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
        if {"train", "val"} & set(custom_parts(directory)) and settings.data.root == trained_on.data.root:
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


def as_trained(recipe: Recipe, device: torch.device) -> tuple[Precision, MemoryFormat]:
    """Returns what the run was trained in; float32 where this machine only emulates that."""
    asked = recipe.train.precision
    fits = asked == "float32" or (asked != "auto" and asked in speed.allowed_precisions("auto", device))
    layout = recipe.train.memory_format
    return (asked if fits and asked != "auto" else "float32"), ("contiguous" if layout == "auto" else layout)


def custom_parts(directory: RunDirectory) -> list[str]:
    """Names of the parts with which the caller of `train` replaced the recipe's."""
    return list(read_config(directory / "config.json").custom)


def measured_together(
    members: Sequence[predictor.Predictor], views: Sequence[str], settings: Recipe, samples: Samples
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics of averaged answers over every sample, without a loss; and what was averaged, in words.

    Raises:
        RecipeError: the task does not average these, or noise is added, which would be another one in each view.
    """
    if settings.data.noise is not None:
        raise RecipeError(
            "data.noise is of one size of the images: evaluate one run without views, or set data.noise=null"
        )
    device = make_device(settings)
    precision, _ = as_trained(settings, device)
    for member in members:
        move(member.model, device, memory_format="contiguous")
        member.task.to(device)
    asked = predictor.Ensemble(members, views)
    decoded = Preprocessing(channels=asked.preprocessing.channels)  # leaves images as they are
    loader, metric, images = make_eval_loader(settings, samples, decoded), asked.task.metric(), 0
    try:
        with asked.asking(), autocast(device, precision), streamed(loader, 0, 0, epochs=1) as stream:
            for batch in stream:
                moved = {key: to_device(value, device, key=key) for key, value in batch.items()}
                metric.update(asked.prediction(moved["image"], moved["size_hw"], moved.get("proposals")), moved)
                images += len(moved["image"])
    finally:
        loader.close()
    return with_facts(metric.compute(), images=images), asked.averaged


def warn_of_seen(directory: RunDirectory, samples: Samples, settings: Recipe) -> None:
    """Logs how many of the images to be measured a run was trained on; enrolled ones may be."""
    if load_run_recipe(directory.path).data.root != settings.data.root:
        return
    enrolled = enrolled_images(samples)
    measured = {name for index, name in enumerate(samples.names) if index not in enrolled}
    seen = set(directory.read_json("data.json")["train"]["names"]) & measured
    if seen:
        _log.warning(
            "%s was trained on %d of the %d images that are measured, such as %s: its answers there are not those on "
            "new images",
            *(directory.path, len(seen), len(measured), min(seen)),
        )
