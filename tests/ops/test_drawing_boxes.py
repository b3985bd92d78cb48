import pytest
import torch

from unpool.ops.drawing_boxes import LEAST_SIDE, draw_boxes, draw_masks

RED, BLUE = (200, 0, 0), (0, 0, 200)
IMAGE = torch.full((3, 400, 400), 90, dtype=torch.uint8)
BOXES = torch.tensor([[50.0, 60.0, 150.0, 160.0], [200.0, 210.0, 350.0, 380.0]])


def shown(image=IMAGE, boxes=BOXES, labels=(0, 1), **options):
    known = {"classes": ("red", "blue"), "palette": (RED, BLUE)}
    return draw_boxes(image, boxes, torch.tensor(labels, dtype=torch.int64), **known | options)


def test_borders_are_the_outer_pixels_of_each_box_in_the_colour_of_its_class():
    picture = shown(is_thin=torch.ones(2, dtype=torch.bool))
    for (left, top, right, bottom), colour in zip(BOXES.int().tolist(), (RED, BLUE), strict=True):
        for y, x in ((top, left), (bottom - 1, right - 1)):
            assert tuple(picture[:, y, x].tolist()) == colour
        assert picture[:, top + 1, left + 1].tolist() == 3 * [90]
        assert tuple(picture[:, top + 5, right - 1].tolist()) == colour
        assert picture[:, top + 5, right].tolist() == picture[:, bottom, left + 5].tolist() == 3 * [90]


def test_first_box_lies_on_top():
    same = BOXES[:1].repeat(2, 1)
    assert tuple(shown(boxes=same)[:, 100, 50].tolist()) == RED


def test_class_and_score_are_written_above_the_box():
    named, scored = shown(), shown(scores=torch.tensor([0.75, 0.5]))
    above = (slice(None), slice(30, 60), slice(50, 200))
    assert not named[above].equal(scored[above])
    assert not named[above].equal(shown(is_thin=torch.ones(2, dtype=torch.bool))[above])


@pytest.mark.parametrize("name", ["白血球", "ß-Zelle", "a\nb", ""])
def test_names_of_any_script_are_drawn(name):
    assert shown(classes=(name, "blue")).shape == IMAGE.shape


def test_name_that_the_font_lacks_is_its_number():
    assert shown(classes=("白血球", "blue")).equal(shown(classes=("class 0", "blue")))


def test_small_grey_image_is_enlarged_with_its_boxes():
    picture = shown(image=IMAGE[:1, :40, :20], boxes=torch.tensor([[5.0, 5.0, 15.0, 35.0]]), labels=(1,))
    factor = -(-LEAST_SIDE // 40)
    assert picture.shape == (3, 40 * factor, 20 * factor)
    assert tuple(picture[:, 20 * factor, 5 * factor].tolist()) == BLUE


def test_no_box_is_the_image():
    assert shown(boxes=torch.zeros(0, 4), labels=()).equal(IMAGE)


def painted(*masks, labels=(0, 1), image=IMAGE[:, :8, :9], **options):
    labels = torch.tensor(labels[: len(masks)], dtype=torch.int64)
    return draw_masks(image, torch.stack(masks), labels, palette=(RED, BLUE), **options)


def box_mask(top, left, bottom, right):
    mask = torch.zeros(8, 9, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_mask_is_tinted_outlined_within_and_alone():
    red = painted(box_mask(1, 2, 6, 7))
    assert tuple(red[:, 1, 2].tolist()) == tuple(red[:, 5, 6].tolist()) == tuple(red[:, 3, 2].tolist()) == RED
    assert red[:, 2, 3].tolist() == red[:, 4, 5].tolist() == [134, 54, 54]  # 90 + 0.4 * (200 - 90); 90 - 0.4 * 90
    assert (red[:, ~box_mask(1, 2, 6, 7)] == 90).all()


def test_mask_that_goes_on_beyond_the_image_is_not_outlined_there():
    assert painted(box_mask(0, 0, 8, 5))[:, 0, 0].tolist() == [134, 54, 54]
    assert tuple(painted(box_mask(0, 0, 8, 5))[:, 0, 4].tolist()) == RED


def test_first_mask_lies_on_top():
    both = painted(box_mask(1, 1, 6, 6), box_mask(1, 1, 6, 6))
    assert tuple(both[:, 1, 1].tolist()) == RED


def test_mask_that_does_not_count_is_an_outline():
    thin = painted(box_mask(1, 2, 6, 7), is_thin=torch.tensor([True]))
    assert tuple(thin[:, 1, 2].tolist()) == RED
    assert thin[:, 3, 4].tolist() == [90, 90, 90]


def test_no_mask_and_an_empty_one_are_the_image():
    assert draw_masks(IMAGE, torch.zeros(0, 400, 400), torch.zeros(0), palette=(RED,)).equal(IMAGE)
    assert painted(box_mask(0, 0, 0, 0)).equal(IMAGE[:, :8, :9])


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"image is \(8, 8\), masks \(8, 9\) \(H, W\)"):
        painted(box_mask(0, 0, 3, 3), image=IMAGE[:, :8, :8])
