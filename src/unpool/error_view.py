"""Where a run's network errs: its scores in parts, its probabilities, and its mistakes as pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from unpool import predictor
from unpool.assemble.data import as_sized
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.measuring import as_trained, measured, measured_on, scanned, warn_of_seen
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import Overrides, Recipe
from unpool.report import classes_section, classes_title, confident_section, result_section, worst_section
from unpool.report_pictures import draw_examples
from unpool.run_directory import RunDirectory
from unpool.screen import audible
from unpool.task import Description
from unpool.training.log import as_json
from unpool.training.step import Step
from unpool.types import Samples

MOST_CONFUSED = 10
Rows = list[tuple[str, ...]]


def show_errors(
    run: str | Path,
    overrides: Overrides = (),
    *,
    split: Literal["train", "val", "test"] = "val",
    weights: Literal["last", "best"] = "last",
    pictures: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> View:
    """Measures a run's network on one split and shows where it errs.

    The page has the scores by class and by size, the confusion matrix, the calibration curve, what the task knows of
    kinds of mistakes, and the images that went worst and on which the network is surest of something wrong.

    Args:
        run: its directory.
        overrides: as of `evaluate`, such as `data.root`.
        split: the part of the set to measure on.
        weights: of the last step, or the best seen in validation.
        pictures: whether to look for the worst and the most confident mistakes, among 200 images.
        progress: called with (files done, files in all) while the data is read.

    Raises:
        RecipeError, ModelFileError, DataError: as of `evaluate`.

    Example:
        >>> import tempfile
        >>> import unpool
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     view = show_errors(unpool.train("scenes_unet", small, run=Path(folder, "run"))["run"])
        >>> 0 <= view.values["ece"] <= 1, "Most confident mistakes" in view.to_page()
        (True, True)
    """
    directory = RunDirectory.open(Path(run))
    trained = predictor.load(directory.path, weights=weights)
    settings, reader = measured_on(directory, overrides, split, reader=None, known=trained.info)
    with audible(progress) as tell:
        result = scanned(reader, trained, settings, progress=tell)
    sized = as_sized(trained.preprocessing, reader, result.samples)
    trained.preprocessing = replace(sized, proposals=settings.data.proposals)
    if split != "train" and overrides:
        warn_of_seen(directory, result.samples, settings)
    metrics = as_json(measured(trained, settings, result.samples))
    described, best = trained.task.described, trained.task.best
    sections = [
        Section("Result", result_section(metrics, described, best)),
        Section(classes_title(described), classes_section(metrics, described)),
        *(_pictures(trained, settings, result.samples) if pictures else ()),
    ]
    shown = {name: metrics[name] for name in ("loss", "images", *described) if name in metrics}
    title = f"Errors of {directory.path.absolute().name} on {split}"
    return View(title, sections, shown, subtitle=f"{trained.name}, {metrics['images']:,} images")


def _pictures(trained: predictor.Predictor, settings: Recipe, samples: Samples) -> list[Section]:
    device = make_device(settings)
    precision, layout = as_trained(settings, device)
    loader = make_eval_loader(settings, samples, trained.preprocessing)
    try:
        drawn = draw_examples(
            Step(trained.model, trained.task, precision=precision, device=device),
            samples,
            loader.transform,
            prepare=Prepare(trained.preprocessing, device),
            memory_format=layout,
        )
    finally:
        loader.close()
    legend = trained.task.legend
    return [worst_section(drawn.worst, legend), confident_section(drawn.confident, legend)]


def error_tables(values: Mapping[str, Any], described: Mapping[str, Description]) -> list[Rows]:
    """Returns what `show_errors` measured as tables of text, each with its headings first.

    One table for all numbers by class, by size and the like; one of the most frequent confusions; one of the bins of
    each calibration.

    Args:
        values: of the view.
        described: of the task.

    Example:
        >>> described = {"recall": Description("Recall", is_share=True, each="class")}
        >>> error_tables({"recall": {"cat": 0.5, "dog": None}}, described)
        [[('class', 'Recall'), ('cat', '0.5000'), ('dog', 'n/a')]]
    """
    by: dict[str, dict[str, Description]] = {}
    tables: list[Rows] = []
    for name, one in described.items():
        if isinstance(values.get(name), dict):
            by.setdefault(one.each, {})[name] = one
    for each, group in by.items():
        names = values[next(iter(group))]
        headings = (each, *(one.title for one in group.values()))
        tables.append([headings, *((name, *(_text(values[key].get(name)) for key in group)) for name in names)])
    for name, one in described.items():
        if one.is_matrix and values.get(name):
            tables += _confused(values[name], list(values[next(iter(by[one.each]))]), one.unit)
        elif one.is_calibration and values.get(name):
            rows = [(_text(sure), _text(right), f"{int(count):,}") for sure, right, count in values[name]]
            tables.append([("mean probability", "right", one.unit), *rows])
    return tables


def _confused(counts: Sequence[Sequence[int]], names: Sequence[str], unit: str) -> list[Rows]:
    pairs = [
        (count, names[truth], names[answer])
        for truth, row in enumerate(counts)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    most = sorted(pairs, key=lambda pair: pair[0], reverse=True)[:MOST_CONFUSED]
    rows = [(truth, answer, f"{count:,}") for count, truth, answer in most]
    return [[("truth", "answer", unit), *rows]] if rows else []


def _text(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
