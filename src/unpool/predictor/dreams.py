"""Images that a network computes by itself: what excites a unit, a layer or a class (`unpool show dream`)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from unpool.errors import RecipeError, quoted
from unpool.inspection.dreaming import Ascent, Dream, Objective, centred, dream, octave_sizes
from unpool.inspection.goals import Goal, check_goal, excitement
from unpool.ops.cutting import averaged, resize_to
from unpool.ops.drawing import drawable
from unpool.ops.image_priors import natural_noise
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.chart import Series, line_chart
from unpool.pages.images import picture
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.sources import Lookable, Source, open_source
from unpool.tracing.foreign import Failure, foreign_code

LARGEST, SMALLEST = 1024, 8  # pixels of a side
_LISTED = 4  # of the first and the last layers in a message
_NOISE = 0.02  # deviation of the noise that an image begins with, on 0..1
FROM_PHOTO = Ascent(statistics=1.0)
FROM_NOISE = Ascent(steps=96, step=0.012, octaves=3, jitter=16, l2=0.2, smoothness=10.0, statistics=1.5)


def show_dream(  # noqa: PLR0913, a public verb
    source: Lookable,
    image: ImageLike | None = None,
    *,
    layer: str | None = None,
    unit: int | None = None,
    label: str | int | None = None,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    size_hw: tuple[int, int] | None = None,
    ascent: Ascent | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> View:
    """Changes a photograph, or noise, until it excites a unit, a layer or a class of a network.

    Args:
        source: any module, a predictor, a run directory, or the name of a network.
        image: a photograph, as `Predictor` takes it (DeepDream); None begins with noise, which gives the model of a
            class (Simonyan et al. 2014) or of a unit.
        layer: dotted name of the module that is excited; None takes the network's scores, in front of a softmax.
        unit: channel of the layer; None is all of the layer.
        label: name or index of the class that is excited, in place of layer and unit.
        weights: as `show_dense` takes them.
        preprocessing: of a network that is passed; None is ImageNet's mean and deviation.
        size_hw: of the image; None is that of the photograph up to 1,024 pixels, or the input of the network.
        ascent: steps, octaves, priors and seed; None is `FROM_PHOTO` or `FROM_NOISE`.
        progress: called with (steps done, steps in all).

    Returns:
        A view with the picture, the curve of the objective, and its numbers as values.

    Raises:
        RecipeError: there is no such layer, unit or class, nothing to excite is named, or the network does not take
            images of this size.
        DataError, ModelFileError: a file is missing or damaged.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> view = show_dream(network, layer="0", unit=2, size_hw=(16, 24), ascent=Ascent(steps=2, octaves=1, jitter=2))
        >>> view.picture.shape, view.values["goal"]
        (torch.Size([3, 16, 24]), 'unit 2 of 0')
    """
    meaning = "the picture shows the network's form alone"
    loaded = open_source(source, weights=weights, preprocessing=preprocessing, if_random=meaning)
    loaded = loaded._replace(preprocessing=replace(loaded.preprocessing, multiple=1))
    goal, named = _goal(loaded, layer=layer, unit=unit, label=label)
    start = _start(loaded, image, size_hw, seed=(ascent or FROM_NOISE).seed)
    ascent = _checked(ascent or (FROM_NOISE if image is None else FROM_PHOTO))
    normalize = partial(_normalized, loaded.preprocessing)
    objective = partial(excitement, loaded.network, goal)
    began = perf_counter()
    ascent, notes = _fitted(loaded, objective, normalize, start.to(loaded.device), ascent)
    loaded = loaded._replace(notes=(*loaded.notes, *notes))
    shown = dream(start.to(loaded.device), objective, normalize, ascent, progress)
    return _view(loaded, shown, goal=named, start=start if image is not None else None, time_s=perf_counter() - began)


def _checked(ascent: Ascent) -> Ascent:
    bounds = {"steps": 1, "octaves": 1, "jitter": 0, "tile": 32}
    for name, least in bounds.items():
        if (value := ascent._asdict()[name]) < least:
            raise RecipeError(f"{name} is {value}; it must be at least {least}")
    if ascent.scale <= 1 or ascent.step < 0 or min(ascent.l2, ascent.smoothness, ascent.statistics) < 0:
        raise RecipeError(f"{ascent}: scale must be above 1, and step and the weights of priors at least 0")
    return ascent


def _goal(loaded: Source, *, layer: str | None, unit: int | None, label: str | int | None) -> tuple[Goal, str]:
    """What is excited, and its name."""
    if label is None:
        if layer is None and unit is None:
            raise RecipeError(f"nothing to excite is named: give a class, or a layer and maybe a unit{_layers(loaded)}")
        goal = check_goal(loaded.network, Goal(layer or "", unit))
        return goal, str(goal)
    if layer is not None or unit is not None:
        raise RecipeError("a class is excited, or a layer: leave out the one or the other")
    if not loaded.has_classes:
        raise RecipeError(f"{loaded.name} has no classes: give a layer and maybe a unit{_layers(loaded)}")
    index = loaded.classes.index(str(label)) if label in loaded.classes else None
    if index is None and not str(label).isdecimal():
        near = ", ".join([name for name in loaded.classes if str(label).lower() in name.lower()][:8])
        raise RecipeError(f"there is no class {quoted(label)}: give its index{f', or one of {near}' if near else ''}")
    index = int(label) if index is None else index
    name = loaded.classes[index] if index < len(loaded.classes) else f"class {index}"
    return Goal("", index), f"the score of {name}"


def _layers(loaded: Source) -> str:
    names = [name for name, module in loaded.network.named_modules() if name and not next(module.children(), None)]
    shown = names if len(names) <= 2 * _LISTED else [*names[:_LISTED], "...", *names[-_LISTED:]]
    return f"; its layers are {', '.join(shown)}"


def _start(loaded: Source, image: ImageLike | None, size_hw: tuple[int, int] | None, *, seed: int) -> Tensor:
    """(1, C, H, W) on 0..1."""
    asked = loaded.preprocessing
    if image is None:
        size = size_hw or asked.size_hw or (224, 224)
        _check_size(size)
        noise = natural_noise((asked.channels, size[0], size[1]), exponent=1.0, deviation=_NOISE, seed=seed)
        return noise[None]
    photo = read_image(image, asked.decoding)
    height, width = photo.shape[-2:]
    factor = min(1.0, LARGEST / max(height, width))
    size = size_hw or (max(1, round(height * factor)), max(1, round(width * factor)))
    _check_size(size)
    return resize_to(photo, size)[None].float() / 255


def _check_size(size_hw: Sequence[int]) -> None:
    if not all(SMALLEST <= side <= LARGEST for side in size_hw):
        raise RecipeError(
            f"the image would be {tuple(size_hw)} (H, W); its sides must be {SMALLEST} to {LARGEST} pixels"
        )


def _normalized(preprocessing: Preprocessing, image: Tensor) -> Tensor:
    return preprocessing.normalize(255 * image)


def _fitted(
    loaded: Source, objective: Objective, normalize: Callable[[Tensor], Tensor], start: Tensor, ascent: Ascent
) -> tuple[Ascent, tuple[str, ...]]:
    """The ascent without octaves that are too small for the network, and a note where there are some.

    Raises:
        RecipeError: the network does not take the image itself, cut to a tile.
    """
    height, width = start.shape[-2:]
    tried, problem = "", Failure()
    for octaves in range(ascent.octaves, 0, -1):
        fewer = ascent._replace(octaves=octaves)
        image = averaged(start, octave_sizes((height, width), fewer)[0])[..., : ascent.tile, : ascent.tile]
        with foreign_code(passing=RecipeError) as failure, torch.no_grad():
            objective(normalize(image))
        problem = failure
        tried = f"{image.shape[-2]}x{image.shape[-1]} pixels"
        if not failure:
            left_out = f"{octaves} of {ascent.octaves} octaves: the network takes none smaller than {tried}"
            return fewer, (left_out,) if octaves < ascent.octaves else ()
    raise RecipeError(
        f"{loaded.name} does not take {tried} ({problem}): ask for another size, or for a tile as large as the image"
    ) from problem.error


def _view(loaded: Source, shown: Dream, *, goal: str, start: Tensor | None, time_s: float) -> View:
    image = drawable((255 * shown.image[0]).round().to(torch.uint8).cpu())
    values: dict[str, Any] = {
        "network": loaded.name,
        "goal": goal,
        "size_hw": list(image.shape[-2:]),
        "score": [shown.scores[0], shown.scores[-1]],
        "scores": shown.scores,
        "norm": float(centred(shown.image).square().mean().sqrt()),
        "time_s": round(time_s, 2),
        "notes": list(loaded.notes),
    }
    curve = line_chart("Objective", [Series("", list(enumerate(shown.scores, 1)))], x="step", y="score")
    facts = [("score before the first step", f"{shown.scores[0]:.4g}"), ("before the last", f"{shown.scores[-1]:.4g}")]
    pictures = [picture(image, goal, most=LARGEST)]
    if start is not None:
        pictures.insert(0, picture(drawable((255 * start[0]).round().to(torch.uint8)), "photograph", most=LARGEST))
    sections = [Section("Picture", [*map(note, loaded.notes), *pictures]), Section("Ascent", [curve, table(facts)])]
    return View(f"What excites {goal}", sections, values, picture=image, subtitle=loaded.name)
