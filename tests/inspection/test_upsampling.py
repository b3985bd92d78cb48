"""Checkerboards are seen where a filter is no multiple of its stride, and nowhere else."""

from math import sqrt

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.upsampling import measure_checkerboard
from unpool.inspection.upsampling_view import show_upsampling
from unpool.layers.upsample import BilinearDeconv, ResizeConv

SHAPE = (3, 48, 48)


def network(*last):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), *last)


def overlap(kernel, stride):
    """Deviation over root of the mean square of how many taps meet at each output of a long row, and in the plane."""
    row = [sum(tap % stride == phase for tap in range(kernel)) for phase in range(stride)]
    plane = torch.tensor([[a * b for a in row] for b in row], dtype=torch.float64)
    return float(plane.var(unbiased=False).sqrt() / plane.square().mean().sqrt())


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (4, 3), (2, 2), (4, 2), (6, 3)])
def test_score_of_a_transposed_convolution_is_that_of_its_overlaps(kernel, stride):
    made = measure_checkerboard(network(nn.ConvTranspose2d(4, 2, kernel, stride=stride)), SHAPE)
    assert made.period == stride
    assert made.score == pytest.approx(overlap(kernel, stride), abs=1e-5)
    assert made.decoder_score == pytest.approx(made.score, abs=1e-5)
    assert [one.is_even for one in made.upsamplers] == [kernel % stride == 0]


def test_score_of_kernel_3_and_stride_2_is_that_of_1_2_2_4_products():
    made = measure_checkerboard(network(nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)), SHAPE)
    assert made.score == pytest.approx(sqrt(1 - 2.25**2 / 6.25), abs=1e-5)


@pytest.mark.parametrize(
    "last",
    [
        ResizeConv(4, 2),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 2, 3, padding=1)),
        BilinearDeconv(4, 2),
    ],
)
def test_what_interpolates_is_even_by_structure_and_as_trained(last):
    made = measure_checkerboard(network(last), SHAPE)
    assert made.score < 1e-5
    assert made.decoder_score < 1e-5
    assert made.trained_score < 1e-5


def test_zeros_at_the_border_that_reach_everywhere_are_no_checkerboard():
    made = measure_checkerboard(network(nn.Conv2d(4, 4, 3, padding=8, dilation=8), ResizeConv(4, 2)), SHAPE)
    assert made.score < 1e-5
    assert made.trained_score < 1e-5


def test_trained_weights_can_make_a_checkerboard_of_an_even_structure():
    last = nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)
    made = measure_checkerboard(network(last), SHAPE)
    assert made.score < 1e-5
    assert made.trained_score > 0.05


def test_convolution_behind_it_smooths_a_checkerboard():
    alone = measure_checkerboard(network(nn.ConvTranspose2d(4, 4, 3, stride=2)), SHAPE)
    smoothed = measure_checkerboard(network(nn.ConvTranspose2d(4, 4, 3, stride=2), nn.Conv2d(4, 2, 3)), SHAPE)
    assert 0.02 < smoothed.score < alone.score / 2


def test_period_is_that_of_all_upsampling_together():
    assert measure_checkerboard(network(ResizeConv(4, 4), nn.ConvTranspose2d(4, 2, 2, stride=2)), SHAPE).period == 4


class Shared(nn.Module):
    """Runs one layer at two scales, as a U-Net runs its dropout."""

    def __init__(self):
        super().__init__()
        self.drop, self.pool, self.up = nn.Dropout(0.0), nn.MaxPool2d(4), nn.ConvTranspose2d(3, 2, 4, stride=4)

    def forward(self, image):
        return self.up(self.drop(self.pool(self.drop(image))))


def test_layer_that_runs_at_two_scales_is_looked_at_on_the_coarser_one():
    made = measure_checkerboard(Shared(), SHAPE)
    assert (made.coarsest, made.period) == ("drop", 4)


def test_network_is_left_as_it_was():
    model = network(nn.ConvTranspose2d(4, 2, 3, stride=2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_checkerboard(model, SHAPE)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].padding == (1, 1)


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (network(nn.AdaptiveAvgPool2d(1), nn.Flatten()), SHAPE, "is no map"),
        (network(nn.Conv2d(4, 2, 3)), SHAPE, "upsamples nothing"),
        (network(nn.ConvTranspose2d(4, 2, 3, stride=2)), (1, 48, 48), "cannot take an image"),
        (nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ConvTranspose2d(4, 2, 7, 8)), (3, 16, 16), "larger size"),
    ],
)
def test_network_without_a_checkerboard_to_measure_is_refused(model, shape, text):
    with pytest.raises(RecipeError, match=text):
        measure_checkerboard(model, shape)


def test_layer_that_is_not_there_is_named():
    with pytest.raises(RecipeError, match="no layer 'neck'"):
        measure_checkerboard(network(ResizeConv(4, 2)), SHAPE, layer="neck")


def test_view_names_uneven_layers_and_draws_them():
    view = show_upsampling(network(nn.ConvTranspose2d(4, 2, 3, stride=2)), SHAPE, name="decoder")
    assert view.values["uneven_layers"] == ["3"]
    assert "Upsampling of decoder" in view.to_page()
    assert view.picture.shape[0] == 3
