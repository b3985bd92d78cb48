"""The row of data sets that are passed from Python: what a recipe says of their values; it reads no folder."""

from pathlib import Path
from typing import Annotated

from annotated_types import Interval

from unpool.errors import RecipeError
from unpool.types import Reader

FileValue = Annotated[float, Interval(ge=-1e12, le=1e12)]


def dataset(
    root: Path | None = None,
    split: str = "train",
    *,
    black: FileValue | None = None,
    white: FileValue | None = None,
    normalized: bool = False,
) -> Reader:
    """Refuses: a recipe of this row trains what `unpool.train(task=..., train=..., val=...)` was called with.

    Args:
        root: not used; every reader has it.
        split: not used.
        black: value of the images of the data set that is 0 of 0 to 255; None for 0.
        white: value that is 255; None for the one that a few images show: 255 of whole numbers, 1 of floating point.
        normalized: whether the data set normalises its images by data.mean and data.std, which is undone first.
    """
    raise RecipeError(
        "data.reader dataset has no folder: from Python, call unpool.train(task=..., train=DATASET, val=DATASET, "
        "classes=[...]); to read a folder, choose another reader"
    )
