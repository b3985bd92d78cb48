"""The score of colour alone, on pictures small enough to count."""

import pytest
import torch
from torch import Tensor

from unpool.tasks.colour_baseline import colour_bin_baseline
from unpool.types import IGNORE, DataInfo, Sample


class Pixels:
    """Rows of grey values and classes."""

    gives = ("image", "mask")
    info = DataInfo()

    def __init__(self, *rows: tuple[list[int], list[int]], channels: int = 3) -> None:
        self.names = [str(i) for i in range(len(rows))]
        self.sizes_hw = [(1, len(values)) for values, _ in rows]
        self._rows = rows
        self._channels = channels

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        values, classes = (torch.tensor(row, dtype=torch.uint8)[None] for row in self._rows[index])
        image: Tensor = values.expand(self._channels, -1, -1)
        return {"image": image, "mask": classes}


@pytest.mark.parametrize("channels", [1, 3])
def test_each_colour_takes_its_most_frequent_class(channels: int) -> None:
    train = Pixels(([10, 10, 10, 100, 100], [1, 1, 0, 0, 0]), ([200], [2]), channels=channels)
    test = Pixels(([11, 12, 100, 101], [1, 0, 0, 0]), channels=channels)
    assert colour_bin_baseline(train, test, 3) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_unlabelled_pixels_count_neither_in_training_nor_in_the_score() -> None:
    train = Pixels(([10, 10, 10, 100], [1, IGNORE, IGNORE, 0]), channels=1)
    test = Pixels(([10, 100, 100], [1, 0, IGNORE]), channels=1)
    assert colour_bin_baseline(train, test, 2) == 1.0


def test_unseen_colours_get_the_most_frequent_class_of_all() -> None:
    train = Pixels(([10, 10, 100], [1, 1, 0]))
    assert colour_bin_baseline(train, Pixels(([240], [1])), 2) == 1.0


def test_blue_is_told_from_red() -> None:
    train = Pixels(([10], [0]))
    red, blue = torch.tensor([200, 0, 0]), torch.tensor([0, 0, 200])
    image = torch.stack((red, blue), 1)[:, None].to(torch.uint8)

    class Two(Pixels):
        def __getitem__(self, index: int) -> Sample:
            return {"image": image, "mask": torch.tensor([[0, 1]], dtype=torch.uint8)}

    assert colour_bin_baseline(Two(train._rows[0]), Two(train._rows[0]), 2) == 1.0
