"""What a trained network loses without some of its parts (Veit et al. 2016, arXiv:1605.06431): `unpool show lesion`.

Differs from the paper: error is that of the run's first metric on at most some thousand images, pairs of blocks trade
places at random as there, and path lengths are measured in evaluation mode.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from unpool import predictor
from unpool.assemble.data import as_sized, give_set_range
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.data.content_cache import ContentCache
from unpool.data.looking import Binding
from unpool.data.store import scan
from unpool.errors import RecipeError
from unpool.inspection.blocks import Block, Layer, Parts, parts_of
from unpool.inspection.lesions import reordered, without
from unpool.inspection.path_lengths import Effective, LengthGradient, effective_lengths, gradients_by_length
from unpool.machine import cache_folder
from unpool.measuring import measured, measured_on
from unpool.pages.axes import number
from unpool.pages.blocks import note, table
from unpool.pages.chart import Series, line_chart
from unpool.pages.markup import element
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import Overrides, Recipe
from unpool.run_directory import RunDirectory
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import evaluating
from unpool.training.job import streamed
from unpool.training.step import total_loss
from unpool.types import Batch, Sample, Samples

_PATH_IMAGES = 16  # in the batch whose gradients are measured
Progress = Callable[[int, int], None]


class Deleted(NamedTuple):
    """One part, whether it keeps the shape, and the error of the network without it."""

    name: str
    keeps_shape: bool
    error: float


class Drawn(NamedTuple):
    """Several lesions of one kind, drawn at random.

    Attributes:
        size: blocks deleted, or pairs of blocks that traded places.
        order: Kendall's tau of the order of blocks, mean of the draws; 1 where none was moved.
        errors: of each draw.
    """

    size: int
    order: float
    errors: list[float]


class Lesions(NamedTuple):
    """What lesions of a network cost.

    Attributes:
        error: of the whole network.
        blocks, layers: each deleted alone; layers only where the network has no residual block.
        unremovable: layers whose output has another shape than their input.
        several, shuffled: of residual blocks.
        lengths: gradient by path length; empty without residual blocks.
        effective: of `lengths`.
    """

    error: float
    blocks: list[Deleted]
    layers: list[Deleted]
    unremovable: list[str]
    several: list[Drawn]
    shuffled: list[Drawn]
    lengths: list[LengthGradient]
    effective: Effective | None


class _Fewer:
    """Evenly spaced samples of a set, at most `count`."""

    def __init__(self, whole: Samples, count: int) -> None:
        self._whole = whole
        self._indices = range(len(whole))
        if count < len(whole):
            self._indices = [i * len(whole) // count for i in range(count)]
        self.gives, self.info = whole.gives, whole.info
        self.names: Sequence[str] = [whole.names[i] for i in self._indices]
        self.sizes_hw: Sequence[tuple[int, int]] = [whole.sizes_hw[i] for i in self._indices]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._whole[self._indices[index]] | {"index": torch.tensor(index)}

    def targets(self, index: int) -> Sample:
        return self._whole.targets(self._indices[index])


def show_lesion(  # noqa: PLR0913, a public verb
    run: str | Path,
    overrides: Overrides = (),
    *,
    split: Literal["train", "val", "test"] = "val",
    weights: predictor.Weights = "last",
    images: int = 1000,
    draws: int = 3,
    seed: int = 0,
    reader: Any = None,
    progress: Progress = lambda done, total: None,
) -> View:
    """Deletes and moves parts of a run's network, and measures its error after each.

    Deleted are each residual block by itself, then several at random, then pairs of blocks of one shape trade places;
    of a network without residual blocks, each layer whose output has the shape of its input. Of residual networks the
    gradient by path length is measured too.

    Args:
        run: its directory.
        overrides: as of `evaluate`.
        split: the part of the set to measure on.
        weights: of the last step, or the best seen in validation.
        images: to measure on at most, evenly spaced in the set.
        draws: of each number of blocks, and of each number of pairs.
        seed: of the draws.
        reader: as of `evaluate`.
        progress: called with (lesions measured, lesions in all).

    Raises:
        RecipeError: the network has nothing that can be left out, or the run has no metric.
        ModelFileError, DataError: as of `evaluate`.

    Example:
        >>> import tempfile
        >>> from unpool.run import train
        >>> small = {"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1}
        >>> small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     metrics = train("scenes_unet", small, run=Path(folder, "run"))
        ...     view = show_lesion(metrics["run"], images=2, draws=1)
        >>> len(view.values["blocks"]), len(view.values["layers"]), len(view.values["unremovable"])
        (0, 7, 11)
    """
    if images < 1 or draws < 1:
        raise RecipeError(f"images is {images} and draws {draws}; both must be at least 1")
    directory = RunDirectory.open(Path(run))
    trained = predictor.load(directory.path, weights=weights)
    settings, reader = measured_on(directory, overrides, split, reader=reader, known=trained.info)
    give_set_range(reader, trained.preprocessing.set_range)
    trained.task.measure_with(reader.info)
    memory = None if settings.data.memory == "auto" else settings.data.memory
    with ContentCache(cache_folder("contents")) as cache:
        samples = scan(reader, memory=memory, binding=Binding(cache=cache)).samples
    fewer = _Fewer(samples, images)
    trained.preprocessing = as_sized(trained.preprocessing, reader, samples)
    lesions = measure_lesions(trained, settings, fewer, draws=draws, seed=seed, progress=progress)
    return _view(lesions, name=directory.path.name, error=_error_name(trained), images=len(fewer))


def measure_lesions(
    trained: predictor.Predictor,
    settings: Recipe,
    samples: Samples,
    *,
    draws: int = 3,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Lesions:
    """Returns the error of a trained network after each lesion; see `show_lesion`.

    Raises:
        RecipeError: the network has nothing that can be left out.
    """
    batch = _first_batch(trained, settings, samples)
    parts = _parts(trained, batch["image"])
    removable = [layer for layer in parts.layers if layer.keeps_shape]
    if not parts.blocks and not removable:
        raise RecipeError("the network has no residual block, and no layer whose output has the shape of its input")
    planned = _plan(parts, removable, draws=draws, generator=torch.Generator().manual_seed(seed))
    total, errors = len(planned) + 1, []
    progress(0, total)

    def measure(lesion: AbstractContextManager[None]) -> float:
        with lesion:
            errors.append(_error(trained, settings, samples))
        progress(len(errors), total)
        return errors[-1]

    error = measure(nullcontext())
    model, blocks = trained.model, parts.blocks
    deleted = [Deleted(part.name, part.keeps_shape, measure(without(model, [part]))) for part in blocks or removable]
    several: dict[int, list[float]] = {}
    moved: dict[int, list[tuple[float, float]]] = {}
    for size, chosen, order in planned[len(deleted) :]:
        if order is None:
            several.setdefault(size, []).append(measure(without(model, [blocks[i] for i in chosen])))
        else:
            moved.setdefault(size, []).append((kendall_tau(order), measure(reordered(model, blocks, order))))
    lengths = _lengths(trained, batch, blocks, seed=seed) if blocks else []
    return Lesions(
        error=error,
        blocks=deleted if blocks else [],
        layers=[] if blocks else deleted,
        unremovable=[] if blocks else [layer.name for layer in parts.layers if not layer.keeps_shape],
        several=[Drawn(size, 1.0, each) for size, each in several.items()],
        shuffled=[
            Drawn(size, fmean(tau for tau, _ in each), [value for _, value in each]) for size, each in moved.items()
        ],
        lengths=lengths,
        effective=effective_lengths(lengths) if lengths else None,
    )


def _parts(trained: predictor.Predictor, images: Tensor | list[Tensor]) -> Parts:
    with foreign_code(passing=RecipeError) as failure:
        image = images[:1] if isinstance(images, Tensor) else images[0][None]
        return parts_of(trained.model, image)
    raise RecipeError(
        f"{trained.name or type(trained.model).__name__} cannot be followed from its images alone ({failure}): lesions "
        "are of networks that take one batch of images"
    ) from failure.error


_Plan = tuple[int, list[int], list[int] | None]  # size, blocks to delete, or the order to run them in


def _plan(parts: Parts, removable: Sequence[Layer], *, draws: int, generator: torch.Generator) -> list[_Plan]:
    count = len(parts.blocks)
    plan: list[_Plan] = [(1, [i], None) for i in range(count or len(removable))]
    for size in _sizes(count):
        for _ in range(draws):
            plan.append((size, torch.randperm(count, generator=generator)[:size].tolist(), None))
    if count and _pairs(parts.blocks):
        for size in (1, *_sizes(count)):
            for _ in range(draws):
                plan.append((size, [], _swapped(parts.blocks, size, generator)))
    return plan


def _sizes(count: int) -> list[int]:
    """Numbers of blocks to delete at once: 2, 4, ... up to half of them."""
    return [2**power for power in range(1, 12) if 2**power <= count / 2]


def _pairs(blocks: Sequence[Block]) -> list[tuple[int, int]]:
    """Blocks that can trade places."""
    free = [i for i, block in enumerate(blocks) if block.is_module and block.keeps_shape]
    return [(i, j) for i in free for j in free if i < j and blocks[i].shape == blocks[j].shape]


def _swapped(blocks: Sequence[Block], pairs: int, generator: torch.Generator) -> list[int]:
    """An order in which so many pairs, drawn one after the other, traded places."""
    order, possible = list(range(len(blocks))), _pairs(blocks)
    for pick in torch.randint(len(possible), (pairs,), generator=generator).tolist():
        i, j = possible[pick]
        order[i], order[j] = order[j], order[i]
    return order


def kendall_tau(order: Sequence[int]) -> float:
    """Returns Kendall's rank correlation of an order with the sorted one: 1 for the same, -1 for the reverse.

    Example:
        >>> kendall_tau([0, 1, 2]), kendall_tau([2, 1, 0]), round(kendall_tau([1, 0, 2]), 3)
        (1.0, -1.0, 0.333)
    """
    pairs = [(i, j) for j in range(len(order)) for i in range(j)]
    return sum(1 if order[i] < order[j] else -1 for i, j in pairs) / len(pairs) if pairs else 1.0


def _error(trained: predictor.Predictor, settings: Recipe, samples: Samples) -> float:
    name = trained.task.best
    score = measured(trained, settings, samples)[name]
    if score is None:
        return math.nan
    return 1 - score if _is_share(trained) else score


def _is_share(trained: predictor.Predictor) -> bool:
    description = trained.task.description(trained.task.best)
    return description.is_share and description.higher_is_better


def _error_name(trained: predictor.Predictor) -> str:
    title = trained.task.description(trained.task.best).title
    return f"1 - {title}" if _is_share(trained) else title


def _first_batch(trained: predictor.Predictor, settings: Recipe, samples: Samples) -> Batch:
    """The first images of the set, as the network sees them."""
    loader = make_eval_loader(settings, samples, trained.preprocessing)
    device = make_device(settings)
    trained.model.to(device)
    trained.task.to(device)
    try:
        with streamed(loader, 0, 0, epochs=1) as stream:
            batch = Prepare(trained.preprocessing, device)(next(iter(stream)))
    finally:
        loader.close()
    return {key: value[:_PATH_IMAGES] for key, value in batch.items()}


def _lengths(trained: predictor.Predictor, batch: Batch, blocks: Sequence[Block], *, seed: int) -> list[LengthGradient]:
    def loss(image: Tensor) -> Tensor:
        return total_loss(trained.task.losses(trained.model, {**batch, "image": image}))

    with evaluating(trained.model), evaluating(trained.task):
        return gradients_by_length(trained.model, loss, batch["image"], blocks, seed=seed)


def _view(lesions: Lesions, *, name: str, error: str, images: int) -> View:
    values: dict[str, Any] = {
        "error": lesions.error,
        "images": images,
        **{key: [one._asdict() for one in rows] for key, rows in _rows(lesions).items()},
        "unremovable": lesions.unremovable,
        "effective": None if lesions.effective is None else lesions.effective._asdict(),
    }
    single = lesions.blocks or lesions.layers
    what = "residual block" if lesions.blocks else "layer"
    each = [(i + 1, one.error) for i, one in enumerate(single)]
    level = [(i + 1, lesions.error) for i in range(len(single))]
    charts = [
        line_chart(
            f"Without one {what}", [Series("without it", each), Series("whole", level)], x=what, y=error, scale="zero"
        )
    ]
    if lesions.several:
        points = [(0.0, lesions.error), *((float(one.size), fmean(one.errors)) for one in lesions.several)]
        charts.append(line_chart("Without several", [Series("", points)], x="blocks deleted", y=error, scale="zero"))
    if lesions.shuffled:
        moved = sorted([(1.0, lesions.error), *((one.order, fmean(one.errors)) for one in lesions.shuffled)])
        charts.append(
            line_chart(
                "Blocks in another order", [Series("", moved)], x="Kendall's tau of the order", y=error, scale="zero"
            )
        )
    sections = [Section("Error", [element("div", {"class": "charts"}, *charts)]), *_path_sections(lesions)]
    rows = [("whole network", number(lesions.error)), *((one.name, number(one.error)) for one in single)]
    hints = [note(f"cannot be left out, since they change the shape: {', '.join(lesions.unremovable)}")]
    sections.append(Section("By part", [table(rows, headings=("without", error)), *hints[: len(lesions.unremovable)]]))
    return View(f"Lesions of {name}", sections, values, subtitle=f"{error} on {images} images")


def _rows(lesions: Lesions) -> dict[str, Sequence[Any]]:
    return {
        "blocks": lesions.blocks,
        "layers": lesions.layers,
        "several": lesions.several,
        "shuffled": lesions.shuffled,
        "lengths": lesions.lengths,
    }


def _path_sections(lesions: Lesions) -> list[Section]:
    if lesions.effective is None:
        return []
    lengths, effective = lesions.lengths, lesions.effective
    charts = [
        line_chart(
            title,
            [Series("", [(one.length, y) for one, y in zip(lengths, ys, strict=True)])],
            x="blocks on the path",
            y=unit,
        )
        for title, unit, ys in (
            ("Paths", "share", [one.paths for one in lengths]),
            ("Gradient of one path", "norm at the image", [one.gradient for one in lengths]),
            ("Gradient of all paths of a length", "share", [one.contribution for one in lengths]),
        )
    ]
    text = (
        f"Paths through {effective.shortest} to {effective.longest} of {lengths[-1].length} blocks carry 95 % of the "
        f"gradient; they are {100 * effective.paths:.3g} % of all paths."
    )
    return [Section("Paths", [element("div", {"class": "charts"}, *charts), note(text)])]
