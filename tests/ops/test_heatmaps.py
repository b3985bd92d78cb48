import pytest
import torch

from unpool.ops import heatmaps


def spread_points(count, side):
    return 4 + (side - 9) * torch.rand(1, count, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("radius", "pixels"), [(1, 5), (2, 13), (3, 29), (4, 49), (5, 81), (10, 317)])
def test_disk_of_radius_r_has_the_pixels_of_the_grid_within_r(radius, pixels):
    disk = heatmaps.disks(torch.tensor([[20.0, 15.0]]), (32, 40), radius)
    assert disk.sum() == pixels
    rows, columns = disk[0].nonzero().unbind(1)
    assert (rows.float().mean(), columns.float().mean()) == (15, 20)
    assert ((columns - 20) ** 2 + (rows - 15) ** 2).max() <= radius**2


def test_gaussian_is_one_at_its_point_and_falls_by_the_deviation():
    maps = heatmaps.gaussians(torch.tensor([[[5.0, 3.0], [5.5, 3.0]]]), (8, 12), 2.0)
    assert maps.shape == (1, 2, 8, 12)
    assert maps[0, 0, 3, 5] == 1
    assert maps[0, 0, 3, 7] == pytest.approx(0.6065, abs=1e-4)  # e^-1/2, one deviation to the right
    assert maps[0, 0, 7, 5] == pytest.approx(0.1353, abs=1e-4)  # e^-2, two below
    assert maps[0, 1, 3, 5] == maps[0, 1, 3, 6]


@pytest.mark.parametrize("kind", ["gaussian", "disk"])
def test_mass_is_what_the_pixels_of_a_map_add_up_to(kind):
    maps = heatmaps.labels(torch.tensor([[30.2, 29.7]]), (60, 60), kind=kind, size=5.0)
    assert maps.sum().item() == pytest.approx(heatmaps.mass(kind, 5.0), rel=0.03)


def test_unknown_point_has_an_empty_map():
    nowhere = torch.full((1, 2), float("nan"))
    assert heatmaps.gaussians(nowhere, (8, 8), 2.0).sum() == heatmaps.disks(nowhere, (8, 8), 2.0).sum() == 0


def test_quarter_offset_halves_the_error_of_the_highest_pixel():
    points = spread_points(2000, 24)
    maps = heatmaps.gaussians(points, (24, 24), 1.5)
    place = maps.flatten(2).argmax(2)
    coarse = torch.stack([place % 24, place // 24], dim=-1)
    found, score = heatmaps.decode(maps)
    assert (coarse - points).norm(dim=2).mean().item() == pytest.approx(0.38, abs=0.01)
    assert (found - points).norm(dim=2).mean().item() == pytest.approx(0.19, abs=0.01)
    assert score.equal(maps.flatten(2).amax(2))


def test_peak_at_the_border_is_not_moved():
    maps = torch.zeros(1, 2, 5, 6)
    maps[0, 0, 0, 0], maps[0, 0, 0, 1] = 2.0, 1.0
    maps[0, 1, 2, 5], maps[0, 1, 3, 5] = 2.0, 1.0
    found, _ = heatmaps.decode(maps)
    assert found.tolist() == [[[0.0, 0.0], [5.0, 2.25]]]


def test_points_meet_at_the_edges_of_the_picture():
    corners = torch.tensor([[[-0.5, -0.5], [191.5, 255.5], [2.0, 2.0]]])
    small = heatmaps.rescale(corners, (256, 192), (64, 48))
    assert small[0, :2].tolist() == [[-0.5, -0.5], [47.5, 63.5]]
    assert small[0, 2].tolist() == [0.125, 0.125]  # (2 + 0.5) / 4 - 0.5
    sizes = torch.tensor([[256, 192]])
    assert torch.allclose(heatmaps.rescale(small, (64, 48), sizes), corners)


def test_point_through_a_map_at_a_quarter_comes_back_within_a_quarter_pixel_of_the_map():
    points = 16 + 96 * torch.rand(4, 200, 2, generator=torch.Generator().manual_seed(1))
    maps = heatmaps.gaussians(heatmaps.rescale(points, (128, 128), (32, 32)), (32, 32), 1.0)
    back = heatmaps.rescale(heatmaps.decode(maps)[0], (32, 32), (128, 128))
    error = back - points
    assert error.norm(dim=2).mean() / 4 < 0.25
    assert error.mean((0, 1)).abs().max() < 0.08  # no drift: pixels of the image, 4 a pixel of the map


def test_disk_is_found_at_its_middle():
    points = spread_points(300, 24).round()
    maps = heatmaps.disks(points, (24, 24), 3.0)
    assert heatmaps.decode(heatmaps.gather_disks(maps, 3.0))[0].equal(points)


def test_mean_over_a_disk_is_that_of_its_pixels():
    maps = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    gathered = heatmaps.gather_disks(maps, 2.0)
    disk = heatmaps.disks(torch.tensor([4.0, 5.0]), (9, 8), 2.0).bool()
    assert torch.allclose(gathered[1, 2, 5, 4], maps[1, 2][disk].mean())


def test_mirror_order_swaps_pairs_only():
    assert heatmaps.mirror_order(5, ((0, 1), (3, 4))) == [1, 0, 2, 4, 3]


@pytest.mark.parametrize("pairs", [((0, 1), (1, 2)), ((0, 3),), ((0, 0),), ((-1, 0),)])
def test_mirror_order_refuses_what_is_no_exchange(pairs):
    with pytest.raises(ValueError, match="expected joints of 0 to 2, each once at most"):
        heatmaps.mirror_order(3, pairs)


@pytest.mark.parametrize("shift", [-2.0, -0.875, -0.25, 0.5, 1.0, 1.75, 30.0])
def test_column_comes_from_where_the_shift_says_and_edges_are_repeated(shift):
    slopes = torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1)
    columns = torch.arange(9.0).expand(3, 4, 9)
    found = heatmaps.shift_columns(slopes * columns, shift)
    assert torch.allclose(found, slopes * (columns + shift).clamp(0, 8), atol=1e-6)


def test_maps_that_are_not_shifted_are_the_same():
    maps = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    assert heatmaps.shift_columns(maps, 0.0) is maps


def test_of_equal_pixels_the_first_row_by_row_is_the_point():
    maps = torch.zeros(2, 1, 6, 7)
    maps[1, 0, 2, 5] = maps[1, 0, 4, 1] = 1.0
    points, heights = heatmaps.decode(maps)
    assert points[:, 0].tolist() == [[0.0, 0.0], [5.0, 2.0]]
    assert heights[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("x", [1, 4])
@pytest.mark.parametrize("y", [1, 3])
def test_peak_beside_the_border_is_moved(x, y):
    maps = torch.zeros(1, 1, 5, 6)
    maps[0, 0, y, x], maps[0, 0, y + 1, x], maps[0, 0, y, x - 1] = 2.0, 1.0, 1.0
    assert heatmaps.decode(maps)[0].tolist() == [[[x - 0.25, y + 0.25]]]
