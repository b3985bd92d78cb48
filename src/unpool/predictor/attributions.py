"""Which pixels of an image a score of the answer depends on (`unpool show attribution`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.inspection.attribution import grad_cam, integrated_gradients, occlusion
from unpool.inspection.dense_picture import heated
from unpool.inspection.feature_picture import enlarged
from unpool.inspection.layer_maps import only_map
from unpool.ops.drawing_sheet import draw_sheet
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.images import EXACT, picture
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import ImageLike
from unpool.predictor.sources import Lookable, Seen, Source, open_source, see
from unpool.task import Explained
from unpool.tracing.recorder import evaluating, record

Method = Literal["gradcam", "occlusion", "integrated"]
METHODS: tuple[Method, ...] = get_args(Method)
Progress = Callable[[int, int], None]
Target = Callable[[Any], Tensor]
LEAST_SIDE = 224  # pixels of the longer side of a picture, to which smaller images are enlarged
STEPS = 50  # of integrated gradients
_BRIGHT = 0.99  # share of pixels below the brightest colour, of attributions to single pixels
_PAGE = 1600  # pixels of a sheet on a page
_ABOUT = {
    "gradcam": "Grad-CAM: the maps of a layer, each times its mean gradient, where their sum is above 0",
    "occlusion": "occlusion: how far the score falls where a window of the mean colour covers a pixel",
    "integrated": "integrated gradients: size of each pixel's part in the difference to an image of the mean colour",
}
_HEADINGS = ("method", "settings", "largest", "least", "sum", "brightest x, y")


class _Heat(NamedTuple):
    """What one method gives: (H, W) as it is computed, the same from 0 to 1 to be drawn, and its settings in words."""

    values: Tensor
    shown: Tensor
    settings: str


def show_attribution(  # noqa: PLR0913, a public verb
    source: Lookable,
    image: ImageLike,
    target: str | int | Target | None = None,
    *,
    methods: Sequence[Method] = METHODS,
    layer: str | None = None,
    window: int | None = None,
    stride: int | None = None,
    steps: int = STEPS,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    size_hw: tuple[int, int] | None = None,
    progress: Progress = lambda done, total: None,
) -> View:
    """Draws over an image which of its pixels a score of the network's answer depends on.

    Args:
        source: a run directory, a predictor, the name of a network, or any module of one image.
        image: as `unpool.load(...)` takes it; or a tensor of floats (C, H, W), which the network gets as it is.
        target: what is explained. Of a task: a class; a class and a box, `road@left,top,right,bottom`; a joint; or a
            detection by its number or class. Of a module: the number of an output, or a function from the output to
            (B,). None takes what is answered first.
        methods: what is computed: see `inspection.attribution`.
        layer: of Grad-CAM; None takes the last of the coarsest maps that the score depends on, of the backbone
            where there is one.
        window: of occlusion, pixels of a side; None takes an eighth of the image's shorter side.
        stride: pixels between windows; None takes half a window.
        steps: of integrated gradients.
        weights: of a run "last" or "best"; of a network "imagenet" and the like, a file, or None for random ones.
        preprocessing: of a module's images; None takes ImageNet's mean and deviation.
        size_hw: to which the image is brought.
        progress: called with (parts done, parts in all) by each method.

    Raises:
        RecipeError: there is no such network, target, layer or method, or the task has no score to explain.
        DataError, ModelFileError: a file is missing or damaged.

    Example:
        >>> from PIL import Image
        >>> view = show_attribution("lenet5", Image.new("L", (32, 32)), 3, methods=["occlusion"], window=16)
        >>> view.values["explained"], view.values["methods"][0]["settings"]
        ('output 3', 'window 16, stride 8')
    """
    if not methods or not set(methods) <= set(METHODS):
        raise RecipeError(f"the methods are {quoted(list(methods))}; they must be of {', '.join(METHODS)}")
    opened = open_source(source, weights=weights, preprocessing=preprocessing, size_hw=size_hw)
    seen = see(opened, image)
    x = seen.inputs["image"]
    task = [] if opened.predictor is None else [opened.predictor.task]
    with evaluating(nn.ModuleList([opened.network, *task])):
        explained = _explained(opened, seen, target)
        with torch.no_grad():
            score, blank = (float(explained.value(one)[0]) for one in (x, torch.zeros_like(x)))
        heats = {}
        for method in methods:
            if method == "gradcam":
                heats[method] = _grad_cam(opened, x, explained, layer)
            elif method == "occlusion":
                heats[method] = _occlusion(x, explained, window, stride, progress)
            else:
                heats[method] = _integrated(x, explained, steps, progress)
    return _view(opened, seen, explained, heats, score=score, blank=blank)


def _explained(source: Source, seen: Seen, target: str | int | Target | None) -> Explained:
    """The score of the target: of the task where there is one, else of the network's output."""
    network, x = source.network, seen.inputs["image"]
    if not isinstance(target, str | int | None):
        return Explained("the score of the caller's function", lambda image: target(network(image)))
    if source.predictor is not None:
        task = source.predictor.task
        explained = task.explained(network, seen.inputs, None if target is None else str(target))
        if explained is None:
            raise RecipeError(
                f"{source.name} answers as {type(task).__name__}, which has no score of one image to explain"
            )
        return explained
    with torch.no_grad():
        output = only_map(network(x), "")
    number = str(int(output[0].argmax()) if target is None and output.dim() == 2 else target)
    if not (number.isascii() and number.isdigit() and int(number) < output.shape[1]):
        raise RecipeError(
            f"the target is {quoted(target)}: give the number of an output below {output.shape[1]}, or from Python a "
            "function from the output to one number an image"
        )
    index = int(number)
    return Explained(
        f"output {index}", lambda image: only_map(network(image), "")[:, index : index + 1].flatten(1).mean(1)
    )


def _grad_cam(source: Source, x: Tensor, explained: Explained, layer: str | None) -> _Heat:
    if layer is not None:
        return _cam(grad_cam(source.network, x, explained.value, layer=layer), layer)
    reason = "it has no convolution whose maps have more than one position"
    for name in _coarsest(source, x):
        try:
            return _cam(grad_cam(source.network, x, explained.value, layer=name), name)
        except RecipeError as error:
            reason = str(error)
    raise RecipeError(f"no layer of {source.name} serves Grad-CAM ({reason}): name one, or choose another method")


def _cam(heat: Tensor, layer: str) -> _Heat:
    return _Heat(heat, _from_0_to_1(heat), f"layer {layer or 'of the output'}")


def _coarsest(source: Source, x: Tensor) -> list[str]:
    """Names of modules, the coarsest maps first: of each size that a convolution gives, the last that gives it.

    Of a network that has a `backbone`, those of that alone, so that no head is among them.
    """
    body = dict(source.network.named_children()).get("backbone", source.network)
    inside = {id(module) for module in body.modules()}
    calls = [call for call in record(source.network, x) if id(call.module) in inside]
    sizes = {call.outputs[0][2:] for call in calls if isinstance(call.module, nn.Conv2d)}
    maps = [call for call in calls if len(call.outputs) == 1 and len(call.outputs[0]) == 4 and call.name]
    last = {call.outputs[0][2:]: call.name for call in maps if call.outputs[0][2:] in sizes}
    return [last[size] for size in sorted(last, key=lambda size: size[0] * size[1]) if size[0] * size[1] > 1]


def _occlusion(x: Tensor, explained: Explained, window: int | None, stride: int | None, progress: Progress) -> _Heat:
    side = window or max(1, min(x.shape[2:]) // 8)
    step = stride or max(1, side // 2)
    heat = occlusion(x, explained.value, window=side, stride=step, progress=progress)
    return _Heat(heat, _from_0_to_1(heat), f"window {side}, stride {step}")


def _integrated(x: Tensor, explained: Explained, steps: int, progress: Progress) -> _Heat:
    parts = integrated_gradients(x, explained.value, steps=steps, progress=progress)
    sizes = parts.abs().sum(0)
    bright = torch.quantile(sizes.flatten()[:: max(1, sizes.numel() >> 20)].float(), _BRIGHT)
    return _Heat(parts.sum(0), _from_0_to_1(sizes.clamp(max=float(bright))), f"{steps} steps")


def _from_0_to_1(values: Tensor) -> Tensor:
    positive = values.detach().clamp(min=0)
    return positive / positive.max().clamp(min=1e-12)


def _view(
    source: Source, seen: Seen, explained: Explained, heats: dict[Method, _Heat], *, score: float, blank: float
) -> View:
    height, width = seen.picture.shape[1:]
    pictures = {explained.about: seen.picture}
    pictures |= {name: heated(seen.picture, heat.shown[:height, :width].cpu()) for name, heat in heats.items()}
    side = max(LEAST_SIDE, height, width)
    sheet = draw_sheet([[(name, enlarged(one, side)) for name, one in pictures.items()]])
    rows = [_row(name, heat) for name, heat in heats.items()]
    dark = [f"{name} gives nothing above 0" for name, heat in heats.items() if not heat.shown.any()]
    notes = [*source.notes, *seen.notes, *dark]
    values = {"explained": explained.about, "score": score, "score_of_mean_colour": blank, "notes": notes}
    text = f"The score of {explained.about} is {score:.4g}, that of an image of the mean colour {blank:.4g}. "
    text += f"{'; '.join(_ABOUT[name] for name in heats)}. Each from dark, nothing, to pale, the most."
    sections = [
        Section(
            "Where the score is from",
            [picture(sheet, "heat", most=_PAGE, quality=EXACT), note(text), *map(note, notes)],
        ),
        Section("Numbers", [table([[str(value) for value in one.values()] for one in rows], headings=_HEADINGS)]),
    ]
    title = f"What {source.name} answers by"
    return View(title, sections, values | {"methods": rows}, sheet, subtitle=explained.about)


def _row(name: str, heat: _Heat) -> dict[str, Any]:
    at = int(heat.shown.argmax())
    return {
        "method": name,
        "settings": heat.settings,
        "largest": float(heat.values.max()),
        "least": float(heat.values.min()),
        "sum": float(heat.values.sum()),
        "brightest_xy": [at % heat.shown.shape[1], at // heat.shown.shape[1]],
    }
