"""Shows the effective receptive field of a layer beside the theoretical one (`unpool show field`)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.inspection.dense_picture import ramp
from unpool.inspection.field_by_formula import Seen, receptive_field
from unpool.inspection.field_by_weights import EffectiveField, effective_field
from unpool.ops.drawing import drawable
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.images import picture
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import ImageLike, read_image
from unpool.predictor.sources import Lookable, open_source

SIDE = 384  # pixels of a panel's longer side, at least
_GAP = 12
_FRAME, _RING = (255, 255, 255), (120, 255, 160)


def show_field(  # noqa: PLR0913, a public verb
    source: Lookable,
    images: Sequence[ImageLike] = (),
    *,
    weights: str | Path | None = None,
    layer: str | None = None,
    size_hw: tuple[int, int] | None = None,
    samples: int = 20,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> View:
    """Measures which pixels change the middle of a layer's output, and by how much, and draws it.

    Args:
        source: any module of RGB images, a predictor, a run directory, or the name of a network.
        images: photographs to average over; none takes `samples` images of noise.
        weights: of a run "last" (also None) or "best"; of a network published ones, a file, or None for random ones.
        layer: dotted name of a layer with a map; None takes the last that has more than one position.
        size_hw: of the images; None takes the size that the network was made for.
        samples: images of noise where none are given.
        seed: of random weights and of noise.
        progress: called with the number of images done.

    Raises:
        RecipeError: there is no such network, or nobody says the size of its images.
        ValueError: there is no such layer, or it has no map.
        DataError, ModelFileError: a file is missing or damaged.

    Example:
        >>> view = show_field("lenet5", samples=4, layer="features.pool2")
        >>> view.values["theoretical"], view.values["sigma"][0] < 8
        ([16, 16], True)
    """
    loaded = open_source(source, weights=weights, seed=seed, if_random="of a trained network name --weights")
    size = size_hw or loaded.size_hw
    if size is None:
        raise RecipeError(f"nobody says the size of the images of {loaded.name}: set size_hw (--size H W)")
    shape = (loaded.preprocessing.channels, *size)
    name = _last_map(loaded.network, shape) if layer is None else layer
    photos = _photos(images, loaded.preprocessing, size)
    prepared = (loaded.preprocessing.normalize(photo[None]) for photo in photos)
    measured = effective_field(
        loaded.network, prepared if photos else _noise(shape, samples, seed), name, progress=progress
    )
    theory, reason = _theory(loaded.network, shape, name)
    backdrop = drawable(photos[0]) if photos else torch.full((3, *size), 96, dtype=torch.uint8)
    drawn = _draw(backdrop.expand(3, -1, -1), measured, theory)
    rows = _rows(measured, theory, reason)
    label = f"{loaded.name}: effective receptive field of {name}"
    section = Section("Field", [picture(drawn, label, most=max(drawn.shape)), table(rows), *map(note, loaded.notes)])
    values = {
        **{"network": loaded.name, "layer": name, "position": list(measured.position), "images": measured.images},
        **{"sigma": list(measured.sigma), "radius": measured.radius, "side": measured.side},
        **{"theoretical": None if theory is None else list(theory.size), "why_no_theoretical": reason},
        "note": "; ".join(loaded.notes),
    }
    return View(label, [section], values, drawn, subtitle=_ABOUT)


_ABOUT = (
    "Left: white frame, theoretical field; green ring, two deviations of the Gaussian. Right: mean size of the "
    "gradient at each pixel, square root of its share of the largest (Luo et al. 2016)"
)


def _last_map(network: nn.Module, shape: tuple[int, ...]) -> str:
    """The last layer whose output is a map of more than one position."""
    from unpool.inspection.traced import trace

    maps = [
        call.name
        for call in trace(network, shape).calls
        if call.is_leaf and call.outputs and len(call.outputs[0]) == 4 and min(call.outputs[0][2:]) > 1
    ]
    if not maps:
        raise ValueError(f"no layer of {type(network).__name__} has a map (B, C, H, W) of several positions")
    return maps[-1]


def _photos(images: Sequence[ImageLike], preprocessing: Preprocessing, size: tuple[int, int]) -> list[Tensor]:
    """(C, H, W) uint8 of one size, the middle of each photograph."""
    cut = replace(preprocessing, size_hw=size, shorter=None, longest=None, rule="cover", crop=1.0, multiple=1)
    plain = [read_image(image, preprocessing.decoding) for image in images]
    return [cut.resize(image).round().clamp(0, 255).to(torch.uint8) for image in plain]


def _noise(shape: tuple[int, ...], samples: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(1, *shape, generator=generator) for _ in range(samples))


def _theory(network: nn.Module, shape: tuple[int, ...], layer: str) -> tuple[Seen | None, str]:
    try:
        return receptive_field(network, shape, layer), ""  # pyright: ignore[reportArgumentType]
    except ValueError as error:
        return None, str(error)


def _rows(measured: EffectiveField, theory: Seen | None, reason: str) -> list[tuple[str, str]]:
    sigma = " x ".join("no peak" if one is None else f"{one:.1f}" for one in measured.sigma)
    radius = "no peak" if measured.radius is None else f"{measured.radius:.1f} pixels (two deviations)"
    sizes = reason if theory is None else " x ".join(f"{side:,}" for side in theory.size) + " pixels"
    return [
        ("layer", f"{measured.layer or 'output'}, position {measured.position[0]}, {measured.position[1]}"),
        ("theoretical field", sizes),
        ("Gaussian", f"{sigma} pixels (deviations down and across)"),
        ("radius", radius),
        ("side", f"{measured.side:.0f} pixels of a square with all that have at least 4.55 % of the largest gradient"),
        ("averaged over", f"{measured.images} {'image' if measured.images == 1 else 'images'}"),
    ]


def _draw(photo: Tensor, measured: EffectiveField, theory: Seen | None) -> Tensor:
    """(3, H', W') uint8: the photograph with frame and ring, and the gradient."""
    scale = max(1, -(-SIDE // max(photo.shape[1:])))
    left = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    left = left.resize((left.width * scale, left.height * scale), Image.Resampling.NEAREST)
    (y, x), (sigma_y, sigma_x) = measured.centre, measured.sigma
    if y is not None and x is not None and sigma_y is not None and sigma_x is not None:
        pencil = ImageDraw.Draw(left)
        middle_y, middle_x = (y + 0.5) * scale, (x + 0.5) * scale
        pencil.ellipse(_box(middle_y, middle_x, 2 * sigma_y * scale, 2 * sigma_x * scale), outline=_RING, width=3)
        if theory is not None:
            half_y, half_x = (side * scale / 2 for side in theory.size)
            pencil.rectangle(_box(middle_y, middle_x, half_y, half_x), outline=_FRAME, width=2)
    heat = ramp(measured.gradient.sqrt().float()).round().to(torch.uint8)
    right = Image.fromarray(heat.permute(1, 2, 0).contiguous().numpy()).resize(left.size, Image.Resampling.NEAREST)
    sheet = Image.new("RGB", (2 * left.width + _GAP, left.height), (255, 255, 255))
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + _GAP, 0))
    return (
        torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8)
        .view(sheet.height, sheet.width, 3)
        .permute(2, 0, 1)
    )


def _box(y: float, x: float, half_y: float, half_x: float) -> tuple[float, float, float, float]:
    return x - half_x, y - half_y, x + half_x, y + half_y
