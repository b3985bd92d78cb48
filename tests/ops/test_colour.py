"""Colour matrices against what each operation is said to do."""

import pytest
import torch
from torch import Tensor

from unpool.ops import colour


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def apply(matrix: Tensor, *values: float) -> Tensor:
    return colour.recolour(torch.tensor(values).view(1, -1, 1, 1), matrix).flatten()


def grey(values: Tensor) -> float:
    return float(values @ torch.tensor([0.299, 0.587, 0.114]))


def test_brightness_multiplies() -> None:
    assert torch.allclose(apply(colour.brightness(row(1.5), 3), 10, 20, 30), torch.tensor([15.0, 30.0, 45.0]))


def test_contrast_keeps_its_pivot() -> None:
    matrix = colour.contrast(row(0.5), row(100.0), 3)
    assert torch.allclose(apply(matrix, 100, 140, 60), torch.tensor([100.0, 120.0, 80.0]))


def test_no_saturation_is_grey_of_the_same_luma() -> None:
    result = apply(colour.saturation(row(0.0), 3), 200, 50, 10)
    assert torch.allclose(result, torch.full((3,), grey(torch.tensor([200.0, 50.0, 10.0]))), atol=1e-3)


def test_saturation_moves_away_from_grey() -> None:
    value = torch.tensor([200.0, 50.0, 10.0])
    middle = grey(value)
    assert torch.allclose(apply(colour.saturation(row(1.5), 3), *value.tolist()), middle + 1.5 * (value - middle))


@pytest.mark.parametrize("turn", [0.1, 0.5, -0.3])
def test_hue_keeps_luma_and_grey_and_turns_back(turn: float) -> None:
    there, back = colour.hue(row(turn), 3), colour.hue(row(-turn), 3)
    value = torch.tensor([200.0, 50.0, 10.0])
    turned = apply(there, *value.tolist())
    assert grey(turned) == pytest.approx(grey(value), abs=0.05)
    assert (turned - value).abs().max() > 20
    assert torch.allclose(apply(there, 80, 80, 80), torch.full((3,), 80.0), atol=0.05)
    assert torch.allclose(apply(colour.compose(there, back), *value.tolist()), value, atol=1e-3)


def test_full_turn_of_hue_changes_nothing() -> None:
    assert torch.allclose(colour.hue(row(1.0), 3), colour.identity(1, 3), atol=1e-9)


def test_composed_is_one_after_the_other() -> None:
    first, then = colour.contrast(row(0.7), row(90.0), 3), colour.shift(row(1, 2, 3)[None])
    image = torch.rand(1, 3, 4, 5) * 255
    both = colour.recolour(image, colour.compose(first, then))
    assert torch.allclose(both, colour.recolour(colour.recolour(image, first), then), atol=1e-3)


def test_grey_images_keep_hue_and_saturation_and_take_the_rest() -> None:
    assert torch.equal(colour.hue(row(0.2), 1), colour.identity(1, 1))
    assert torch.equal(colour.saturation(row(0.2), 1), colour.identity(1, 1))
    assert apply(colour.contrast(row(2.0), row(50.0), 1), 60).item() == pytest.approx(70)
    assert colour.luma(row(33.0)[None]).item() == 33


def test_matrix_of_both_is_that_of_each_image_of_a_pair() -> None:
    matrix = colour.compose(colour.hue(row(0.2, -0.1), 3), colour.shift(torch.rand(2, 3).double()))
    pair = torch.rand(2, 6, 4, 5) * 255
    both = colour.recolour(pair, colour.of_both(matrix))
    torch.testing.assert_close(both, torch.cat([colour.recolour(one, matrix) for one in pair.chunk(2, dim=1)], dim=1))
