"""One image through several detectors: what each looks at, what it answers, and where the time goes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.errors import DataError, RecipeError, quoted
from unpool.machine import processor
from unpool.network_names import listed_networks
from unpool.ops.drawing import drawable
from unpool.ops.drawing_boxes import SURE, draw_boxes
from unpool.ops.phases import REST, TOTAL, median_seconds
from unpool.pages.blocks import Bar, bars, legend, note, table
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import element
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import read_image
from unpool.predictor.loading import Weights, load
from unpool.predictor.predictor import Predictor, evaluating
from unpool.types import DataInfo

PASSES, WARM = 5, 2  # of the clock, and before them
DRAWN, DIMMED = 100, 2  # boxes looked at that are drawn, over the image darkened so many times
_LISTED = 5  # classes in a message
_PALE = (255, 255, 255)
_EXPLAINED = (
    "Looked at: proposals of two stages, else the anchors or cells' predictors that some class scores. Sure: boxes of "
    f"a score of {SURE:.0%} at least. Backbone: maps of the image, with those of a pyramid. Proposals: where to look a "
    "second time. Head: scores and boxes. Nms: from them to the answer, without weaker doubles. Rest: the image to the "
    "network's size, and the answer back."
)


class Chapter(NamedTuple):
    """One detector's part of the story.

    Attributes:
        run: as it was asked for.
        network: its name and where its weights come from.
        looked_at: boxes that the answer was chosen from.
        boxes: of the answer; `sure` of them have a score of `SURE` at least.
        seconds: of each phase, `rest` and `total`, medians.
        pictures: (3, H, W) uint8, what it looked at and what it answers.
    """

    run: str
    network: str
    looked_at: int
    boxes: int
    sure: int
    seconds: Mapping[str, float]
    pictures: tuple[Tensor, Tensor]


class Story(NamedTuple):
    """The same image through several detectors.

    Attributes:
        image: its path.
        classes: that all of them know, with their colours.
        passes: that the times are medians of.
        machine: where they were measured.
        chapters: one for each run, in order.
    """

    image: str
    classes: Sequence[tuple[str, tuple[int, int, int]]]
    passes: int
    machine: str
    chapters: Sequence[Chapter]

    @property
    def phases(self) -> list[str]:
        """Names of the phases that some detector has, and those of the rest and the total."""
        names = dict.fromkeys(name for one in self.chapters for name in one.seconds)
        return [*(name for name in names if name not in (REST, TOTAL)), REST, TOTAL]

    def to_json(self) -> dict[str, Any]:
        """All but the pictures."""
        chapters = [{k: v for k, v in one._asdict().items() if k != "pictures"} for one in self.chapters]
        return {"image": self.image, "passes": self.passes, "machine": self.machine, "runs": chapters}

    def to_rows(self) -> list[tuple[str, ...]]:
        """A table of the runs with a heading; times in milliseconds."""
        return [self._heading, *(tuple(map(str, self._row(one))) for one in self.chapters)]

    @property
    def _heading(self) -> tuple[str, ...]:
        return ("run", "looked at", "boxes", "sure", *(f"{name} ms" for name in self.phases))

    def _row(self, one: Chapter) -> list[object]:
        times = [round(1000 * one.seconds[name], 1) if name in one.seconds else "" for name in self.phases]
        return [one.run, one.looked_at, one.boxes, one.sure, *times]

    def view(self) -> View:
        """The table, the time of each phase as bars, and the pictures."""
        count = len(self.chapters)
        rows = table(list(map(self._row, self.chapters)), headings=self._heading)
        times = [part for one in self.chapters for part in self._times(one)]
        clock = note(
            f"Medians of {self.passes} passes after {WARM} warm ones, one image at a time, on {self.machine}. "
            "A full bar would be the longest total."
        )
        pictures = [legend(self.classes), grid([self._card(one) for one in self.chapters])]
        sections = [
            Section("Detectors", [rows, note(_EXPLAINED)]),
            Section("Milliseconds by phase", [*times, clock]),
            Section("What each looked at and answers", pictures),
        ]
        title = f"{Path(self.image).name} through {count} detector{'s' if count != 1 else ''}"
        return View(title, sections, self.to_json())

    def to_page(self) -> str:
        return self.view().to_page()

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def save(self, path: str | Path) -> Path:
        """Writes the page; see `View.save`."""
        return self.view().save(path)

    def _times(self, one: Chapter) -> list[Any]:
        longest = max(chapter.seconds[TOTAL] for chapter in self.chapters)
        rows = [
            Bar(name, one.seconds[name] / longest, f"{1000 * one.seconds[name]:.1f}")
            for name in self.phases
            if name in one.seconds and name != TOTAL
        ]
        return [element("h3", None, f"{one.run}: {1000 * one.seconds[TOTAL]:.1f} in all"), bars(rows)]

    def _card(self, one: Chapter) -> Card:
        drawn = min(one.looked_at, DRAWN)
        seen = f"{one.looked_at} boxes looked at" + (f", the best {drawn} drawn" if drawn < one.looked_at else "")
        pictures = [
            Picture(seen, one.pictures[0]),
            Picture(f"{one.sure} of {one.boxes} boxes are sure", one.pictures[1]),
        ]
        return Card(one.run, one.network, pictures)


def show_story(
    image: str | Path, runs: Sequence[str | Path], *, weights: Weights = "last", passes: int = PASSES
) -> Story:
    """The same image through the detectors of several runs that know the same classes.

    Args:
        image: a file.
        runs: run directories of detection, at least one.
        weights: "last" or "best" of every run.
        passes: that the times are medians of, after two warm ones.

    Raises:
        RecipeError: a run is a network's name or of another task, or has other classes than the first, which are named.
        DataError: the image cannot be used.

    Example:
        >>> import tempfile
        >>> import unpool
        >>> from PIL import Image
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 8, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run, photo = Path(folder, "run"), Path(folder, "photo.png")
        ...     _ = unpool.train("scenes_ssd", small, run=run)
        ...     Image.new("RGB", (64, 48)).save(photo)
        ...     story = show_story(photo, [run], passes=1)
        >>> len(story.chapters), story.passes
        (1, 1)
    """
    _check_paths(image, runs)
    predictors = [load(run, weights) for run in runs]
    first = predictors[0]
    for run, one in zip(runs, predictors, strict=True):
        _check(one, first, run=str(run), first=str(runs[0]))
    chapters = [_chapter(image, run, one, first, passes) for run, one in zip(runs, predictors, strict=True)]
    return Story(str(image), tuple(first.task.legend), passes, _machine(first), chapters)


def _check_paths(image: str | Path, runs: Sequence[str | Path]) -> None:
    if Path(image).is_dir():
        raise DataError(f"{image} is a folder: give the file of an image first, then the runs")
    for run in map(str, runs):
        if run in listed_networks() and not Path(run).is_dir():
            raise RecipeError(
                f"{quoted(run)} is a network, not a run: train it first, and give the directory of that run"
            )


def _machine(predictor: Predictor) -> str:
    if predictor.device.type == "cuda":
        return torch.cuda.get_device_name(predictor.device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads != 1 else ''}"


def _check(one: Predictor, other: Predictor, *, run: str, first: str) -> None:
    if not hasattr(one.task, "looked_at"):
        raise RecipeError(f"{run} answers as {type(one.task).__name__}: the story is of detection; leave it out")
    ours, theirs = one.info.classes, other.info.classes
    if set(ours) == set(theirs):
        return
    texts = []
    for name, only in ((run, set(ours) - set(theirs)), (first, set(theirs) - set(ours))):
        if only:
            more = f" and {len(only) - _LISTED} more" if len(only) > _LISTED else ""
            texts.append(f"{', '.join(sorted(only)[:_LISTED])}{more} only in {name}")
    raise RecipeError(
        f"{run} has other classes than {first}: {'; '.join(texts)}; give runs that were trained on the same classes"
    )


def _chapter(image: str | Path, run: str | Path, one: Predictor, first: Predictor, passes: int) -> Chapter:
    decoded = read_image(image, one.decoding, one.levels)
    record = one.predict(decoded)
    looked_at = looked_at_by(one, decoded)
    shown = drawable(decoded).expand(3, -1, -1)
    return Chapter(
        run=str(run),
        network=one.name,
        looked_at=len(looked_at),
        boxes=len(record["boxes"]),
        sure=sum(score >= SURE for score in record["score"]),
        seconds=median_seconds(lambda: one.predict(decoded), passes=passes, warm_up=WARM),
        pictures=(_drawn(shown, looked_at[:DRAWN]), first.task.draw(shown, _numbered_by(first.info, record))),
    )


def _drawn(image: Tensor, boxes: Tensor) -> Tensor:
    """Thin boxes over a darkened image."""
    none = torch.zeros(len(boxes), dtype=torch.int64)
    return draw_boxes(image // DIMMED, boxes, none, classes=("",), palette=(_PALE,), is_thin=none == 0)


def _numbered_by(info: DataInfo, record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the numbers that its classes have in another run, whose colours the page explains."""
    return {**record, "labels": [info.classes.index(name) for name in record["classes"]]}


def looked_at_by(predictor: Predictor, image: Tensor) -> Tensor:
    """(N, 4) boxes on a decoded image (C, H, W) that a detector's answer is chosen from; see `Detection.looked_at`."""
    task: Any = predictor.task
    inputs = predictor.inputs(image, (image.shape[-2], image.shape[-1]))
    with evaluating(predictor.model, task), torch.inference_mode():
        output = task.forward(predictor.model, inputs)
        return task.looked_at(output, inputs)[0].float().cpu()
