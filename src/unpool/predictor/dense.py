"""Compares a classifier slid over a photograph with its convolutional and its dilated form (`unpool show dense`)."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unpool import models
from unpool.errors import RecipeError, quoted
from unpool.inspection.dense import DenseScores, score_windows
from unpool.inspection.dense_picture import draw, seconds
from unpool.inspection.score_maps import likeliest
from unpool.ops.cutting import resize_to
from unpool.ops.drawing import drawable
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.images import Card, Picture, grid
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.sources import Source, open_source

Pair = tuple[int, int]
LONGEST = 1024  # pixels; the longer side to which a larger photograph is made smaller


class Shown(NamedTuple):
    """The result of `show_dense`.

    Attributes:
        scores: of the three ways, with their times.
        label: the class of the heat maps.
        classes: names by index.
        notes: warnings, such as random weights or a photograph that was made smaller.
        picture: (3, H, W) uint8, the heat maps.
    """

    scores: DenseScores
    label: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    picture: Tensor

    def to_json(self) -> dict[str, Any]:
        named = {"class": self.classes[self.label], "label": self.label, "notes": list(self.notes)}
        return {**named, **self.scores.to_json()}

    def to_text(self) -> str:
        """Returns lines to read: the time of each way, which scores are equal, and why others are not."""
        return "\n".join(f"{name:12} {text}" for name, text in _lines(self.scores, self.classes[self.label]))

    def view(self) -> View:
        """The picture, with the lines beside it."""
        pictures = grid([Card(self.classes[self.label], "", [Picture("", self.picture)], is_exact=True)])
        parts = [pictures, table(_lines(self.scores, self.classes[self.label])), *map(note, self.notes)]
        title = "A classifier slid over a photograph"
        return View(title, [Section("Dense scores", parts)], self.to_json(), picture=self.picture)

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def save(self, path: str | Path) -> Path:
        """Writes the picture, or a page with it; see `View.save`."""
        return self.view().save(path)


def show_dense(
    source: str | Path,
    image: ImageLike,
    *,
    weights: str | Path | None = None,
    label: str | int | None = None,
    size_hw: Pair | None = None,
    window_hw: Pair | None = None,
    output_stride: int | None = None,
) -> Shown:
    """Scores each window of a photograph by a classifier in three ways: window by window, in one pass, and dilated.

    Args:
        source: run directory of a classification, or name of a network.
        image: as `Predictor` takes it.
        weights: "last" (also None) or "best" of a run; of a network "imagenet" and the like, a file, or None for
            random ones.
        label: name or index of the class of the heat maps; None takes the class of the highest mean probability.
        size_hw: size to which the photograph is resized; None keeps its size up to 1,024 pixels.
        window_hw: input size of the classifier, if the run does not say it.
        output_stride: of the dilated map; None takes the finest that this machine computes in some seconds.

    Raises:
        RecipeError: `source` is no classifier, it has no such class, it subtracts a mean image of another size, or
            the window is unknown or too large.
        NotConvertible: a layer has no exact convolutional or dilated counterpart.
        DataError, ModelFileError: a file is missing or damaged.

    Example:
        >>> from PIL import Image
        >>> shown = show_dense("lenet5", Image.new("L", (48, 40)))
        >>> shown.scores.coarse.shape  # scores of windows of 32x32, 4 pixels apart
        torch.Size([10, 3, 5])
    """
    loaded, classes = _classifier(source, weights)
    window = window_hw or loaded.size_hw
    if window is None:
        raise RecipeError(
            f"{source} was trained on images of different sizes, so its input size is unknown: set --window H W"
        )
    preprocessing = replace(loaded.preprocessing, multiple=1)  # windows are scored as they lie, without padding
    photo = read_image(image, preprocessing.decoding)
    photo, notes = _resized(photo, size_hw)
    _check_mean_image(preprocessing, (photo.shape[-2], photo.shape[-1]))
    prepared = preprocessing.normalize(photo.to(loaded.device)[None])
    known = None if label is None else _label(label, classes)
    scores = score_windows(loaded.network, prepared, window_hw=window, output_stride=output_stride)
    if scores.coarse.shape[0] != len(classes):
        raise RecipeError(f"{source} returns {scores.coarse.shape[0]} scores and has {len(classes)} class names")
    by = "softmax" if loaded.predictor is None else loaded.predictor.task.activation or "softmax"
    chosen = likeliest(scores.coarse, by) if known is None else known
    picture = draw(drawable(photo), scores, label=chosen, classes=classes, activation=by)
    return Shown(scores, chosen, classes, (*loaded.notes, *notes), picture)


def _classifier(source: str | Path, weights: str | Path | None) -> tuple[Source, tuple[str, ...]]:
    """The network, and the names of its classes."""
    row = None if Path(source).is_dir() else models.row_of(str(source))
    if row is not None and (row.kind == "composed" or row.output != (row.classes,)):
        raise RecipeError(
            f"{source} is no classifier with one output: only a classifier can slide; see `unpool models`"
        )
    opened = open_source(source, weights=weights, if_random="times and equalities hold, the scores mean nothing")
    if not opened.has_classes:
        raise RecipeError(f"weights {quoted(str(weights))} of {source} have no names of classes: choose others")
    if opened.predictor is not None and not opened.predictor.task.slides:
        raise RecipeError(f"{source} is no run of a classifier: only a classifier can slide; give a run of one")
    return opened, opened.classes if row is None else opened.classes or tuple(f"class {i}" for i in range(row.classes))


def _resized(photo: Tensor, size_hw: Pair | None) -> tuple[Tensor, tuple[str, ...]]:
    height, width = photo.shape[-2:]
    if size_hw is None and max(height, width) <= LONGEST:
        return photo, ()
    scale = LONGEST / max(height, width)
    target = size_hw or (round(height * scale), round(width * scale))
    resized = resize_to(photo, target)
    note = f"the photograph was made smaller, from {width}x{height} to {target[1]}x{target[0]}: --size sets another"
    return resized, () if size_hw else (note,)


def _check_mean_image(preprocessing: Preprocessing, size_hw: Pair) -> None:
    seen = preprocessing.size_hw
    if preprocessing.normalization == "location" and seen is not None and size_hw != seen:
        raise RecipeError(
            f"the run subtracts a mean image of {seen[0]} x {seen[1]} pixels and the photograph is {size_hw[0]} x "
            f"{size_hw[1]}: set --size {seen[0]} {seen[1]} and a smaller --window, or show a run with data.normalize "
            "channel or image"
        )


def _label(label: str | int, classes: tuple[str, ...]) -> int:
    if label in classes:
        return classes.index(str(label))
    if str(label).isdecimal() and int(label) < len(classes):
        return int(label)
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise RecipeError(f"there is no class {quoted(label)}; give an index below {len(classes)} or one of {shown}")


def _lines(scores: DenseScores, name: str) -> list[tuple[str, str]]:
    (height, width), (rows, columns) = scores.window_hw, scores.coarse.shape[1:]
    windows = f"{rows * columns} windows of {width}x{height}, {scores.stride[1]} pixels apart"
    left_out = rows * columns - scores.coarse_vs_crops.positions
    estimated = f", estimated from {scores.coarse_vs_crops.positions}" if left_out else ""
    faster = scores.slid_s / scores.coarse_s
    return [
        ("slid", f"{windows}: {seconds(scores.slid_s)}{estimated}"),
        ("one pass", f"{rows}x{columns} scores: {seconds(scores.coarse_s)}, {faster:.1f} times as fast"),
        *_equalities(scores),
        ("dilated", f"{_finer(scores)}"),
        (
            "shared",
            f"at every position of one pass the dilated scores are off by {scores.fine_vs_coarse.relative_error:.0e}",
        ),
        ("heat", f"{name}"),
    ]


def _equalities(scores: DenseScores) -> list[tuple[str, str]]:
    crops, heads = scores.coarse_vs_crops, scores.coarse_vs_head
    agree = f"same class at {crops.same_class} of {crops.positions}"
    if not scores.reads_beyond_window:
        return [
            (
                "crops",
                f"off by {crops.relative_error:.0e}, {agree}: nothing is padded, so that both are the same numbers",
            )
        ]
    (above, below), (left, right) = scores.margin
    reads = f"one pass reads up to {max(above, below, left, right)} pixels beyond its window instead"
    lines = [("crops", f"off by {crops.relative_error:.2g}, {agree}: each crop is padded by zeros of its own, {reads}")]
    if heads is not None:
        agreement = (
            f"off by {heads.relative_error:.0e} at {heads.positions} positions, same class at {heads.same_class}"
        )
        lines.append(("head", f"the classifier's head on windows of the maps of the whole image: {agreement}"))
    return lines


def _finer(scores: DenseScores) -> str:
    rows, columns = scores.fine.shape[1:]
    text = f"stride {scores.output_stride}, {rows}x{columns} scores: {seconds(scores.fine_s)}"
    return text if scores.finer_s is None else f"{text}; the next finer one would take about {seconds(scores.finer_s)}"
