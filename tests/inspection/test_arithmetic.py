"""Pictures of a convolution show what torch computes, and its matrix is that of the layer."""

import xml.etree.ElementTree as ElementTree
from itertools import product

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.arithmetic import LARGEST, show_arithmetic
from unpool.inspection.axis_cells import axis_reads
from unpool.layers.convolution_as_matrix import convolution_matrix

FORWARD = [
    (size, kernel, stride, padding, dilation)
    for size, kernel, stride, padding, dilation in product((5, 6), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2))
    if size + 2 * padding > dilation * (kernel - 1)
]
TRANSPOSED = [
    (size, kernel, stride, padding, dilation, extra)
    for size, kernel, stride, padding, dilation, extra in product((3,), (1, 2, 3, 4), (1, 2, 3), (0, 1), (1, 2), (0, 1))
    if extra < max(stride, dilation) and (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra >= 0
]


def as_matrix(reads):
    """(outputs, inputs) of one axis: 1 + the tap of each product that a drawing shows, 0 where there is none."""
    size = 1 + max(cell for cell in reads.cells if cell is not None)
    matrix = torch.zeros(len(reads.reads), size, dtype=torch.long)
    for output, positions in enumerate(reads.reads):
        for tap, position in zip(reads.taps, positions, strict=True):
            cell = reads.cells[position]
            if cell is not None:
                matrix[output, cell] = tap + 1
    return matrix


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), FORWARD)
def test_drawn_reads_are_the_matrix_of_the_convolution(size, kernel, stride, padding, dilation):
    reads = axis_reads(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    weight = torch.arange(1.0, kernel + 1).reshape(1, 1, -1)
    matrix = convolution_matrix(weight, (size,), stride=stride, padding=padding, dilation=dilation)
    assert torch.equal(as_matrix(reads), matrix.long())


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation", "extra"), TRANSPOSED)
def test_drawn_reads_compute_the_transposed_convolution(size, kernel, stride, padding, dilation, extra):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": extra}
    layer = nn.ConvTranspose1d(1, 1, kernel, bias=False, **options).double()
    x = torch.randn(1, 1, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reads = axis_reads(size, kernel=kernel, transposed=True, **options)
    weight = torch.cat([torch.zeros(1, dtype=torch.float64), layer.weight.detach().flatten()])
    shown = as_matrix(reads)
    assert torch.allclose(weight[shown] @ x[0, 0, : shown.shape[1]], layer(x)[0, 0], atol=1e-12)


def test_matrix_of_a_transposed_convolution_is_the_transpose():
    forwards = show_arithmetic(3, size=5, stride=2, padding=1)
    backwards = show_arithmetic(3, size=3, stride=2, padding=1, transposed=True)
    assert forwards.values["matrix"] == backwards.values["matrix"][::-1] == [9, 25]
    assert forwards.values["products"] == backwards.values["products"]


def test_kernel_of_two_sides_has_two_sides():
    view = show_arithmetic((1, 3), size=(2, 5), stride=(1, 2))
    assert view.values["output_hw"] == [2, 2]


def test_drawing_is_whole_and_moves_once_through_every_output():
    drawing = show_arithmetic(2, size=(3, 4), padding=(0, 1)).drawing
    root = ElementTree.fromstring(drawing)
    boxes = [one.get("class") for one in root.iter() if one.tag.endswith("rect")]
    assert [boxes.count(kind) for kind in ("input", "zero", "output", "tap")] == [12, 6, 10, 4]
    motions = [one.get("values").split(";") for one in root.iter() if one.tag.endswith("animateTransform")]
    assert [len(steps) for steps in motions] == [10, 10, 10]
    assert len({tuple(map(float, step.split())) for step in motions[0]}) == 10
    assert "script" not in drawing


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kernel": 7, "size": 5}, "does not fit 5 values"),
        ({"stride": 0}, "stride is 0"),
        ({"padding": (1, 2, 3)}, "padding is"),
        ({"output_padding": 1}, "transposed"),
        ({"output_padding": 2, "stride": 2, "transposed": True}, "below the stride"),
        ({"size": LARGEST + 1}, "smaller size"),
    ],
)
def test_arithmetic_that_cannot_be_drawn_is_refused(options, text):
    with pytest.raises(RecipeError, match=text):
        show_arithmetic(**options)
