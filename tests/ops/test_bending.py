"""Fields that bend an image: they never fold, and points go back by their inverse."""

import math

import pytest
import torch
from torch import Tensor

from unpool.data.augment import AUGMENTATIONS
from unpool.data.draws import Draws
from unpool.ops import geometry
from unpool.ops.bending import Bent, Field, blurred, coarse, radial, unfolded
from unpool.ops.resampling import warp

KINDS = ["elastic", "elastic_gaussian", "lens"]
STRONG = {
    "elastic": {"deviation": 1000.0},
    "elastic_gaussian": {"alpha": 10_000.0, "sigma": 1.5},
    "lens": {"strength": 0.25},
}


def fields(name: str, count: int, size_hw: tuple[int, int], **options) -> list[Field]:
    size = torch.tensor([size_hw] * count, dtype=torch.float64)
    return AUGMENTATIONS[name](**options).fields(Draws(0, 0, index=torch.arange(count)), size)


def scattered(size_hw: tuple[int, int], count: int = 200) -> Tensor:
    """(N, 2) positions on an image and around it."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    return share * torch.tensor([size_hw[1], size_hw[0]])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("is_strong", [False, True])
def test_points_go_there_and_back_within_a_hundredth_of_a_pixel(name, is_strong):
    for field in fields(name, 4, (31, 47), **(STRONG[name] if is_strong else {})):
        turn = geometry.rotation(torch.tensor([20.0]), torch.tensor([[31, 47]]))[0]
        bent = Bent(((turn, field), (geometry.identity(1)[0], field)), turn)
        points = scattered((31, 47))
        assert (bent.to_output(bent.to_input(points)) - points).abs().max() < 0.01
        assert (bent.to_input(bent.to_output(points)) - points).abs().max() < 0.01


@pytest.mark.parametrize("name", KINDS)
def test_no_field_folds_however_strong(name):
    for field in fields(name, 6, (30, 40), **STRONG[name]):
        across, down = torch.meshgrid(*(torch.arange(0, side, 0.25).double() for side in (40, 30)), indexing="xy")
        points = torch.stack((across, down), dim=2)
        moved = (points.reshape(-1, 2) + field.at(points.reshape(-1, 2))).view(points.shape)
        right, below = moved.diff(dim=1)[:-1], moved.diff(dim=0)[:, :-1]
        turn = right[..., 0] * below[..., 1] - right[..., 1] * below[..., 0]
        assert turn.min() > 0
        assert field.displacement.isfinite().all()


def test_field_that_is_not_steep_is_left_alone():
    displacement = torch.zeros(2, 3, 3, dtype=torch.float64)
    displacement[0, 1, 1] = 5.0
    field = unfolded(displacement, torch.tensor([40.0, 40.0], dtype=torch.float64))
    assert torch.equal(field.displacement, displacement)
    steep = unfolded(displacement * 100, torch.tensor([40.0, 40.0], dtype=torch.float64))
    assert float(steep.displacement[0, 1, 1]) == pytest.approx(0.8 * 20 / math.sqrt(2))


def test_points_of_the_grid_move_by_ten_pixels_as_in_u_net():
    count = 3000
    corner = torch.tensor([[0.0, 0.0], [256.0, 256.0], [512.0, 256.0], [128.0, 0.0]], dtype=torch.float64)
    moved = torch.stack([field.at(corner) for field in fields("elastic", count, (512, 512))])  # (count, 4, 2)
    assert (moved[:, :3].std(0) / 10 - 1).abs().max() < 5 / math.sqrt(2 * count)
    assert moved[:, :3].mean(0).abs().max() < 5 * 10 / math.sqrt(count)
    together = torch.corrcoef(moved[:, :3].flatten(1).T) - torch.eye(6)
    assert together.abs().max() < 0.1  # each point, and x and y, by itself
    half = (9 / 16) ** 2 * 2 + (1 / 16) ** 2  # the bicubic weights of a = -0.75 half-way are near those of -0.5
    assert float(moved[:, 3].std() / 10) == pytest.approx(math.sqrt(half), rel=0.2)


def test_displacement_between_two_points_is_smooth():
    values = torch.zeros(2, 3, 3, dtype=torch.float64)
    values[0, :, 1] = 8.0
    field = coarse(values, torch.tensor([256.0, 256.0], dtype=torch.float64))
    line = torch.stack((torch.arange(0, 256.0, 1), torch.full((256,), 100.0)), dim=1).double()
    x = field.at(line)[:, 0]
    assert (float(x[0]), float(x[128])) == pytest.approx((0.0, 8.0))
    assert x.diff().abs().max() < 2 * 8 / 128
    assert x.diff().diff().abs().max() < 0.02


def test_gaussian_field_has_the_deviation_of_averaged_even_numbers():
    field = fields("elastic_gaussian", 1, (200, 220), sigma=5.0, alpha=20.0)[0]
    inner = field.displacement[:, 25:-25, 25:-25]
    expected = 20 / math.sqrt(3) / (2 * 5 * math.sqrt(math.pi))
    assert float(inner.std()) == pytest.approx(expected, rel=0.15)
    assert field.displacement[:, 0].abs().mean() < 0.8 * inner.abs().mean()  # fades out


def test_blur_is_that_of_scipy():
    noise = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ndimage = pytest.importorskip("scipy.ndimage")
    for before, made in zip(noise, blurred(noise, 1.7), strict=True):
        expected = ndimage.gaussian_filter(before.numpy(), 1.7, mode="constant", truncate=4.0)
        assert (made - torch.from_numpy(expected)).abs().max() < 1e-9


@pytest.mark.parametrize("strength", [-0.2, 0.15])
def test_lens_moves_along_the_radius_by_its_cube(strength):
    size = torch.tensor([60.0, 80.0], dtype=torch.float64)
    centre, points = torch.tensor([40.0, 30.0], dtype=torch.float64), scattered((60, 80))
    points = points.clamp(min=0).minimum(torch.tensor([80.0, 60.0]))
    away = points - centre
    expected = strength * (away.norm(dim=1, keepdim=True) / 50).square() * away
    assert (radial(strength, size).at(points) - expected).abs().max() < 0.02


def test_lens_is_drawn_evenly_to_either_side():
    corner = torch.tensor([[80.0, 60.0]], dtype=torch.float64)
    moved = torch.stack([field.at(corner)[0] for field in fields("lens", 2000, (60, 80), strength=0.2)])
    assert (torch.histc(moved[:, 0] / 40, 4, -0.2, 0.2) / 2000 - 0.25).abs().max() < 0.04


def test_box_of_a_bent_side_holds_what_bulges():
    size = torch.tensor([100.0, 100.0], dtype=torch.float64)
    values = torch.zeros(2, 3, 3, dtype=torch.float64)
    values[1, 1, 1] = 10.0  # the middle shows what lies below it: things move up there
    bent = Bent(((geometry.identity(1)[0], coarse(values, size)),), geometry.identity(1)[0])
    boxes, share = geometry.map_boxes(torch.tensor([[0.0, 50.0, 100.0, 100.0]]), bent, size_hw=(100, 100))
    top = bent.to_output(torch.tensor([[50.0, 50.0]], dtype=torch.float64))[0, 1]
    assert float(boxes[0, 1]) == pytest.approx(float(top), abs=0.2)
    assert top < 45
    assert share.tolist() == [1.0]


def test_bent_map_that_shrinks_averages_first():
    stripes = (torch.arange(120) % 2 * 200).to(torch.uint8).expand(1, 120, 120)
    still = Field(torch.zeros(2, 2, 2, dtype=torch.float64), torch.tensor([120.0, 120.0], dtype=torch.float64))
    smaller = geometry.zoom(torch.tensor([1 / 3]), torch.tensor([1 / 3]))[0]
    bent = Bent(((geometry.identity(1)[0], still),), smaller)
    image = warp(stripes, bent, (40, 40))
    assert (image.int() - 100).abs().max() <= 40  # not 0 and 200
    ramp = torch.arange(120, dtype=torch.uint8).expand(1, 120, 120)
    assert (warp(ramp, bent, (40, 40)).int() - warp(ramp, smaller, (40, 40)).int()).abs().max() <= 1
