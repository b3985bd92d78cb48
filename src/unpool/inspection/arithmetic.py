"""Which cells of its input each output of a convolution reads, forwards or transposed, as pictures and as a matrix.

A transposed convolution is drawn as the ordinary one that computes the same: `stride - 1` zeros between the values of
its input, `dilation * (kernel - 1) - padding` around them, stride 1, the filter turned by 180 degrees.

Source: Dumoulin and Visin 2016, arXiv:1603.07285, relationships 1 to 14. The drawings are our own.
"""

import torch
from torch import Tensor

from unpool.errors import RecipeError
from unpool.inspection.arithmetic_drawing import draw_arithmetic
from unpool.inspection.axis_cells import axis_reads
from unpool.layers.convolution_as_matrix import PerAxis, convolution_matrix
from unpool.pages.blocks import note, table
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section
from unpool.pages.view import View

LARGEST = 24  # cells of a side, beyond which a picture cannot be read
Pair = tuple[int, int]


def show_arithmetic(
    kernel: PerAxis = 3,
    *,
    size: PerAxis = 5,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    output_padding: PerAxis = 0,
    transposed: bool = False,
) -> View:
    """Draws a convolution on a small map: blue input, green output, an animation, and its matrix beside.

    Args:
        kernel: height and width of the filter, or one number for both; likewise all that follow.
        size: of the input.
        stride: as torch's layers have it; likewise the next four.
        padding: zeros on either side.
        dilation: distance of the taps.
        output_padding: of a transposed convolution.
        transposed: whether it is a transposed convolution.

    Raises:
        RecipeError: the filter does not fit, or the maps are too large to be read.

    Example:
        >>> view = show_arithmetic(3, size=5, stride=2, padding=1)
        >>> view.values["output_hw"], view.values["matrix"]
        ([3, 3], [9, 25])
        >>> show_arithmetic(3, size=3, stride=2, padding=1, transposed=True).values["output_hw"]
        [5, 5]
    """
    numbers = {
        "kernel": _pair(kernel, "kernel", 1),
        "stride": _pair(stride, "stride", 1),
        "padding": _pair(padding, "padding", 0),
        "dilation": _pair(dilation, "dilation", 1),
        "output_padding": _pair(output_padding, "output_padding", 0),
    }
    size_hw = _pair(size, "size", 1)
    if any(numbers["output_padding"]) and not transposed:
        raise RecipeError("output_padding belongs to a transposed convolution: set transposed (--transposed) too")
    down, across = (
        axis_reads(size_hw[axis], **{name: pair[axis] for name, pair in numbers.items()}, transposed=transposed)
        for axis in range(2)
    )
    if max(*map(len, (down.cells, across.cells, down.reads, across.reads))) > LARGEST:
        raise RecipeError(f"maps of more than {LARGEST} cells a side cannot be read as a picture: give a smaller size")
    output_hw = (len(down.reads), len(across.reads))
    matrix = _matrix(size_hw, output_hw, numbers, transposed=transposed)
    title = _title(numbers, transposed=transposed)
    drawing = draw_arithmetic(down, across, matrix, title=title)
    values = {
        "input_hw": list(size_hw),
        "output_hw": list(output_hw),
        **{name: list(pair) for name, pair in numbers.items()},
        "transposed": transposed,
        "matrix": list(matrix.shape),
        "products": int((matrix > 0).sum()),
    }
    return View(title, [Section("Arithmetic", _parts(drawing, values))], values, drawing=drawing)


def _pair(value: PerAxis, name: str, least: int) -> Pair:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise RecipeError(f"{name} is {value}; it must be one whole number from {least}, or two: height and width")
    return pair[0], pair[1]


def _matrix(size_hw: Pair, output_hw: Pair, numbers: dict[str, Pair], *, transposed: bool) -> Tensor:
    """(outputs, inputs): the number of the tap of each product, counted from 1 row by row; 0 where there is none."""
    kernel = numbers["kernel"]
    weight = torch.arange(1.0, kernel[0] * kernel[1] + 1).reshape(1, 1, *kernel)
    made = convolution_matrix(
        weight,
        output_hw if transposed else size_hw,
        stride=numbers["stride"],
        padding=numbers["padding"],
        dilation=numbers["dilation"],
    )
    return (made.T if transposed else made).long()


def _title(numbers: dict[str, Pair], *, transposed: bool) -> str:
    kind = "Transposed convolution" if transposed else "Convolution"
    shown = {name: pair for name, pair in numbers.items() if name != "output_padding" or any(pair)}
    parts = [f"{name.replace('_', ' ')} {'x'.join(map(str, dict.fromkeys(pair)))}" for name, pair in shown.items()]
    return f"{kind}, {', '.join(parts)}"


def _parts(drawing: str, values: dict[str, object]) -> list[Markup]:
    formula = (
        "output = stride (input - 1) + dilation (kernel - 1) + 1 - 2 padding + output padding"
        if values["transposed"]
        else "output = floor((input + 2 padding - dilation (kernel - 1) - 1) / stride) + 1"
    )
    sizes = {name: value for name, value in values.items() if isinstance(value, list)}
    rows = [(name.removesuffix("_hw").replace("_", " "), " x ".join(map(str, pair))) for name, pair in sizes.items()]
    return [
        element("div", {"class": "scroll"}, Markup(drawing)),
        note(
            f"Blue: input. Green: output. Dashed: zeros. Numbers: the weights of the filter. A row of the matrix times "
            f"the input is one output. {formula} (Dumoulin and Visin 2016, arXiv:1603.07285)."
        ),
        table(rows),
    ]
