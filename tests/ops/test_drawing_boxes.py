import pytest
import torch

from unpool.ops.drawing_boxes import LEAST_SIDE, draw_boxes

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
        assert picture[:, bottom, right].tolist() == 3 * [90]


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
