"""Maps and what is carried through them, against loops written out here."""

import math

import pytest
import torch
from torch import Tensor

from unpool.ops import geometry
from unpool.ops.boxes import areas
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.resampling import warp
from unpool.types import IGNORE


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=generator)


def row(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def warp_slowly(image: Tensor, matrix: Tensor, size_hw: tuple[int, int], *, fill: float, nearest: bool) -> Tensor:
    """One pixel after another, by the text of `warp`."""
    channels, height, width = image.shape
    result = torch.full((channels, *size_hw), float(fill))
    for i in range(size_hw[0]):
        for j in range(size_hw[1]):
            x, y, _ = (matrix.double() @ row(j + 0.5, i + 0.5, 1)).tolist()
            if not (0 <= x < width and 0 <= y < height):
                continue
            if nearest:
                result[:, i, j] = image[:, math.floor(y), math.floor(x)].float()
                continue
            left, top = math.floor(x - 0.5), math.floor(y - 0.5)
            a, b = x - 0.5 - left, y - 0.5 - top
            xs = [min(max(k, 0), width - 1) for k in (left, left + 1)]
            ys = [min(max(k, 0), height - 1) for k in (top, top + 1)]
            upper = (1 - a) * image[:, ys[0], xs[0]].float() + a * image[:, ys[0], xs[1]].float()
            lower = (1 - a) * image[:, ys[1], xs[0]].float() + a * image[:, ys[1], xs[1]].float()
            result[:, i, j] = (1 - b) * upper + b * lower
    return result


def turned(angle: float, height: int, width: int) -> Tensor:
    return geometry.rotation(row(angle), torch.tensor([[height, width]]))[0]


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_warp_is_what_a_loop_over_pixels_gives(mode: str) -> None:
    image = picture(9, 14)
    matrix = turned(23.0, 9, 14) @ geometry.translation(row(1.3), row(-2.1))[0]
    warped = warp(image, matrix, (11, 12), mode=mode, fill=77.0)
    expected = warp_slowly(image, matrix, (11, 12), fill=77.0, nearest=mode == "nearest")
    assert (warped.float() - expected).abs().max() <= 0.51  # rounding to uint8
    assert (warped == 77).any()


@pytest.mark.parametrize("width", [None, 8])
@pytest.mark.parametrize(("left", "top"), [(0, 0), (3, -2), (-4, 5), (9, 9), (-30, 0), (30, 0)])
def test_shifts_and_mirrors_are_exact_copies(width: int | None, left: int, top: int) -> None:
    image = picture(7, 8)
    matrix = geometry.mirror(torch.tensor([width is not None]), row(8)) @ geometry.translation(row(left), row(top))
    warped = warp(image, matrix[0], (6, 10), fill=5.0)
    assert torch.equal(warped.float(), warp_slowly(image, matrix[0], (6, 10), fill=5.0, nearest=True))


def test_warp_of_a_batch_is_that_of_its_images() -> None:
    images = torch.stack([picture(20, 24, seed=i) for i in range(3)])
    maps = torch.stack([turned(angle, 20, 24) for angle in (0.0, 12.0, -40.0)])
    together = warp(images, maps, (20, 24), fill=9.0)
    alone = [warp(i, m, (20, 24), fill=9.0) for i, m in zip(images, maps, strict=True)]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("size_hw", [(24, 32), (31, 17), (90, 120), (48, 100)])
def test_warp_to_another_size_is_the_resize_of_evaluation(size_hw: tuple[int, int]) -> None:
    image = picture(45, 60)
    matrix = geometry.zoom(row(size_hw[1] / 60), row(size_hw[0] / 45))[0]
    expected = Preprocessing(size_hw=size_hw).resize(image)
    assert (warp(image, matrix, size_hw).int() - expected.int()).abs().max() <= 1


def test_turned_and_shrunk_picture_is_as_sharp_as_the_resized_one() -> None:
    image = torch.nn.functional.avg_pool2d(picture(303, 303).float(), 3, 1).to(torch.uint8)  # (3, 301, 301)
    matrix = geometry.zoom(row(0.5), row(0.5))[0] @ turned(7.0, 150, 150)
    plain = Preprocessing(size_hw=(150, 150)).resize(image)

    def roughness(x: Tensor) -> float:
        middle = x[:, 40:110, 40:110].float()
        return float(middle.diff(dim=1).square().mean() + middle.diff(dim=2).square().mean())

    assert 0.75 < roughness(warp(image, matrix, (150, 150))) / roughness(plain) < 1.33


def test_nearest_warp_invents_no_class() -> None:
    mask = torch.tensor([1, 4, 9, IGNORE], dtype=torch.uint8)[torch.randint(0, 4, (1, 21, 33))]
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        angle, zoom, shift = torch.rand(3, 1, generator=generator, dtype=torch.float64)
        matrix = geometry.rotation(angle * 360, torch.tensor([[21, 33]]))
        matrix = matrix @ geometry.zoom(zoom + 0.3, zoom + 0.4) @ geometry.translation(shift * 9, shift * -5)
        seen = warp(mask, matrix[0], (18, 18), mode="nearest", fill=IGNORE).unique().tolist()
        assert set(seen) <= {1, 4, 9, IGNORE}


def test_float_images_stay_float_and_unrounded() -> None:
    image = torch.linspace(0, 1, 16).view(1, 4, 4)
    warped = warp(image, geometry.translation(row(0.5), row(0))[0], (4, 3))
    assert warped.dtype == torch.float32
    assert warp(image, geometry.translation(row(9), row(0))[0], (1, 1), fill=0.3).item() == pytest.approx(0.3)
    assert torch.allclose(warped[0], (image[0, :, :-1] + image[0, :, 1:]) / 2)


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_colours_change_the_picture_and_not_what_lies_outside(angle: float) -> None:
    image = torch.full((3, 12, 12), 100, dtype=torch.uint8)
    matrix = turned(angle, 12, 12) @ geometry.translation(row(-4), row(0))[0]
    doubled = torch.cat((2 * torch.eye(3), torch.full((3, 1), 10.0)), dim=1)
    warped = warp(image, matrix, (12, 12), fill=torch.tensor([7.0, 8.0, 9.0]), colours=doubled)
    assert {tuple(c) for c in warped.flatten(1).T.tolist()} == {(210, 210, 210), (7, 8, 9)}


def test_rotation_turns_counter_clockwise_on_the_screen() -> None:
    point = geometry.map_points(torch.tensor([[8.0, 5.0]]), turned(90.0, 10, 10))
    assert torch.allclose(point, torch.tensor([[5.0, 2.0]]), atol=1e-5)


def test_keypoint_lands_where_its_pixel_lands() -> None:
    image = torch.zeros(1, 21, 21)
    image[0, 6, 13] = 1.0
    matrix = geometry.mirror(torch.tensor([True]), row(21)) @ turned(90.0, 21, 21)[None]
    warped = warp(image, matrix[0], (21, 21))
    y, x = divmod(int(warped.argmax()), 21)
    moved = geometry.map_keypoints(torch.tensor([13.0, 6.0]), matrix[0])
    assert torch.allclose(moved, torch.tensor([float(x), float(y)]), atol=1e-4)


def test_boxes_are_mirrored_clipped_and_measured() -> None:
    boxes = torch.tensor([[1.0, 2.0, 4.0, 6.0], [-3.0, 0.0, 3.0, 4.0], [11.0, 1.0, 14.0, 5.0], [2.0, 2.0, 2.0, 5.0]])
    moved, share = geometry.map_boxes(boxes, geometry.mirror(torch.tensor([True]), row(10))[0], size_hw=(8, 10))
    assert moved[:2].tolist() == [[6.0, 2.0, 9.0, 6.0], [7.0, 0.0, 10.0, 4.0]]
    assert share.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_box_of_a_turned_image_holds_all_its_corners() -> None:
    box = torch.tensor([[4.0, 4.0, 6.0, 6.0]])
    moved, _ = geometry.map_boxes(box, turned(45.0, 10, 10), size_hw=(10, 10))
    half = math.sqrt(2)
    assert torch.allclose(moved, torch.tensor([[5 - half, 5 - half, 5 + half, 5 + half]]), atol=1e-5)


@pytest.mark.parametrize(
    "box", [[2.0, 2.0, 2.0, 6.0], [2.0, 5.0, 6.0, 5.0], [6.0, 2.0, 4.0, 5.0], [6.0, 6.0, 4.0, 4.0]]
)
def test_box_without_extent_shows_nowhere_however_the_image_turns(box: list[float]) -> None:
    mirrored, same = geometry.mirror(torch.tensor([True]), row(10))[0], geometry.identity(1)[0]
    for matrix in (turned(30.0, 10, 10), mirrored, same):
        moved, share = geometry.map_boxes(torch.tensor([box]), matrix, size_hw=(10, 10))
        assert areas(moved).tolist() == share.tolist() == [0.0]


@pytest.mark.parametrize(
    ("corner", "x", "y"),
    [
        ([0, 0], (0.8, 0.1, -0.5), (0, 0.8, 0.5)),
        ([0, 7], (0.8, -0.1, 2.1), (0, 0.8, 0.5)),
        ([7, 0], (0.8, 0, 0.5), (-0.1, 0.8, 2.1)),
        ([7, 7], (0.8, 0.1, 1.3), (0, 0.8, 0.5)),
    ],
)
def test_mask_is_filled_where_a_single_corner_lies_outside(corner, x, y):
    matrix = torch.stack([row(*x), row(*y), row(0, 0, 1)])
    moved = warp(torch.zeros(1, 8, 8, dtype=torch.uint8), matrix, (8, 8), mode="nearest", fill=IGNORE)
    assert (moved[0] == IGNORE).nonzero().tolist() == [corner]


def test_picture_that_is_turned_and_shrunk_along_one_side_is_averaged_along_that_side_alone() -> None:
    across = torch.tensor([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)  # x from 4 y
    columns = torch.tensor([0.0, 200.0]).repeat(24).expand(1, 12, 48)  # every other one is bright
    rows = torch.tensor([0.0, 200.0]).repeat(6)[:, None].expand(1, 12, 48)
    grey = warp(columns, across, (12, 12))
    assert (grey[..., 1:-1, :] - 100).abs().max() < 30  # every fourth column alone would be 0
    assert torch.allclose(warp(rows, across, (12, 12)), rows[0, :, 0].expand(1, 12, 12), atol=1e-3)
