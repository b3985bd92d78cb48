"""What is shown of an image at its very edges: the near one belongs to it, the far one does not."""

import pytest
import torch

from unpool.ops import geometry
from unpool.ops.resampling import warp


def shifted(x: float, y: float) -> torch.Tensor:
    """The picture [[1, 2], [3, 4]] from (x, y) on, by the nearest pixel, with 9 beyond it."""
    image = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    matrix = geometry.translation(torch.tensor([x]), torch.tensor([y]))[0]
    return warp(image, matrix, (2, 2), mode="nearest", fill=9.0)[0]


@pytest.mark.parametrize(
    ("x", "y", "beyond"),
    [
        (0.5, 0.0, [[False, True]] * 2),  # pixel centres at 1 and 2, the far edge
        (0.0, 0.5, [[False] * 2, [True] * 2]),
        (0.5, -0.5, [[False, True]] * 2),  # and at 0, the near edge, and 1
        (-0.5, 0.5, [[False] * 2, [True] * 2]),
    ],
)
def test_far_edge_is_beyond_the_image_and_the_near_one_is_not(x: float, y: float, beyond: list[list[bool]]) -> None:
    assert (shifted(x, y) == 9).tolist() == beyond
