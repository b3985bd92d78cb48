"""Anchors stand where the papers' tables and torchvision have them."""

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from unpool.errors import RecipeError
from unpool.layers.anchors import Anchors, by_ratio, per_anchor, shared_out
from unpool.models.detection.faster_rcnn import NINE
from unpool.models.detection.ssd import COCO, RATIOS, VOC, default_shapes

TABLE = [  # of rbgirshick/py-faster-rcnn, generate_anchors.py: counted from 1, right and bottom column included
    *([-83, -39, 100, 56], [-175, -87, 192, 104], [-359, -183, 376, 200]),
    *([-55, -55, 72, 72], [-119, -119, 136, 136], [-247, -247, 264, 264]),
    *([-35, -79, 52, 96], [-79, -167, 96, 184], [-167, -343, 184, 360]),
]
SSD_STRIDES = (8, 16, 32, 64, None, None)
SSD_SIDES = (38, 19, 10, 5, 3, 1)


def maps(*sizes):
    return [torch.zeros(1, 1, *size) for size in sizes]


def test_anchors_of_the_first_cell_are_the_papers_table():
    anchors, _ = Anchors(NINE, [16])(maps((2, 3)), (32, 48))
    assert anchors[:9].tolist() == [[left - 1, top - 1, right, bottom] for left, top, right, bottom in TABLE]


def test_image_of_the_paper_has_its_number_of_anchors():
    anchors, level = Anchors(NINE, [16])(maps((38, 63)), (600, 1000))
    assert anchors.shape == (21546, 4)
    assert not level.any()


@pytest.mark.parametrize("size_hw", [(128, 192), (64, 96)])
def test_anchors_stand_in_torchvisions_order_and_where_it_has_them(size_hw):
    sizes = ((32, 40, 50), (64, 80, 101))
    theirs = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 2)
    features = maps((size_hw[0] // 8, size_hw[1] // 8), (size_hw[0] // 64, -(-size_hw[1] // 64)))
    (expected,) = theirs(ImageList(torch.zeros(1, 3, *size_hw), [size_hw]), features)
    ours = Anchors([by_ratio(of_map) for of_map in sizes], (8, 64), centre=0.0, is_whole=True)
    anchors, level = ours(features, size_hw)
    assert torch.equal(anchors, expected)
    assert level.bincount().tolist() == [9 * x.shape[2] * x.shape[3] for x in features]


@pytest.mark.parametrize("sides", [VOC, COCO])
def test_ssd300_has_its_8732_default_boxes_where_torchvision_has_them(sides):
    theirs = DefaultBoxGenerator([list(r) for r in RATIOS], scales=list(sides), steps=[8, 16, 32, 64, 100, 300])
    features = maps(*((side, side) for side in SSD_SIDES))
    (expected,) = theirs(ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)]), features)
    ours, level = Anchors(default_shapes(sides, RATIOS), SSD_STRIDES, is_share=True)(features, (300, 300))
    assert len(ours) == 8732
    assert level.unique().tolist() == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_first_default_box_of_ssd300_is_the_papers():
    features = maps(*((side, side) for side in SSD_SIDES))
    boxes, _ = Anchors(default_shapes(VOC, RATIOS), SSD_STRIDES, is_share=True)(features, (300, 300))
    centre, size = (boxes[0, :2] + boxes[0, 2:]) / 2 / 300, (boxes[0, 2:] - boxes[0, :2]) / 300
    assert centre.tolist() == pytest.approx([0.01333, 0.01333], abs=1e-5)
    assert size.tolist() == pytest.approx([0.1, 0.1])


def test_shares_are_of_width_and_of_height():
    boxes, _ = Anchors([[(0.5, 0.25)]], [None], is_share=True)(maps((1, 2)), (64, 80))
    assert boxes.tolist() == [[0, 24, 40, 40], [40, 24, 80, 40]]


def test_what_a_convolution_gives_stands_in_the_order_of_the_anchors():
    """A map whose numbers say row, column, anchor and which of two numbers of it they are."""
    rows, columns, shapes, width = 2, 3, 4, 2
    code = 1000 * torch.arange(rows)[:, None] + 100 * torch.arange(columns)
    x = torch.stack([code + 10 * n + k for n in range(shapes) for k in range(width)])[None]
    listed = per_anchor(x, width)
    assert listed.shape == (1, rows * columns * shapes, width)
    boxes, _ = Anchors([[(1 + n, 1) for n in range(shapes)]], [8])(maps((rows, columns)), (16, 24))
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    which = boxes[:, 2] - boxes[:, 0] - 1
    assert torch.equal(listed[0, :, 0], 1000 * (centre[:, 1] // 8) + 100 * (centre[:, 0] // 8) + 10 * which)
    assert torch.equal(listed[0, :, 1], listed[0, :, 0] + 1)


def test_larger_anchors_of_a_list_go_to_coarser_maps():
    assert shared_out([9, 9, 1, 2, 5, 5, 3, 3], 2) == (((1, 2), (3, 3)), ((5, 5), (9, 9)))


@pytest.mark.parametrize("sides", [[1, 2, 3], [1, 2, 3, 4, 5, 6]])
def test_anchors_that_cannot_be_shared_out_are_refused(sides):
    with pytest.raises(RecipeError, match=rf"anchors has {len(sides)} numbers; .* of 2 maps: give a multiple of 4"):
        shared_out(sides, 2)
