"""Promises of the way back: points, boxes, maps and masks come back to where they are on the image."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unpool.ops.layout import Layout, resample
from unpool.ops.preprocessing import Preprocessing

RULES = ("stretch", "cover", "fit")
sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))
choices = st.builds(
    Preprocessing,
    size_hw=st.none() | sizes,
    rule=st.sampled_from(RULES),
    crop=st.floats(0.3, 1.0),
    multiple=st.sampled_from((1, 7, 32)),
)


def points_of(size, count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, count, 2, generator=generator) * torch.tensor([size[1], size[0]]) - 0.5


@given(chosen=choices, size=sizes)
@settings(max_examples=150, deadline=None)
def test_points_come_back_from_the_input_of_every_rule(chosen, size):
    layout, points = chosen.layout(size), points_of(size)
    exact = points.double()
    assert (layout.points_to_image(layout.points_to_input(exact)) - exact).abs().max() < 1e-4
    ratio = (layout.valid_xyxy[:, 2:] - layout.valid_xyxy[:, :2]) / torch.tensor([[size[1], size[0]]])
    if 0.2 < ratio.min() < ratio.max() < 5:  # others are beyond what float32 resolves
        assert (layout.points_to_image(layout.points_to_input(points)) - points).abs().max() < 1e-4
    nowhere = torch.full((1, 1, 2), float("nan"))
    assert layout.points_to_image(nowhere).isnan().all()


@given(chosen=choices, size=sizes, grid=sizes)
@settings(max_examples=60, deadline=None)
def test_points_come_back_from_maps_of_any_size(chosen, size, grid):
    layout, points = chosen.layout(size), points_of(size).double()
    there = layout.points_to_input(points, grid)
    assert (layout.points_to_image(there, grid) - points).abs().max() < 1e-4
    cells = there.new_tensor([layout.input_hw[1] / grid[1], layout.input_hw[0] / grid[0]])  # in float64, as the points
    in_input = (there + 0.5) * cells - 0.5
    assert (in_input - layout.points_to_input(points)).abs().max() < 1e-3


@given(chosen=choices, size=sizes)
@settings(max_examples=60, deadline=None)
def test_boxes_come_back_from_the_input_of_every_rule(chosen, size):
    layout = chosen.layout(size)
    whole = torch.tensor([[0.0, 0.0, size[1], size[0]]])
    (there,) = layout.boxes_to_input([whole])
    assert torch.allclose(there, layout.valid_xyxy, rtol=1e-4, atol=1e-3)
    boxes = torch.cat([points_of(size), points_of(size, 7)[:, 2:]], dim=2)[0].double()
    assert (layout.boxes_to_image(layout.boxes_to_input([boxes]))[0] - boxes).abs().max() < 1e-4
    assert layout.boxes_to_image([torch.zeros(0, 4)])[0].shape == (0, 4)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (33, 90)])
def test_point_lies_in_the_input_where_the_picture_shows_it(rule, size):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    top, left = size[0] // 2 - 5, size[1] // 2 - 1
    image[:, top : top + 6, left : left + 6] = 255
    chosen = Preprocessing(size_hw=(96, 128), rule=rule, crop=0.9, mean=(0.0,) * 3)
    seen = chosen.resize(image)[0].double()
    rows, columns = (torch.arange(side) for side in seen.shape)
    middle = torch.tensor([(seen.sum(0) * columns).sum(), (seen.sum(1) * rows).sum()]) / seen.sum()
    there = chosen.layout(size).points_to_input(torch.tensor([[[left + 2.5, top + 2.5]]]))[0, 0]
    assert (there - middle).abs().max() < 0.1


@given(chosen=choices, size=sizes)
@settings(max_examples=40, deadline=None)
def test_valid_pixels_are_those_whose_centre_shows_the_image(chosen, size):
    layout = chosen.layout(size)
    left, top, right, bottom = layout.valid_xyxy[0].tolist()
    height, width = layout.input_hw
    assume(right - left >= 1 and bottom - top >= 1)  # of a thinner one a row or column is valid all the same
    expected = [[left <= x + 0.5 < right and top <= y + 0.5 < bottom for x in range(width)] for y in range(height)]
    assert layout.is_valid()[0].tolist() == expected


@pytest.mark.parametrize("rule", ["stretch", "fit"])
@pytest.mark.parametrize("size", [(12, 20), (20, 12), (9, 31)])
def test_masks_come_back_as_they_were_from_a_larger_input(rule, size):
    mask = torch.randint(0, 9, size, generator=torch.Generator().manual_seed(0))
    layout = Preprocessing(size_hw=(66, 70), rule=rule, multiple=16).layout(size)
    there = layout.masks_to_input([mask], padding=255)
    assert there.shape == (1, 80, 80)
    assert torch.equal(there[0] == 255, ~layout.is_valid()[0])
    assert torch.equal(layout.masks_to_image(there)[0], mask)


@pytest.mark.parametrize("size", [(7, 64), (40, 63), (64, 9), (63, 40)])
def test_no_pixel_of_the_bars_enters_a_mask(size):
    layout = Preprocessing(size_hw=(50, 50), rule="fit").layout(size)
    there = layout.masks_to_input([torch.ones(size, dtype=torch.int64)], padding=255)
    assert layout.masks_to_image(there)[0].eq(1).all()


@pytest.mark.parametrize("size", [(12, 20), (20, 12), (9, 31)])
def test_mask_of_an_input_whose_borders_are_cut_off_comes_back_where_it_was_seen(size):
    mask = torch.arange(size[0] * size[1]).view(size)
    layout = Preprocessing(size_hw=(60, 60), rule="cover", crop=0.8).layout(size)
    back = layout.masks_to_image(layout.masks_to_input([mask], padding=-1))[0]
    left, top, right, bottom = layout.valid_xyxy[0].tolist()
    rows = slice(round(-top * size[0] / (bottom - top)) + 1, round((60 - top) * size[0] / (bottom - top)) - 1)
    columns = slice(round(-left * size[1] / (right - left)) + 1, round((60 - left) * size[1] / (right - left)) - 1)
    assert torch.equal(back[rows, columns], mask[rows, columns])


def resample_slowly(map_, box, size):
    """Linear between the centres of the pixels that lie in the box, one number at a time."""
    left, top, right, bottom = box
    ys = [y for y in range(map_.shape[0]) if top <= y + 0.5 < bottom]
    xs = [x for x in range(map_.shape[1]) if left <= x + 0.5 < right]
    result = torch.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max(top + (i + 0.5) * (bottom - top) / size[0] - 0.5, ys[0]), ys[-1])
            x = min(max(left + (j + 0.5) * (right - left) / size[1] - 0.5, xs[0]), xs[-1])
            y0, x0 = min(int(y), ys[-1]), min(int(x), xs[-1])
            y1, x1 = min(y0 + 1, ys[-1]), min(x0 + 1, xs[-1])
            above = map_[y0, x0] * (1 - (x - x0)) + map_[y0, x1] * (x - x0)
            below = map_[y1, x0] * (1 - (x - x0)) + map_[y1, x1] * (x - x0)
            result[i, j] = above * (1 - (y - y0)) + below * (y - y0)
    return result


@pytest.mark.parametrize("box", [(0, 0, 9, 8), (0, 0, 6, 5), (1.5, 0, 7.5, 8), (2.3, 1.2, 6.9, 7.8), (3, 2, 8, 3)])
@pytest.mark.parametrize("size", [(5, 6), (16, 18), (3, 4)])
def test_maps_are_resampled_within_their_box_alone(box, size):
    map_ = torch.rand(8, 9, generator=torch.Generator().manual_seed(0))
    found = resample(map_[None, None], box, size)[0, 0]
    torch.testing.assert_close(found, resample_slowly(map_, box, size), atol=1e-5, rtol=1e-5)


def test_map_of_positions_comes_back_as_positions():
    layout = Preprocessing(size_hw=(60, 80), rule="fit", multiple=32).layout((90, 40))
    rows = torch.arange(64.0)[:, None].expand(64, 96)
    columns = torch.arange(96.0).expand(64, 96)
    (back,) = layout.maps_to_image(torch.stack([columns, rows])[None])
    assert back.shape == (2, 90, 40)
    wanted = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(90.0), indexing="xy"), 2)
    there = layout.points_to_input(wanted[None])[0].permute(2, 0, 1)
    assert (back - there)[:, 1:-1, 1:-1].abs().max() < 1e-3


def test_thinnest_image_still_shows_a_pixel():
    layout = Preprocessing(size_hw=(16, 16), rule="fit").layout((400, 1))
    (back,) = layout.maps_to_image(torch.arange(16.0).expand(1, 1, 16, 16))
    assert back.shape == (1, 400, 1)
    assert back.unique().tolist() in ([7.0], [8.0])


def test_batch_without_valid_boxes_or_sizes_is_its_input():
    batch = {"image": torch.zeros(2, 3, 8, 6)}
    layout = Layout.of(batch)
    assert layout.valid_xyxy.tolist() == [[0, 0, 6, 8]] * 2
    assert layout.size_hw.tolist() == [[8, 6]] * 2
    assert Layout.of(batch | {"valid_xyxy": torch.tensor([[0.0, 0, 6, 4]] * 2)}).size_hw.tolist() == [[4, 6]] * 2
    assert (
        Layout.of(batch | {"size_hw": torch.tensor([[80, 60]] * 2)}).points_to_image(torch.zeros(2, 1, 2)).tolist()
        == [[[4.5, 4.5]]] * 2
    )


def test_pixel_with_its_centre_on_the_near_edge_of_the_image_shows_it_and_on_the_far_edge_does_not():
    box = torch.tensor([[0.5, 1.5, 2.5, 4.5]])
    valid = Layout(box, torch.tensor([[3, 2]]), (6, 5)).is_valid()[0]
    assert valid.nonzero().tolist() == [[y, x] for y in (1, 2, 3) for x in (0, 1)]


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (2.1, 2.4), (5.0, 5.0)])
def test_box_between_the_centres_of_pixels_shows_the_one_that_it_lies_in(low, high):
    layout = Layout(torch.tensor([[low, low, high, high]]), torch.tensor([[1, 1]]), (5, 5))
    nearest = min(int(low), 4)
    assert layout.is_valid()[0].nonzero().tolist() == [[nearest, nearest]]
