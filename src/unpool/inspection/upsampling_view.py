"""Shows the checkerboard of a network: impulse responses, their spectra, and the output for a flat image."""

import torch
from torch import Tensor, nn

from unpool.inspection.upsampling import Checkerboard, measure_checkerboard
from unpool.ops.drawing_sheet import draw_sheet
from unpool.pages import blocks
from unpool.pages.axes import number
from unpool.pages.chart import Series, line_chart
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section
from unpool.pages.view import View

SIDE, LARGE = 128, 256  # pixels of a response that are shown, and of its picture at least
DECIBELS = 60  # below the largest amplitude, from which on a spectrum is black
CLEAR = 0.02  # from which on a checkerboard is called one
_ABOUT = (
    "A score is the deviation of the output over the phases of its period, by the root of its mean square: 0 where all "
    "pixels are treated alike, at most 1. By structure: with equal weights everywhere, so that only the number of "
    "products makes it uneven. As trained: of flat images, with these weights (Odena et al. 2016, "
    "doi:10.23915/distill.00003)."
)


def show_upsampling(
    model: nn.Module, shape: tuple[int, int, int] = (3, 192, 192), *, layer: str | None = None, name: str = ""
) -> View:
    """Shows whether the output of a network that upsamples is a checkerboard, by its structure and as trained.

    Args:
        model: gives a map for an image; it is left as it is.
        shape: (C, H, W) of the image.
        layer: that gives the coarsest map; None takes the last one with the smallest map.
        name: of the network, for the title.

    Raises:
        RecipeError: the output is no map, nothing is upsampled, or the image is too small.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(4, 2, 3, stride=2))
        >>> view = show_upsampling(network, (3, 32, 32))
        >>> view.values["score"], view.values["period"], view.values["uneven_layers"]
        (0.4359, 2, ['1'])
    """
    made = measure_checkerboard(model, shape, layer=layer)
    values = {
        "score": round(made.score, 4),
        "decoder_score": round(made.decoder_score, 4),
        "trained_score": round(made.trained_score, 4),
        "period": made.period,
        "coarsest_map": made.coarsest,
        "transposed_convolutions": len(made.upsamplers),
        "uneven_layers": [one.layer for one in made.upsamplers if not one.is_even],
    }
    shown = {
        "one pixel, by structure": _brightness(_middle(made.impulse)),
        "its spectrum": _spectrum(made.impulse),
        "one pixel, as trained": _brightness(_middle(made.trained_impulse)),
        "its spectrum ": _spectrum(made.trained_impulse),
        "flat image, as trained": _stretched(_middle(made.flat, 16 * made.period)),
    }
    large = {label: _enlarged(image) for label, image in shown.items()}
    cards = grid([Card(label.strip(), "", [Picture("", image)]) for label, image in large.items()])
    sections = [
        Section("Checkerboard", _scores(made)),
        Section("What one pixel of the coarsest map adds to the output", [cards, _profile(made)]),
        Section("Transposed convolutions", _layers(made)),
    ]
    sheet = draw_sheet([list(large.items())])
    return View(f"Upsampling of {name or type(model).__name__}", sections, values, picture=sheet)


def _scores(made: Checkerboard) -> list[Markup]:
    rows = [
        ("by structure", number(round(made.score, 4))),
        ("by structure, from the coarsest map on", number(round(made.decoder_score, 4))),
        ("as trained", number(round(made.trained_score, 4))),
        ("period", f"{made.period} pixels"),
        ("coarsest map", made.coarsest),
    ]
    verdict = "clear" if made.score >= CLEAR else "none"
    return [blocks.headline("checkerboard by structure", verdict), blocks.table(rows), blocks.note(_ABOUT)]


def _profile(made: Checkerboard) -> Markup:
    """The response by structure along the row through its middle."""
    row = made.impulse[made.impulse.abs().sum(1).argmax()]
    middle = int(row.abs().argmax())
    reach = min(len(row) // 2, 3 * made.period + 4)
    points = [(at - middle, float(row[at])) for at in range(max(0, middle - reach), min(len(row), middle + reach + 1))]
    series = [Series("response", points)]
    chart = line_chart(
        "Response along a row, by structure", series, x="pixels of the output", y="response", scale="zero"
    )
    return element("div", {"class": "charts"}, chart)


def _layers(made: Checkerboard) -> list[Markup]:
    if not made.upsamplers:
        return [blocks.note("This network has none: it resizes, or unpools.")]
    rows = [
        (one.layer, _sides(one.kernel_hw), _sides(one.stride_hw), "even" if one.is_even else "uneven")
        for one in made.upsamplers
    ]
    note = blocks.note("Even: the sides of the filter are multiples of the stride, so that all outputs add up as much.")
    return [blocks.table(rows, headings=("layer", "filter", "stride", "overlap")), note]


def _sides(pair: tuple[int, ...]) -> str:
    return " x ".join(map(str, pair))


def _middle(image: Tensor, most: int = SIDE) -> Tensor:
    """The part of an image around its brightest pixel."""
    height, width = image.shape
    y, x = divmod(int(image.abs().argmax()), width) if image.any() else (height // 2, width // 2)
    rows, columns = min(height, most), min(width, most)
    top, left = (
        min(max(0, at - side // 2), whole - side) for at, side, whole in ((y, rows, height), (x, columns, width))
    )
    return image[top : top + rows, left : left + columns]


def _brightness(image: Tensor) -> Tensor:
    """(1, H, W) uint8: black is 0, brightness grows with the root of the size, so that faint parts can be seen."""
    size = image.abs() / image.abs().max().clamp_min(1e-30)
    return (255 * size.sqrt()).round().to(torch.uint8)[None]


def _stretched(image: Tensor) -> Tensor:
    """(1, H, W) uint8 from the smallest value to the largest; grey where all are the same."""
    spread = image.max() - image.min()
    if spread <= 1e-4 * image.abs().max():
        return torch.full((1, *image.shape), 127, dtype=torch.uint8)
    return (255 * (image - image.min()) / spread).round().to(torch.uint8)[None]


def _spectrum(response: Tensor) -> Tensor:
    """(1, SIDE, SIDE) uint8: amplitudes in decibels, the mean in the middle; a checkerboard is a dot at an edge."""
    part = _middle(response).double()
    amplitude = torch.fft.fftshift(torch.fft.fft2(part, s=(SIDE, SIDE)).abs())
    decibels = 20 * (amplitude / amplitude.max().clamp_min(1e-30)).clamp_min(1e-9).log10()
    return (255 * (1 + decibels / DECIBELS).clamp(0, 1)).round().to(torch.uint8)[None]


def _enlarged(image: Tensor) -> Tensor:
    """(3, H, W): each pixel repeated until the picture is large enough."""
    times = max(1, LARGE // max(image.shape[-2:]))
    return image.repeat_interleave(times, 1).repeat_interleave(times, 2).expand(3, -1, -1)
