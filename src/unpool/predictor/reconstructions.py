"""The images of a set that excite a unit most, and what it sends back to each of them (`unpool show deconvnet`)."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.errors import DataError, RecipeError
from unpool.inspection.backward_rules import RULES, Rule, reconstruct
from unpool.inspection.feature_picture import patch_of, signal_picture, tiled
from unpool.inspection.layer_maps import layer_output
from unpool.inspection.top_patches import COUNT, Excited, Windows, top_images
from unpool.ops.drawing_sheet import draw_sheet
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.images import EXACT, picture
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.asked import list_images
from unpool.predictor.sources import Lookable, Source, open_source, see

DRAWN = 4  # units, where none are named
_PAGE = 1600  # pixels of a sheet on a page
_LISTED = 5  # notes on images
_HEADINGS = ("unit", "image", "activation", "position", "sees x, y, width, height")
_RULES = {
    "deconvnet": "deconvnet passes a signal back through a ReLU where the signal is above 0",
    "guided": "guided where it and the ReLU's input are",
    "gradient": "gradient where the input is",
}


class _Excited(NamedTuple):
    """What excites one unit, and what it sends back, by rule."""

    unit: int
    images: list[Excited]
    patches: list[Tensor]
    frames: list[tuple[int, ...]]
    signals: dict[Rule, list[Tensor]]
    relus: int


def show_deconvnet(  # noqa: PLR0913, a public verb
    source: Lookable,
    images: Sequence[str | Path],
    *,
    layer: str,
    units: Sequence[int] = (),
    rules: Sequence[Rule] = RULES,
    count: int = COUNT,
    seed: int = 0,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    size_hw: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> View:
    """Finds the patches of a set that excite units of a layer most, and draws what each unit sends back beside them.

    One image is in memory at a time, beside those that are kept.

    Args:
        source: any module, a predictor, a run directory, or the name of a network.
        images: files, folders of them, or patterns; one that cannot be read is left out, and a note says so.
        layer: dotted name of a module; of one that runs several times the first call counts.
        units: its channels; `DRAWN` that are drawn by `seed` where none are named.
        rules: of the way back, see `inspection.backward_rules`.
        count: patches of each unit, each of another image.
        seed: of the units.
        weights: of a run "last" or "best"; of a network "imagenet" and the like, a file, or None for random ones.
        preprocessing: of a module's images; None takes ImageNet's mean and deviation.
        size_hw: to which images are brought.
        progress: called with (images done, images in all).

    Raises:
        RecipeError: there is no such network, layer, unit or rule, or the rule meets an activation that is no ReLU.
        DataError, ModelFileError: no image can be read, or a file is missing or damaged.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.effect_noise((32, 32), 50).save(Path(folder, "noise.png"))
        ...     view = show_deconvnet("lenet5", [folder], layer="features.conv1", units=[2], rules=["gradient"])
        >>> view.values["units"][0]["patches"][0]["sees"][2:]  # a window of 5x5 pixels
        [5, 5]
    """
    if count < 1 or not rules:
        raise RecipeError(f"{count} patches by {len(rules)} rules: give 1 or more of each")
    opened = open_source(source, weights=weights, preprocessing=preprocessing, size_hw=size_hw)
    files, problems = list_images(images)
    reading = _Reading(opened, [path for path in files if path not in problems], progress)
    chosen = list(units) or _drawn(opened, next(iter(reading))[1], layer, seed)
    tops = top_images(opened.network, reading, layer=layer, units=chosen, count=count)
    windows = Windows(opened.network, layer)
    shown = [_send_back(opened, windows, layer, unit, tops[unit], rules) for unit in chosen]
    of_files = list(dict.fromkeys([*problems.values(), *reading.problems, *reading.notes]))
    more = [f"{len(of_files) - _LISTED} more notes on images"] if len(of_files) > _LISTED else []
    notes = [*opened.notes, *of_files[:_LISTED], *more, *_doubts(shown, windows, rules)]
    return _view(opened, layer, shown, rules, read=reading.read, notes=notes)


class _Reading:
    """Reads image files one by one: name, input and picture of each that can be read.

    Attributes:
        read: how many were read in the last pass.
        problems: sentences on those that cannot be read.
        notes: sentences on those that are read.
    """

    def __init__(self, source: Source, files: Sequence[Path], progress: Callable[[int, int], None]) -> None:
        self._source, self._files, self._progress = source, files, progress
        self.read, self.problems, self.notes = 0, [], []

    def __iter__(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        self.read, self.problems, self.notes = 0, [], []
        for number, path in enumerate(self._files):
            self._progress(number, len(self._files))
            try:
                seen = see(self._source, path)
            except DataError as error:
                self.problems.append(str(error))
                continue
            self.read += 1
            self.notes += seen.notes
            yield path.name, seen.inputs["image"], seen.picture
        self._progress(len(self._files), len(self._files))
        if not self.read:
            raise DataError(f"none of {len(self._files)} images can be read: {self.problems[0]}")


def _drawn(source: Source, image: Tensor, layer: str, seed: int) -> list[int]:
    with torch.no_grad():
        count = layer_output(source.network, image, layer).shape[1]
    return sorted(random.Random(seed).sample(range(count), min(DRAWN, count)))


def _send_back(
    source: Source, windows: Windows, layer: str, unit: int, tops: Sequence[Excited], rules: Sequence[Rule]
) -> _Excited:
    """Patches of one unit, and its signals on the same parts of the images."""
    frames = [windows.frame(tuple(one.image.shape[1:]), one.position) for one in tops]
    sent = [
        reconstruct(source.network, one.image, layer=layer, unit=unit, rules=rules, position=one.position)
        for one in tops
    ]
    order = source.preprocessing.order
    signals: dict[Rule, list[Tensor]] = {
        rule: [
            signal_picture(one.signals[rule].cpu(), frame, order=order) for one, frame in zip(sent, frames, strict=True)
        ]
        for rule in rules
    }
    patches = [patch_of(one.picture, frame) for one, frame in zip(tops, frames, strict=True)]
    corners = [(frame.left, frame.top, frame.width, frame.height) for frame in frames]
    return _Excited(unit, list(tops), patches, corners, signals, max(one.relus for one in sent))


def _doubts(shown: Sequence[_Excited], windows: Windows, rules: Sequence[Rule]) -> list[str]:
    """Sentences on what limits the pictures."""
    dead = [str(one.unit) for one in shown if one.images[0].activation <= 0]
    reason = windows.reason(tuple(shown[0].images[0].image.shape[1:]))
    doubts = {
        f"no image excites unit {', '.join(dead)} above 0": bool(dead),
        f"whole images are shown, since the part that a position sees has no formula: {reason}": bool(reason),
        "no ReLU stands in front of the layer, so that all rules give the same": len(rules) > 1 and not shown[0].relus,
    }
    return [text for text, holds in doubts.items() if holds]


def _view(
    source: Source, layer: str, shown: Sequence[_Excited], rules: Sequence[Rule], *, read: int, notes: Sequence[str]
) -> View:
    lines = [
        [
            (f"unit {one.unit}: {one.images[0].activation:.3g}", tiled(one.patches)),
            *((rule, tiled(one.signals[rule])) for rule in rules),
        ]
        for one in shown
    ]
    sheet = draw_sheet(lines)
    values = {"layer": layer, "images": read, "rules": list(rules), "notes": list(notes)}
    units = [{"unit": one.unit, "patches": _rows(one)} for one in shown]
    rows = [[one["unit"], *map(str, row.values())] for one in units for row in one["patches"]]
    text = (
        f"Left, the part that the unit sees of the images of {read} that excite it most, each of another image, the "
        "first largest; right, the activation sent back to the same part: grey is 0, each on a scale of its own. "
        f"{'; '.join(_RULES[rule] for rule in rules)}."
    )
    sections = [
        Section(
            f"Units of {layer}", [picture(sheet, "patches", most=_PAGE, quality=EXACT), note(text), *map(note, notes)]
        ),
        Section("Numbers", [table(rows, headings=_HEADINGS)]),
    ]
    return View(f"What excites {source.name}", sections, values | {"units": units}, sheet, subtitle=f"layer {layer}")


def _rows(one: _Excited) -> list[dict[str, Any]]:
    return [
        {
            "image": image.name,
            "activation": round(image.activation, 6),
            "position": list(image.position),
            "sees": list(frame),
        }
        for image, frame in zip(one.images, one.frames, strict=True)
    ]
