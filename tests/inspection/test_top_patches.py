"""The images that excite a unit most, and the part of each that it sees."""

import weakref

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.feature_picture import draw_maps, patch_of, signal_picture, tiled
from unpool.inspection.top_patches import Windows, top_images
from unpool.ops.cutting import Frame


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1))


def pictures(count, kept=None):
    generator = torch.Generator().manual_seed(1)
    for number in range(count):
        image = torch.randn(1, 3, 16, 20, generator=generator)
        if kept is not None:
            kept.append(weakref.ref(image))
        yield f"{number}.png", image, torch.zeros(3, 16, 20, dtype=torch.uint8)


def test_images_are_those_of_the_largest_activations_of_all():
    looked = network()
    tops = top_images(looked, pictures(30), layer="2", units=[0, 3], count=9)
    for unit, ones in tops.items():
        highest = {name: looked(image)[0, unit].max().item() for name, image, _ in pictures(30)}
        expected = sorted(highest, key=lambda name: -highest[name])[:9]
        assert [one.name for one in ones] == expected
        for one in ones:
            assert one.activation == pytest.approx(highest[one.name], rel=1e-6)
            assert looked(one.image)[(0, unit, *one.position)].item() == pytest.approx(one.activation, rel=1e-6)


def test_images_that_are_not_kept_leave_the_memory():
    references = []
    tops = top_images(network(), pictures(40, references), layer="2", units=[1], count=3)
    alive = [one() for one in references if one() is not None]
    assert len(alive) == len(tops[1]) == 3


def test_unit_that_the_layer_has_not_is_refused():
    with pytest.raises(RecipeError, match="has units 0 to 4, and 5 is none"):
        top_images(network(), pictures(2), layer="2", units=[5])


@pytest.mark.parametrize("position", [(0, 0), (3, 5), (7, 9)])
def test_window_is_where_a_position_has_a_gradient(position):
    looked = network()
    for weight in looked.parameters():
        nn.init.constant_(weight, 1.0)
    image = torch.ones(1, 3, 16, 20, requires_grad=True)
    (gradient,) = torch.autograd.grad(looked(image)[(0, 0, *position)], image)
    rows, columns = (gradient[0, 0].any(axis).nonzero() for axis in (1, 0))
    frame = Windows(looked, "2").frame((3, 16, 20), position)
    assert (frame.height, frame.width) == (9, 9)
    assert (max(0, frame.top), min(16, frame.top + 9)) == (int(rows.min()), int(rows.max()) + 1)
    assert (max(0, frame.left), min(20, frame.left + 9)) == (int(columns.min()), int(columns.max()) + 1)


def test_layer_without_positions_sees_the_whole_image():
    looked = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert Windows(looked, "2").frame((3, 16, 20), ()) == Frame(0, 0, 16, 20)
    assert Windows(looked, "1").frame((3, 16, 20), (0, 0)) == Frame(0, 0, 16, 20)


def test_patch_is_grey_beyond_the_image_and_a_signal_of_zero_is_grey():
    picture = torch.full((3, 4, 4), 200, dtype=torch.uint8)
    patch = patch_of(picture, Frame(-1, 0, 2, 3))
    assert patch[0].tolist() == [[128, 200, 200], [128, 200, 200]]
    signal = torch.zeros(3, 4, 4)
    signal[0, 1, 1], signal[2, 2, 2] = 2.0, -4.0
    drawn = signal_picture(signal, Frame(0, 0, 4, 4), order="bgr")
    assert drawn[:, 0, 0].tolist() == [128, 128, 128]
    assert drawn[2, 1, 1] == 191
    assert drawn[0, 2, 2] == 0


def test_maps_are_scaled_each_by_itself_and_single_values_together():
    maps = torch.stack([torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 100.0]])])
    sheet = draw_maps(maps, ["a", "b"])
    assert torch.equal(sheet[:, 24 + 10, 6:102], sheet[:, 24 + 10, 108:204])
    sheet = draw_maps(torch.tensor([[[0.0]], [[1.0]]]), ["a", "b"])
    assert not torch.equal(sheet[:, 60, 6:102], sheet[:, 60, 108:204])


def test_tiles_keep_their_aspect():
    sheet = tiled([torch.full((3, 10, 20), 255, dtype=torch.uint8)], side=40)
    assert sheet.shape == (3, 40, 40)
    assert (sheet == 255).any(0).sum() == 20 * 40
