"""Regions of maps lie where their boxes are."""

import pytest
import torch
from torchvision.ops import roi_align

from unpool.layers.regions import AT_ONCE, RegionPooling, level_of


def ramp(stride, size=24):
    """A map whose values are the x and y, in pixels of the input, of the middles of its cells."""
    middle = (torch.arange(size) + 0.5) * stride
    return torch.stack(torch.broadcast_tensors(middle, middle[:, None]))[None]


def middles(box, side):
    """x and y of the middles of a region's cells."""
    left, top, right, bottom = box
    step = (torch.arange(side) + 0.5) / side
    across, down = left + step * (right - left), top + step * (bottom - top)
    return torch.stack(torch.broadcast_tensors(across, down[:, None]))


BOX = (21.3, 40.7, 101.9, 95.2)


@pytest.mark.parametrize("side", [7, 3])
def test_roi_align_of_a_ramp_is_exact(side):
    pool = RegionPooling([8], side, kind="align")
    torch.testing.assert_close(pool([ramp(8)], [torch.tensor([BOX])])[0], middles(BOX, side), rtol=0, atol=1e-4)


def test_roi_pooling_of_a_ramp_is_not_exact_and_rounds_to_cells():
    pool = RegionPooling([8], 7, kind="pool")
    near = tuple(x + 0.4 for x in BOX)
    a, b = (pool([ramp(8)], [torch.tensor([box])])[0] for box in (BOX, near))
    assert (a - middles(BOX, 7)).abs().max() > 4
    assert torch.equal(a, b)


def test_roi_pooling_rounds_the_first_and_the_last_pixel_to_cells():
    """Pixel 35 is at 4.375 strides and pixel 36 at 4.5; the largest value is the middle of cell 4, or 5."""
    boxes = torch.tensor([[16.0, 16, 36, 37]])
    whole = RegionPooling([8], 1, kind="pool")([ramp(8)], [boxes])
    assert whole.flatten().tolist() == [36, 44]


def test_align_by_corners_is_half_a_cell_off():
    pool = RegionPooling([8], 7, kind="align_by_corners")
    found = pool([ramp(8)], [torch.tensor([BOX])])[0]
    torch.testing.assert_close(found, middles(BOX, 7) + 4, rtol=0, atol=1e-4)


def test_align_follows_a_shift_of_less_than_a_pixel():
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand(1, 1, 6, 6, generator=generator), scale_factor=8, mode="bilinear")
    pool = RegionPooling([1], 5, kind="align")
    shifted = torch.lerp(x[..., :-1], x[..., 1:], 0.3)  # the map, 0.3 to the left
    a = pool([x], [torch.tensor([[10.3, 9.0, 20.3, 24.0]])])  # bins of two columns, whose points are pixels' middles
    b = pool([shifted], [torch.tensor([[10.0, 9.0, 20.0, 24.0]])])
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("side", "stride"), [(224, 16), (112, 8), (448, 32), (223, 8), (10, 4), (2000, 32)])
def test_level_of_a_region_is_the_pyramid_papers(side, stride):
    strides = (4, 8, 16, 32)
    levels = level_of(torch.tensor([[5.0, 6, 5 + side, 6 + side]]), strides)
    assert strides[int(levels)] == stride


def test_level_counts_from_the_finest_map_there_is():
    boxes = torch.tensor([[0.0, 0, 224, 224], [0, 0, 112, 112]])
    assert level_of(boxes, (8, 16, 32)).tolist() == [1, 0]
    assert level_of(boxes, (16,)).tolist() == [0, 0]


def test_region_without_area_is_read_from_the_finest_map():
    assert level_of(torch.tensor([[3.0, 3, 3, 9]]), (4, 8)).tolist() == [0]


def test_regions_of_several_images_and_maps_keep_their_order():
    pool = RegionPooling([4, 8, 16, 32], 2, kind="align")
    maps = [ramp(stride, 512 // stride).repeat(2, 1, 1, 1) for stride in (4, 8, 16, 32)]
    for x in maps:
        x[1] += 1000
    boxes = [
        torch.tensor([[100.0, 100, 400, 400], [8, 8, 40, 40]]),
        torch.tensor([[50.0, 60, 200, 180], [9, 9, 30, 31]]),
    ]
    found = pool(maps, boxes)
    expected = torch.stack([middles(box, 2) for of_image in boxes for box in of_image.tolist()])
    expected[2:] += 1000
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_no_region_is_an_empty_answer_with_a_gradient():
    maps = [torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 4, 4, requires_grad=True)]
    found = RegionPooling([4, 8], 7, kind="align")(maps, [torch.zeros(0, 4)])
    assert found.shape == (0, 3, 7, 7)
    found.sum().backward()


def test_region_whose_corners_are_no_numbers_is_nan_and_others_are_read():
    maps, boxes = [ramp(4), ramp(8)], torch.tensor([[torch.nan] * 4, BOX])
    pool = RegionPooling([4, 8], 7, kind="align")
    regions = pool(maps, [boxes])
    assert regions[0].isnan().all()
    assert torch.equal(regions[1], pool(maps, [boxes[1:]])[0])


@pytest.mark.parametrize("kind", ["align", "align_by_corners"])
def test_roi_align_on_several_threads_has_the_bits_of_torchvisions(kind, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.manual_seed(0)
    x = torch.randn(2, 8, 12, 10, requires_grad=True)
    corners = torch.rand(2, AT_ONCE, 2, 2).mul(torch.tensor([50.0, 58])).sub(4).sort(dim=2).values  # some reach outside
    boxes = list(corners.flatten(2))
    weight = torch.randn(2 * AT_ONCE, 8, 7, 7)
    found = RegionPooling([4], 7, kind=kind)([x], boxes)
    whole = roi_align(x, boxes, 7, 1 / 4, sampling_ratio=2, aligned=kind == "align")
    torch.testing.assert_close(found, whole, rtol=0, atol=0)
    gradients = [torch.autograd.grad((one * weight).sum(), x)[0] for one in (found, whole)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_compiled_regions_keep_their_order():
    maps = [torch.rand(1, 3, 16, 16), torch.rand(1, 3, 8, 8)]
    boxes = [torch.tensor([[0.0, 0, 250, 250], [3, 4, 9, 12], [5, 5, 11, 17]])]  # of map 1, 0 and 0
    pool = RegionPooling([8, 16], 2, kind="align")
    graph = torch.export.export(pool, (maps, boxes), strict=False).module()
    torch.testing.assert_close(graph(maps, boxes), pool(maps, boxes), rtol=0, atol=0)
