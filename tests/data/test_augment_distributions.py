"""What augmentations draw: the distributions that their docstrings promise."""

import math

import pytest
import torch
from torch import Tensor

from unpool.data.augment import AUGMENTATIONS
from unpool.data.augment.color_jitter import ColorJitter
from unpool.data.draws import Draws
from unpool.ops import colour

COUNT = 4000
MEAN = torch.tensor([200.0, 100.0, 30.0])
GREY = float(MEAN @ torch.tensor([0.299, 0.587, 0.114]))


def maps(name: str, options: dict, size_hw: tuple[int, int], *, target_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    size, target = (torch.tensor([hw] * COUNT, dtype=torch.float64) for hw in (size_hw, target_hw))
    return AUGMENTATIONS[name](**options).map(Draws(0, 0, index=torch.arange(COUNT)), size, target_hw=target)


def jitter(**values: float) -> Tensor:
    """(COUNT, 3, 4) matrices for images of mean colour MEAN."""
    return ColorJitter(**values).matrix(Draws(0, 0, index=torch.arange(COUNT)), MEAN.repeat(COUNT, 1))


def of_grey(matrices: Tensor, value: float) -> Tensor:
    """(COUNT, 3): what becomes of a grey value."""
    return colour.recolour(torch.full((COUNT, 3, 1, 1), value), matrices).flatten(1)


def assert_even(values: Tensor, low: float, high: float) -> None:
    """Every fifth of the range holds a fifth of the values."""
    counts = torch.histc(values.double(), 5, low, high) / COUNT
    assert counts.sum() > 0.99
    assert (counts - 0.2).abs().max() < 0.025


def test_windows_are_as_often_flat_as_high_and_of_every_area_alike() -> None:
    matrix, _ = maps("resized_crop", {"area": (0.1, 0.2), "aspect": (0.25, 4)}, (3000, 3000), target_hw=(64, 64))
    width, height = matrix[:, 0, 0] * 64, matrix[:, 1, 1] * 64
    assert_even((width / height).log(), math.log(0.25), math.log(4))
    assert_even(width * height / 9e6, 0.1, 0.2)


def test_window_is_the_first_that_fits() -> None:
    matrix, _ = maps("resized_crop", {"area": (0.5, 0.5), "aspect": (0.25, 4)}, (1000, 1000), target_hw=(64, 64))
    aspect = matrix[:, 0, 0] / matrix[:, 1, 1]
    assert_even(aspect.log(), math.log(0.5), math.log(2))  # others have a side above 1000 and do not fit
    area = matrix[:, 0, 0] * matrix[:, 1, 1] * 64**2
    assert ((area / 5e5 - 1).abs() < 2e-3).double().mean() > 0.99  # ten misfits are one in a thousand


@pytest.mark.parametrize("axis", [0, 1])
def test_windows_are_anywhere_alike(axis: int) -> None:
    matrix, _ = maps("resized_crop", {"area": (0.25, 0.25), "aspect": (1, 1)}, (1000, 1000), target_hw=(64, 64))
    assert_even(matrix[:, axis, 2] / 500, 0, 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_windows_are_whole_pixels_on_whole_pixels_of_the_image(axis: int) -> None:
    matrix, _ = maps("resized_crop", {}, (37, 53), target_hw=(20, 30))
    side, start = matrix[:, axis, axis] * (30, 20)[axis], matrix[:, axis, 2]
    assert torch.allclose(side, side.round())
    assert torch.allclose(start, start.round())
    assert side.min() >= 1


def test_scaled_image_is_filled_from_border_to_border_whatever_its_side_was_rounded_to() -> None:
    matrix, scaled = maps("scale", {"range": (0.3, 3.0)}, (7, 10), target_hw=(7, 10))
    assert torch.equal(scaled, scaled.round())
    shown = torch.stack((matrix[:, 1, 1], matrix[:, 0, 0]), dim=1) * scaled
    assert torch.allclose(shown, torch.tensor([7.0, 10.0], dtype=torch.float64).expand_as(shown))


def test_images_are_made_smaller_as_often_as_larger() -> None:
    _, scaled = maps("scale", {"range": (0.25, 4)}, (1000, 2000), target_hw=(7, 10))
    assert_even((scaled[:, 1] / 2000).log(), math.log(0.25), math.log(4))


def test_sides_of_a_scaled_image_are_rounded_to_the_nearest() -> None:
    _, scaled = maps("scale", {"range": (0.5, 1.5)}, (1000, 10), target_hw=(7, 10))
    assert ((scaled[:, 1] - scaled[:, 0] / 100).abs() <= 0.505).all()


def test_contrast_keeps_the_mean_grey_of_the_image_as_brightness_left_it() -> None:
    assert torch.allclose(of_grey(jitter(contrast=0.8), GREY), torch.tensor(GREY), atol=1e-3)
    both, bright = jitter(brightness=0.5, contrast=0.8), jitter(brightness=0.5)
    assert torch.allclose(of_grey(both, GREY), of_grey(bright, GREY), atol=1e-3)
    assert ((both - bright)[:, 0, 0].abs() > 0.1).double().mean() > 0.5


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_factors_are_drawn_evenly_about_one(name: str) -> None:
    assert_even(jitter(**{name: 0.4})[:, 1, 1], 0.6, 1.4)


def test_saturation_is_drawn_evenly_about_one() -> None:
    matrix = jitter(saturation=0.4)  # green of green is l + f (1 - l), l being its share of the luma
    assert_even((matrix[:, 1, 1] - 0.587) / (1 - 0.587), 0.6, 1.4)


def test_hue_is_turned_evenly_either_way() -> None:
    red = torch.tensor([[[[200.0]], [[0.0]], [[0.0]]]]).expand(COUNT, 3, 1, 1)
    to_iq = torch.tensor([[0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    i, q = (colour.recolour(red, jitter(hue=0.2)).flatten(1) @ to_iq.T).unbind(1)
    assert_even(torch.atan2(q, i) - math.atan2(0.211456, 0.595716), -0.2 * math.tau, 0.2 * math.tau)


def test_lighting_of_one_channel_is_independent_of_the_others() -> None:
    light = jitter(lighting=0.1)[:, :, 3]
    assert (light.mean(0).abs() < 2).all()
    assert (light.std(0) / 25.5 - 1).abs().max() < 0.04
    assert (torch.corrcoef(light.T) - torch.eye(3)).abs().max() < 0.06


def test_translation_states_its_largest_shift_in_pixels() -> None:
    assert AUGMENTATIONS["translate"](pixels=4).shift == 4
    assert AUGMENTATIONS["translate"](fraction=0.1).shift == 0


def test_translation_is_a_share_of_its_axis_rounded_down() -> None:
    matrix, _ = maps("translate", {"fraction": 0.1}, (39, 75), target_hw=(39, 75))
    for axis, most in ((0, 7), (1, 3)):
        assert matrix[:, axis, 2].unique().tolist() == list(range(-most, most + 1))
