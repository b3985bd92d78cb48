"""A grid of cells: which cell and which predictor answers for a thing, and boxes there and back."""

import pytest
import torch

from unpool.ops.boxes import iou
from unpool.ops.grid import (
    cell_boxes,
    cells_of,
    decode_cells,
    encode_in_cells,
    pairwise_iou,
    ranks_in_cells,
    responsible,
)

GRID = (3, 5)


def boxes(count, seed=0):
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    return corners.reshape(count, 4)


def test_middle_of_a_box_lies_in_its_cell():
    some = boxes(200)
    cells = cell_boxes(GRID)[cells_of(some, GRID)]
    middle = (some[:, :2] + some[:, 2:]) / 2
    assert (middle >= cells[:, :2]).all()
    assert (middle <= cells[:, 2:]).all()


def test_box_beyond_the_image_belongs_to_the_nearest_cell():
    assert cells_of(torch.tensor([[0.9, 0.9, 1.3, 1.3], [-0.4, 0.4, 0.0, 0.6]]), GRID).tolist() == [14, 5]


def test_decoding_is_the_inverse_of_encoding():
    some = boxes(200)
    cells = cells_of(some, GRID)
    for box, cell in zip(some, cells, strict=True):
        values = torch.zeros(15, 1, 4)
        values[cell] = encode_in_cells(box[None], cell[None], GRID)
        torch.testing.assert_close(
            decode_cells(values.reshape(*GRID, 1, 4)).reshape(15, 4)[cell], box, rtol=0, atol=1e-6
        )


def test_position_within_the_cell_is_0_to_1_and_sides_are_roots_of_shares_of_the_image():
    some = boxes(200)
    values = encode_in_cells(some, cells_of(some, GRID), GRID)
    assert ((values[:, :2] >= 0) & (values[:, :2] <= 1)).all()
    torch.testing.assert_close(values[:, 2:].square(), some[:, 2:] - some[:, :2])


def test_iou_of_pairs_is_that_of_tables():
    one, other = boxes(40), boxes(40, seed=1)
    torch.testing.assert_close(pairwise_iou(one, other), iou(one, other).diagonal())


def test_class_of_a_cell_is_that_of_its_largest_thing_and_others_of_it_follow_by_size():
    cells = torch.tensor([2, 2, 2, 2, 9, 9])
    sizes = torch.tensor([1.0, 4.0, 3.0, 2.0, 5.0, 5.0])
    labels = torch.tensor([0, 0, 1, 0, 1, 0])
    assert ranks_in_cells(cells, sizes, labels).tolist() == [2, 0, -2, 1, 0, -2]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_predictor_of_the_highest_iou_is_responsible(order):
    predicted = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.4, 0.4, 0.5, 0.5]]])[:, order]
    thing = torch.tensor([[0.4, 0.4, 0.52, 0.52]])  # nearer by its middle and by its IoU to the second
    zero = torch.tensor([0])
    assert responsible(predicted, thing, zero, zero).tolist() == [order.index(1)]


def test_iou_decides_where_the_nearest_box_overlaps_less():
    predicted = torch.tensor([[[0.0, 0.0, 0.9, 0.9], [0.35, 0.35, 0.36, 0.36]]])
    thing = torch.tensor([[0.3, 0.3, 0.6, 0.6]])
    zero = torch.tensor([0])
    assert responsible(predicted, thing, zero, zero).tolist() == [0]


def test_where_none_overlaps_the_nearest_is_responsible():
    predicted = torch.tensor([[[0.7, 0.7, 0.9, 0.9], [0.3, 0.3, 0.4, 0.4]]])
    thing = torch.tensor([[0.1, 0.1, 0.2, 0.2]])
    zero = torch.tensor([0])
    assert responsible(predicted, thing, zero, zero).tolist() == [1]


def test_each_predictor_answers_for_one_thing_and_the_larger_one_chooses_first():
    predicted = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.8, 0.8, 0.9, 0.9]]])
    things = torch.tensor([[0.1, 0.1, 0.4, 0.4], [0.0, 0.0, 0.5, 0.4]])  # both overlap the first alone
    chosen = responsible(predicted, things, torch.tensor([0, 0]), torch.tensor([1, 0]))
    assert chosen.tolist() == [1, 0]


def test_no_thing_has_no_predictor():
    none = torch.zeros(0, dtype=torch.int64)
    assert responsible(torch.zeros(15, 2, 4), torch.zeros(0, 4), none, none).shape == (0,)
    assert ranks_in_cells(none, torch.zeros(0), none).shape == (0,)
