"""Views of an image at test time: which there are, what each shows, and the way back."""

import pytest
import torch

from unpool.errors import RecipeError
from unpool.ops.colour import color_offsets
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.sides import class_order
from unpool.ops.views import VIEWS, View, combined, resizing, seen_part, shown, undone

SQUARE = Preprocessing(size_hw=(224, 224), rule="cover")


def test_constant_image_has_ten_equal_crops_of_the_inputs_size():
    image = torch.full((1, 3, 300, 400), 77, dtype=torch.uint8)
    crops = [shown(view, resizing(view, SQUARE).resize(image), SQUARE.size_hw) for view in VIEWS["ten_crops"]]
    assert len(crops) == 10
    assert all(torch.equal(crop, crops[0]) and crop.shape == (1, 3, 224, 224) for crop in crops)


def test_ten_crops_are_corners_and_middle_of_the_enlarged_image_and_their_mirrors():
    image = torch.arange(256.0 * 256).view(1, 256, 256)
    crops = [shown(view, image, (224, 224)) for view in VIEWS["ten_crops"]]
    corners = [(int(crop[0, 0, 0]) // 256, int(crop[0, 0, 0]) % 256) for crop in crops[:5]]
    assert corners == [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    assert all(torch.equal(mirror, crop.flip(-1)) for crop, mirror in zip(crops[:5], crops[5:], strict=True))
    assert torch.equal(crops[4], image[:, 16:240, 16:240])


def test_middle_crop_is_what_one_crop_shows():
    image = torch.randint(0, 256, (1, 3, 300, 400), dtype=torch.uint8)
    middle = VIEWS["ten_crops"][4]
    enlarged = resizing(middle, SQUARE).resize(image)
    assert torch.equal(shown(middle, enlarged, SQUARE.size_hw), SQUARE.resize(image))


def test_five_scales_are_shorter_sides_of_resnets_test_at_the_images_aspect():
    image = torch.zeros(1, 3, 300, 600, dtype=torch.uint8)
    sizes = [tuple(resizing(view, SQUARE).resize(image).shape[-2:]) for view in VIEWS["five_scales"]]
    assert sizes == [(224, 448), (256, 512), (384, 768), (480, 960), (640, 1280)]


@pytest.mark.parametrize("view", [*VIEWS["rotations"], *VIEWS["flip"], View(turns=3, is_mirrored=True)])
def test_maps_of_a_view_go_back_and_boxes_go_with_them(view):
    image = torch.zeros(1, 4, 7)
    image[:, 1:3, 2:6] = 1
    assert torch.equal(undone(view, shown(view, image)), image)
    (left, top, right, bottom) = seen_part(view, torch.tensor([[2.0, 1.0, 6.0, 3.0]]), (4, 7))[0].int().tolist()
    there = shown(view, image)
    assert there.sum() == there[:, top:bottom, left:right].sum() == (right - left) * (bottom - top)


def test_colors_are_no_change_and_one_deviation_either_way_on_each_axis():
    grey = torch.full((1, 3, 1, 1), 100.0)
    seen = torch.cat([shown(view, grey) for view in VIEWS["colors"]]).flatten(1)
    assert len(seen) == 7
    assert torch.allclose(seen.mean(0), torch.tensor([100.0] * 3), atol=1e-4)
    assert (seen[1] < seen[0]).all()  # the longest axis is brightness
    assert torch.allclose((seen[1] - seen[0]).norm(), torch.tensor(255 * 0.02175), rtol=1e-3)


def test_axes_of_imagenets_colours_are_orthonormal():
    axes = color_offsets(torch.eye(3, dtype=torch.float64))
    axes = axes / (255 * torch.tensor([0.2175, 0.0188, 0.0045], dtype=torch.float64))[:, None]
    assert torch.allclose(axes @ axes.T, torch.eye(3, dtype=torch.float64), atol=1e-4)


def test_rows_together_are_each_view_of_one_with_each_of_the_other():
    views = combined(["five_scales", "flip"])
    assert len(set(views)) == 10
    assert {view.scale for view in views if view.is_mirrored} == {view.scale for view in VIEWS["five_scales"]}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["flips"], "no views 'flips' for test time; choose among flip, ten_crops"),
        (["flip", "flip"], "flip are asked for 2 times"),
        (["ten_crops", "flip"], "has its mirror images already"),
        (["five_scales", "ten_crops"], "windows of one scale"),
    ],
)
def test_views_that_do_not_go_together_are_refused(names, says):
    with pytest.raises(RecipeError, match=says):
        combined(names)


@pytest.mark.parametrize(
    ("preprocessing", "says"),
    [
        (Preprocessing(), "one input size"),
        (Preprocessing(size_hw=(8, 8), rule="fit"), "without bars"),
        (Preprocessing(size_hw=(8, 8), crop=1.0), "data.crop is 1"),
    ],
)
def test_windows_need_an_image_larger_than_the_input(preprocessing, says):
    with pytest.raises(RecipeError, match=says):
        resizing(VIEWS["ten_crops"][0], preprocessing)


def test_classes_that_are_sides_change_places_and_others_that_look_so_do_not():
    assert class_order(["bike_left", "car", "bike_right", "lake", "rake"]) == [2, 1, 0, 3, 4]
    assert class_order(["recreational vehicle, RV, R.V.", "copyright", "turn L", "turn R"]) == [0, 1, 3, 2]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["a", "l", "r"], [0, 1, 2]),
        (["size_R", "size_S", "size_L"], [0, 1, 2]),
        (["L", "R", "none"], [1, 0, 2]),
        (["hand L a", "hand L b", "hand R a", "hand R b"], [2, 3, 0, 1]),
    ],
)
def test_letters_of_a_list_are_no_sides(names, order):
    assert class_order(names) == order


def test_class_that_is_a_side_without_a_partner_is_refused():
    with pytest.raises(RecipeError, match="class turn_left is a side"):
        class_order(["turn_left", "straight"])
