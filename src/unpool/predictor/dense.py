"""`unpool show dense`: a classifier slid over a photograph, in one pass and dilated: figures and a picture."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.dense import DenseScores, score_windows
from unpool.inspection.dense_picture import draw, seconds
from unpool.inspection.score_maps import likeliest
from unpool.model_file import FILES
from unpool.models.pretrained import PUBLISHED, origin
from unpool.ops.cutting import resize_to
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.loading import load

Pair = tuple[int, int]
LONGEST = 1024  # pixels of the longer side to which a photograph is made smaller


class Shown(NamedTuple):
    """What there is to see.

    Attributes:
        found: scores and times.
        label: the class of the heat maps.
        classes: names by index.
        notes: what a reader must know: weights that are random, a photograph that was made smaller.
        picture: (3, H, W) uint8.
    """

    found: DenseScores
    label: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    picture: Tensor

    def to_json(self) -> dict[str, Any]:
        named = {"class": self.classes[self.label], "label": self.label, "notes": list(self.notes)}
        return {**named, **self.found.to_json()}

    def to_text(self) -> str:
        """Lines for people: the time of each way, what is equal, and why the rest is not."""
        return "\n".join(f"{name:12} {text}" for name, text in _lines(self.found, self.classes[self.label]))


class _Source(NamedTuple):
    classifier: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    window_hw: Pair | None
    notes: tuple[str, ...] = ()


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
    """Slides a classifier over a photograph, and shows its convolutional and its dilated form beside it.

    Args:
        source: a run directory of a classification, or a network's name.
        image: as `Predictor` takes it.
        weights: of a run "last" (None) or "best"; of a network "imagenet", a .safetensors file, or None: random.
        label: name or index of the class of the heat maps; None takes that of the highest mean probability.
        size_hw: to which the photograph is resized; None keeps its own up to 1,024 pixels.
        window_hw: the classifier's input size, where the run does not say it.
        output_stride: of the dilated map; None takes the finest that this machine computes in some seconds.

    Raises:
        RecipeError: no classifier, no such class, a window that is not known or larger than the photograph.
        NotConvertible: a layer has no exact counterpart.
        DataError, ModelFileError: a file cannot be used.

    Example:
        >>> from PIL import Image
        >>> shown = show_dense("lenet5", Image.new("L", (48, 40)))
        >>> shown.found.coarse.shape  # scores of windows of 32x32, 4 pixels apart
        torch.Size([10, 3, 5])
    """
    given = _run(Path(source), weights) if Path(source).is_dir() else _network(str(source), weights)
    window = window_hw or given.window_hw
    if window is None:
        raise RecipeError(
            f"{source} was trained on images of their own size and does not say which: give it as --window H W"
        )
    photo = read_image(image, given.preprocessing.channels, exif=given.preprocessing.exif)
    photo, notes = _resized(photo, size_hw)
    prepared = given.preprocessing.normalize(photo.to(_device(given.classifier))[None])
    known = None if label is None else _label(label, given.classes)
    found = score_windows(given.classifier, prepared, window_hw=window, output_stride=output_stride)
    if found.coarse.shape[0] != len(given.classes):
        raise RecipeError(f"{source} gives {found.coarse.shape[0]} scores and has {len(given.classes)} class names")
    chosen = likeliest(found.coarse) if known is None else known
    picture = draw(photo, found, label=chosen, classes=given.classes)
    return Shown(found, chosen, given.classes, (*given.notes, *notes), picture)


def _run(run: Path, weights: str | Path | None) -> _Source:
    if weights is not None and weights not in FILES:
        raise RecipeError(f"weights of a run are {' or '.join(FILES)}, not {str(weights)!r}")
    predictor = load(run, "best" if weights == "best" else "last")
    if not predictor.task.slides:
        raise RecipeError(f"{run} is no run of a classifier: only a classifier slides; give a run of one")
    return _Source(predictor.model, predictor.preprocessing, predictor.info.classes, predictor.preprocessing.size_hw)


def _network(name: str, weights: str | Path | None) -> _Source:
    row = models.row_of(name)
    if row.kind == "composed" or row.output != (row.classes,):
        raise RecipeError(f"{name} is no classifier with one answer: only one slides; see `unpool models`")
    if weights in FILES:
        raise RecipeError(f"weights {str(weights)!r} are of a run, and there is no run directory {name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = models.build(name, weights=weights)
    window = (row.input[1], row.input[2])
    channels = row.input[0]
    if weights in PUBLISHED:
        come = origin(name, str(weights))
        preprocessing = Preprocessing(mean=come.mean, std=come.std)
        return _Source(network, preprocessing, come.classes, come.size_hw or window)
    colours = {} if channels == 3 else {"channels": channels, "mean": channels * (0.5,), "std": channels * (0.5,)}
    classes = tuple(f"class {i}" for i in range(row.classes))
    notes = ("the weights are random: times and equalities hold, the scores mean nothing",) if weights is None else ()
    return _Source(network, Preprocessing(**colours), classes, window, notes)


def _resized(photo: Tensor, size_hw: Pair | None) -> tuple[Tensor, tuple[str, ...]]:
    height, width = photo.shape[-2:]
    if size_hw is None and max(height, width) <= LONGEST:
        return photo, ()
    scale = LONGEST / max(height, width)
    target = size_hw or (round(height * scale), round(width * scale))
    resized = resize_to(photo, target)
    told = f"the photograph was made smaller, from {width}x{height} to {target[1]}x{target[0]}: --size takes another"
    return resized, () if size_hw else (told,)


def _label(given: str | int, classes: tuple[str, ...]) -> int:
    if given in classes:
        return classes.index(str(given))
    if str(given).isdecimal() and int(given) < len(classes):
        return int(given)
    shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
    raise RecipeError(f"there is no class {given!r}; give an index below {len(classes)} or one of {shown}")


def _device(network: nn.Module) -> torch.device:
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def _lines(found: DenseScores, name: str) -> list[tuple[str, str]]:
    (height, width), (rows, columns) = found.window_hw, found.coarse.shape[1:]
    windows = f"{rows * columns} windows of {width}x{height}, {found.stride[1]} pixels apart"
    left_out = rows * columns - found.crops.positions
    estimated = f", estimated from {found.crops.positions}" if left_out else ""
    faster = found.slid_s / found.coarse_s
    return [
        ("slid", f"{windows}: {seconds(found.slid_s)}{estimated}"),
        ("one pass", f"{rows}x{columns} scores: {seconds(found.coarse_s)}, {faster:.1f} times as fast"),
        *_equalities(found),
        ("dilated", f"{_finer(found)}"),
        ("shared", f"at every position of one pass the dilated scores are off by {found.shared.off:.0e}"),
        ("heat", f"{name}"),
    ]


def _equalities(found: DenseScores) -> list[tuple[str, str]]:
    crops, heads = found.crops, found.heads
    agree = f"same class at {crops.same_class} of {crops.positions}"
    if not found.is_padded:
        return [("crops", f"off by {crops.off:.0e}, {agree}: nothing is padded, so that both are the same numbers")]
    (above, below), (left, right) = found.margin
    reads = f"one pass reads up to {max(above, below, left, right)} pixels beyond its window instead"
    lines = [("crops", f"off by {crops.off:.2g}, {agree}: each crop is padded by zeros of its own, {reads}")]
    if heads is not None:
        told = f"off by {heads.off:.0e} at {heads.positions} positions, same class at {heads.same_class}"
        lines.append(("head", f"the classifier's head on windows of the maps of the whole image: {told}"))
    return lines


def _finer(found: DenseScores) -> str:
    rows, columns = found.fine.shape[1:]
    told = f"stride {found.output_stride}, {rows}x{columns} scores: {seconds(found.fine_s)}"
    return told if found.finer_s is None else f"{told}; the next finer one would take about {seconds(found.finer_s)}"
