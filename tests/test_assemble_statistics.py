"""Mean and deviation of each channel, counted by hand."""

import pytest
import torch

from tests.data.loading import Numbers
from unpool.assemble.statistics import with_statistics
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Sample


class Halves(Numbers):
    """Images of two channels, half of the pixels 0 in the first and 51 in the second, the others 102 and 153."""

    def __getitem__(self, index: int) -> Sample:
        image = torch.tensor([[[0, 102]], [[51, 153]]], dtype=torch.uint8)
        return {"image": image.repeat(1, 1 + index, 2)}


@pytest.mark.parametrize(
    ("value_range", "mean", "std"),
    [((0.0, 1.0), (0.2, 0.4), 0.2), ((-1.0, 1.0), (-0.6, -0.2), 0.4), ((0.0, 255.0), (51.0, 102.0), 51.0)],
)
def test_mean_and_deviation_are_on_the_range_of_the_values(value_range, mean, std) -> None:
    made = with_statistics(Preprocessing(value_range=value_range, mean=(0.0,) * 2, std=(1.0,) * 2), Halves(5))
    assert made.mean == pytest.approx(mean)
    assert made.std == pytest.approx((std, std))


class OneColour(Numbers):
    def __getitem__(self, index: int) -> Sample:
        return {"image": torch.full((1, 4, 4), 51, dtype=torch.uint8)}


def test_deviation_of_one_colour_is_one_step_of_8_bits() -> None:
    made = with_statistics(Preprocessing(value_range=(0.0, 1.0), mean=(0.0,), std=(1.0,)), OneColour(3))
    assert (made.mean, made.std) == (pytest.approx((0.2,)), pytest.approx((1 / 255,), abs=1e-4))
