"""Pictures that are learned from pictures: each has its noise, and both are in one unit."""

import pytest
import torch
from torch import nn

from tests.checks.made import Samples, drawn, found, setup
from unpool.checks.paired_pictures import look_equal_noise, look_units


def noise(*, seed: int | None):
    generator = torch.Generator().manual_seed(5)

    def noisy(image, clean):
        drawn_from = generator if seed is None else torch.Generator().manual_seed(seed)
        return image + 0.1 * torch.randn(image.shape, generator=drawn_from), clean

    return noisy


def hidden(image, clean):
    """The same part of every picture is missing, which is no noise."""
    image = image.clone()
    image[:, 8:20, 8:20] = 0
    return image, clean


def smooth(image, clean):
    """All pictures have one shade to be taken off, which is no noise."""
    return image + torch.linspace(0, 1, 32), clean


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        (noise(seed=None), [""]),
        (noise(seed=0), ["augment.same_randomness"]),
        (hidden, [""]),
        (smooth, [""]),
    ],
)
def test_each_picture_has_its_noise(change, causes):
    images = drawn(12, 1)
    assert found(look_equal_noise(setup(Samples(images, images, change), form="picture"))) == causes


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x / 255)


@pytest.mark.parametrize(
    ("by", "model", "causes"),
    [
        (1.0, nn.Conv2d(3, 3, 1), [""]),
        (255.0, nn.Conv2d(3, 3, 1), ["data.value_range"]),
        (1 / 255, nn.Conv2d(3, 3, 1), [""]),
        (4.0, nn.Conv2d(3, 3, 1), [""]),
        (255.0, Scaled(), [""]),
    ],
)
def test_input_and_target_have_one_unit(by, model, causes):
    images = drawn(16, 2)
    assert found(look_units(setup(Samples(images * by, images), form="picture", model=model))) == causes


def test_pictures_that_show_other_things_may_have_other_units():
    run = setup(Samples(drawn(16, 2) * 255, drawn(16, 3)), form="picture", model=nn.Conv2d(3, 3, 1))
    assert found(look_units(run)) == [""]


def test_targets_of_bytes_are_scaled_by_whoever_reads_them():
    images = drawn(16, 2) * 255
    run = setup(Samples(images, (images / 255).round().byte()), form="picture", model=nn.Conv2d(3, 3, 1))
    assert look_units(run).verdict == "not applicable"
