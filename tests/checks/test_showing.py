"""Pictures of findings are small, and show where a target lies."""

import pytest
import torch

from tests.checks.made import Samples, blobs, drawn, setup
from unpool.checks.showing import MOST, SIDE, as_bytes, drawn_target, of_samples


@pytest.mark.parametrize(
    ("target", "form", "spots"),
    [
        (torch.tensor([[8.0, 4.0, 20.0, 16.0]]), "things", [(4, 12), (16, 12), (10, 8), (10, 20)]),
        (torch.tensor([[9.0, 5.0, 1.0], [20.0, 20.0, 0.0]]), "points", [(5, 9)]),
        (torch.nn.functional.pad(torch.ones(10, 10), (5, 17, 8, 14)).long(), "class map", [(12, 4), (7, 9)]),
    ],
)
def test_target_is_red_where_it_lies_and_nowhere_else(target, form, spots):
    shown = drawn_target(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), target, form)
    is_red = (shown[0] == 255) & (shown[1] == 0)
    assert all(bool(is_red[row, column]) for row, column in spots)
    assert not is_red[28:, 28:].any()
    assert not is_red[20, 20]


def test_picture_without_a_place_for_its_target_is_in_its_colours():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn_target(image, torch.tensor(3), "class"), as_bytes(image))


def test_large_and_grey_pictures_become_small_ones_of_three_channels():
    assert as_bytes(torch.rand(1, 1000, 500)).shape == (3, SIDE, SIDE // 2)
    assert as_bytes(torch.zeros(5, 4, 4)).shape == (3, 4, 4)


def test_samples_are_named_and_few():
    images, masks = blobs(20, 1)
    seen = setup(Samples(images, masks), Samples(drawn(4, 2, size=48), masks[:4]), form="class map").seen
    shown = of_samples(seen, range(20), "class map")
    assert [name for name, _ in shown] == [seen.where(i) for i in range(MOST)]
    assert all(bool((image[0] > image[1]).any()) for _, image in shown)
