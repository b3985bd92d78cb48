import pytest
import torch

from unpool.ops.drawing import caption, complete_palette, distinct_colours, overlay, paint, voc_palette
from unpool.types import IGNORE

PALETTE = ((255, 0, 0), (0, 0, 255))


def test_distinct_colours_are_distinct_and_never_black():
    colours = distinct_colours(64)
    assert len(set(colours)) == 64
    assert min(max(colour) for colour in colours) > 100
    nearest = min(
        sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x in colours[:20] for y in colours[:20] if x != y
    )
    assert nearest > 40


def test_palette_of_voc_is_that_of_the_development_kit():
    assert voc_palette(256)[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert voc_palette(256)[8] == (64, 0, 0)
    assert voc_palette(256)[20] == (0, 64, 128)
    assert voc_palette(256)[255] == (224, 224, 192)  # the kit's colour of what is void


def test_palette_too_short_for_its_classes_is_replaced():
    assert complete_palette(PALETTE, 2) == PALETTE
    assert complete_palette(PALETTE, 3) == distinct_colours(3)
    assert complete_palette((), 64) == distinct_colours(64)


def test_paint_gives_each_class_its_colour_and_ignore_black():
    painted = paint(torch.tensor([[0, 1, IGNORE]]), PALETTE)
    assert painted.shape == (3, 1, 3)
    assert painted[:, 0].T.tolist() == [[255, 0, 0], [0, 0, 255], [0, 0, 0]]


def test_overlay_mixes_inside_and_leaves_ignored_pixels_alone():
    image = torch.full((3, 1, 4), 100, dtype=torch.uint8)
    found = overlay(image, torch.tensor([[0, 0, 0, IGNORE]]), PALETTE)
    assert found[:, 0, 1].tolist() == [178, 50, 50]
    assert found[:, 0, 3].tolist() == [100, 100, 100]


def test_overlay_draws_borders_at_full_colour():
    image = torch.full((3, 1, 4), 100, dtype=torch.uint8)
    assert overlay(image, torch.tensor([[0, 0, 1, 1]]), PALETTE)[:, 0, 2].tolist() == [0, 0, 255]


def test_overlay_of_a_grey_image_is_rgb():
    assert overlay(torch.zeros(1, 4, 5, dtype=torch.uint8), torch.zeros(4, 5), PALETTE).shape == (3, 4, 5)


def test_overlay_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"image is \(4, 5\) and mask \(4, 6\)"):
        overlay(torch.zeros(3, 4, 5, dtype=torch.uint8), torch.zeros(4, 6), PALETTE)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 200, 300), (3, 1, 1)])
def test_caption_writes_in_the_corner_and_keeps_the_rest(shape):
    image = torch.full(shape, 128, dtype=torch.uint8)
    found = caption(image, "a class")
    assert found.dtype == torch.uint8
    assert found.shape[0] == 3
    assert found[:, 0, 0].tolist() == [20, 20, 20]
    assert found[:, -1, -1].tolist() == [128, 128, 128]
    assert min(found.shape[1:]) >= 96


def test_a_strip_is_not_enlarged_beyond_what_can_be_stored():
    strip = torch.full((1, 1, 900), 200, dtype=torch.uint8)
    assert caption(strip, "before").shape == (3, 4, 3600)
    assert (caption(strip, "before") == 200).all()  # no text that would hide it
    assert caption(torch.zeros(1, 1, 5000, dtype=torch.uint8), "before").shape == (3, 1, 5000)
