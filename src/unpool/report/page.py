"""The page of a run: what it reached, how it went, where it errs, and all that is needed to repeat it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unpool.errors import ModelFileError
from unpool.pages import blocks
from unpool.pages.axes import number
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import Markup
from unpool.pages.page import Section, build_page
from unpool.report.classes import classes_section, classes_title
from unpool.report.curves import curves_section
from unpool.report.facts import data_section, machine_section
from unpool.report.result import result_section
from unpool.report.words import Described
from unpool.run_directory import RunDirectory
from unpool.task import Exhibit

Legend = Sequence[tuple[str, tuple[int, int, int]]]
WORST = (
    "Images of the validation set on which the loss is highest, among those looked at: mistakes in the data show here."
)

CONFIDENT = (
    "Images of the validation set on which the network is surest of something wrong, among those looked at: mistakes "
    "that a threshold on its confidence would not catch, and labels that may be wrong themselves."
)


class Example(NamedTuple):
    """One image of the report: the name of its file, how it is shown, and its loss."""

    name: str
    exhibit: Exhibit
    loss: float


def write_report(
    run: Path,
    *,
    described: Described,
    best: str,
    examples: Sequence[Example],
    worst: Sequence[Example],
    legend: Legend = (),
    more: Sequence[Section] = (),
) -> Path:
    """Makes report.html of a finished run, from recipe.yaml, config.json, log.jsonl and metrics.json.

    Args:
        run: the run directory.
        described: how each metric is shown, in order; others are left to metrics.json.
        best: name of the metric that chose the best weights.
        examples: images with truth and prediction to look at.
        worst: those that went worst, the worst first.
        legend: names and RGB of the colours in their pictures.
        more: sections behind those, such as `confident_section`.

    Returns:
        The path of the page: one file, with everything in it.

    Raises:
        ModelFileError: metrics.json or recipe.yaml is missing or broken.
        EnvironmentFault: the page cannot be written.
    """
    directory = RunDirectory(run)
    metrics = directory.read_json("metrics.json")
    config = directory.read_json("config.json") if (directory / "config.json").is_file() else {}
    log = _read_log(directory / "log.jsonl")
    key = blocks.legend(legend) if legend else Markup()
    sections = [
        Section("Result", result_section(metrics, described, best)),
        Section("Training", curves_section(metrics, log, described)),
        Section(classes_title(described), classes_section(metrics, described)),
        Section("Examples", [key, grid(_cards(examples))] if examples else []),
        worst_section(worst, legend),
        *more,
        Section("Data", data_section(metrics)),
        Section("Recipe", [blocks.listing(_recipe(directory))]),
        Section("Machine", machine_section(metrics)),
    ]
    directory.write_page(
        "report.html", build_page(directory.path.absolute().name, sections, subtitle=_subtitle(config))
    )
    return directory / "report.html"


def worst_section(examples: Sequence[Example], legend: Legend = ()) -> Section:
    """Images of the highest loss, the worst first."""
    return Section("Worst", _pictures(examples, legend, WORST))


def confident_section(examples: Sequence[Example], legend: Legend = ()) -> Section:
    """Images of which something wrong is answered with the most confidence, the surest first."""
    return Section("Most confident mistakes", _pictures(examples, legend, CONFIDENT))


def _pictures(examples: Sequence[Example], legend: Legend, text: str) -> list[Markup]:
    key = blocks.legend(legend) if legend else Markup()
    return [key, grid(_cards(examples)), blocks.note(text)] if examples else []


def sheet_section(title: str, sheets: Sequence[tuple[str, Tensor]], text: str) -> Section:
    """Pictures of many small ones, (3, H, W) uint8 each with its label, and a line of text below."""
    cards = [Card(label, "", [Picture("", sheet)], is_exact=True) for label, sheet in sheets]
    return Section(title, [grid(cards), blocks.note(text)] if cards else [])


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of the log; one that was cut off in writing is left out."""
    lines = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                lines.append(value)
    return lines


def _recipe(directory: RunDirectory) -> str:
    try:
        return (directory / "recipe.yaml").read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{directory / 'recipe.yaml'} cannot be read: {error}") from error


def _subtitle(config: Mapping[str, Any]) -> str:
    network = config.get("network", {})
    name = network.get("name", "")
    if network.get("backbone"):
        name = f"{name} on {network['backbone']}"
    task = config.get("task", {}).get("name", "")
    return ", ".join(part for part in (name, task) if part)


def _cards(examples: Sequence[Example]) -> list[Card]:
    return [
        Card(
            one.name,
            f"{one.exhibit.caption}, loss {number(one.loss)}".removeprefix(", "),
            [Picture(label, image) for label, image in one.exhibit.pictures],
            is_right=one.exhibit.is_right,
            is_exact=one.exhibit.is_exact,
        )
        for one in examples
    ]
