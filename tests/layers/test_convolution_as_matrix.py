"""The matrix of a convolution and its backward pass, against torch's operators and autograd in float64."""

from itertools import product

import pytest
import torch
from torch import nn

from unpool.layers.convolution_as_matrix import convolution_matrix, input_gradient, rotated, weight_gradient

NAMES = ("stride", "padding", "dilation", "groups")
SETTINGS = [dict(zip(NAMES, row, strict=True)) for row in product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2))]
LINES = {"size": (9,), "convolve": nn.functional.conv1d, "transposed": nn.functional.conv_transpose1d}
MAPS = {"size": (7, 8), "convolve": nn.functional.conv2d, "transposed": nn.functional.conv_transpose2d}


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def drawn(case, kernel, groups):
    """An input of four channels and a weight of six filters; a map's filter is one lower than it is wide."""
    torch.manual_seed(0)
    sides = (kernel,) if len(case["size"]) == 1 else (max(1, kernel - 1), kernel)
    return draw(2, 4, *case["size"]), draw(6, 4 // groups, *sides)


@pytest.mark.parametrize("case", [LINES, MAPS], ids=["1-D", "2-D"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_matrix_times_the_input_is_the_convolution(case, kernel):
    for options in SETTINGS:
        x, weight = drawn(case, kernel, options["groups"])
        matrix = convolution_matrix(weight, case["size"], **options)
        expected = case["convolve"](x, weight, **options)
        assert matrix.shape == (expected[0].numel(), x[0].numel())
        close(x.flatten(1) @ matrix.T, expected.flatten(1))


@pytest.mark.parametrize("case", [LINES, MAPS], ids=["1-D", "2-D"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_transpose_of_the_matrix_is_the_transposed_convolution(case, kernel):
    for options in SETTINGS:
        x, weight = drawn(case, kernel, options["groups"])
        matrix = convolution_matrix(weight, case["size"], **options)
        y = torch.randn_like(case["convolve"](x, weight, **options))
        smallest = case["transposed"](y, weight, **options)
        rest = tuple(n - m for n, m in zip(case["size"], smallest.shape[2:], strict=True))  # rows the stride skipped
        whole = case["transposed"](y, weight, output_padding=rest, **options)
        close(y.flatten(1) @ matrix, whole.flatten(1))


@pytest.mark.parametrize("case", [LINES, MAPS], ids=["1-D", "2-D"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_gradients_are_those_of_autograd(case, kernel):
    for options in SETTINGS:
        x, weight = (value.requires_grad_() for value in drawn(case, kernel, options["groups"]))
        y = case["convolve"](x, weight, **options)
        gradient = torch.randn_like(y)
        of_input, of_weight = torch.autograd.grad(y, (x, weight), gradient)
        close(input_gradient(gradient, weight, case["size"], **options), of_input)
        close(weight_gradient(x, gradient, weight.shape[2:], **options), of_weight)


def test_numbers_may_differ_between_the_axes():
    torch.manual_seed(0)
    x, weight = draw(1, 2, 9, 8).requires_grad_(), draw(3, 2, 2, 3).requires_grad_()
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (3, 2)}
    y = nn.functional.conv2d(x, weight, **options)
    gradient = torch.randn_like(y)
    of_input, of_weight = torch.autograd.grad(y, (x, weight), gradient)
    close(convolution_matrix(weight, (9, 8), **options) @ x.flatten(), y.flatten())
    close(input_gradient(gradient, weight, (9, 8), **options), of_input)
    close(weight_gradient(x, gradient, (2, 3), **options), of_weight)


def test_first_example_of_the_lecture_has_as_many_columns_as_inputs():
    """The print has six columns for five entries; the first and the last belong to the padding."""
    x, y, z = 2.0, 3.0, 5.0
    matrix = convolution_matrix(torch.tensor([[[x, y, z]]]), (4,), padding=1)
    assert matrix.tolist() == [[y, z, 0, 0], [x, y, z, 0], [0, x, y, z], [0, 0, x, y]]
    padded = convolution_matrix(torch.tensor([[[x, y, z]]]), (6,))
    assert padded.tolist() == [[x, y, z, 0, 0, 0], [0, x, y, z, 0, 0], [0, 0, x, y, z, 0], [0, 0, 0, x, y, z]]
    assert torch.equal(matrix, padded[:, 1:-1])


def test_strided_example_of_the_lecture():
    """Stride 2 on the padded (0, a, b, c, d, 0): the second row stands two columns on, the last column is empty."""
    matrix = convolution_matrix(torch.tensor([[[2.0, 3.0, 5.0]]]), (6,), stride=2)
    assert matrix.tolist() == [[2, 3, 5, 0, 0, 0], [0, 0, 2, 3, 5, 0]]


def test_second_example_of_the_lecture_is_4_by_16():
    """F11 to F33 are 1 to 9; the print lacks a zero in the first and third row."""
    matrix = convolution_matrix(torch.arange(1.0, 10).view(1, 1, 3, 3), (4, 4))
    assert matrix.int().tolist() == [
        [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0],
        [0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0],
        [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9],
    ]


def test_gradient_of_the_lectures_2_by_2_filter_by_hand():
    """dE/dX22 = dE/dO11 F22 + dE/dO12 F21 + dE/dO21 F12 + dE/dO22 F11, on a 3x3 input."""
    weight = torch.tensor([[2.0, 3.0], [5.0, 7.0]]).view(1, 1, 2, 2)
    gradient = torch.tensor([[11.0, 13.0], [17.0, 19.0]]).view(1, 1, 2, 2)
    full = input_gradient(gradient, weight, (3, 3))[0, 0]
    assert full[1, 1].item() == 11 * 7 + 13 * 5 + 17 * 3 + 19 * 2
    assert full[0, 0].item() == 11 * 2
    assert full[2, 2].item() == 19 * 7


def test_rotated_filter_turns_and_exchanges_channels_within_its_group():
    weight = torch.arange(12.0).view(4, 1, 3)  # two groups of two filters on one channel
    assert rotated(weight, groups=2).tolist() == [[[2, 1, 0], [5, 4, 3]], [[8, 7, 6], [11, 10, 9]]]
    assert torch.equal(rotated(rotated(weight, groups=2), groups=2), weight)


@pytest.mark.parametrize(
    ("shape", "size", "options", "message"),
    [
        ((2, 1, 3), (5, 5), {}, r"weight is \(2, 1, 3\) and size \(5, 5\); give"),
        ((2, 1, 3, 3, 3), (5, 5, 5), {}, r"size \(5, 5, 5\); give \(C_out, C_in / groups, k\) with \(W,\)"),
        ((3, 1, 3), (5,), {"groups": 2}, "3 filters do not divide into 2 groups; choose a divisor"),
        ((3, 1, 3), (5,), {"groups": 0}, "3 filters do not divide into 0 groups; choose a divisor"),
        ((1, 1, 3), (5,), {"stride": 0}, "stride is 0 and dilation 1; both must be 1 or more"),
        ((1, 1, 3), (5,), {"dilation": 0}, "stride is 1 and dilation 0; both must be 1 or more"),
        (
            (1, 1, 3, 3),
            (5, 5),
            {"padding": (1, 1, 1)},
            r"\(1, 1, 1\) has not one number for each of the 2 axes",
        ),
        ((1, 1, 3), (4,), {"dilation": 2}, "3 taps, 2 apart, does not fit an input of 4 with padding 0; give a larger"),
    ],
)
def test_convolution_that_cannot_be_is_refused(shape, size, options, message):
    with pytest.raises(ValueError, match=message):
        convolution_matrix(torch.zeros(shape), size, **options)
