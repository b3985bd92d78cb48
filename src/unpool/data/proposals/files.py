"""Proposals from files: one for each image, called as the image is in its set, with .csv behind it.

The first line names the columns `left,top,right,bottom`, in pixels from the outer edge of the first pixel; a column
`score` may follow, by which the boxes are ordered, the highest first. Without it their order is that of the lines.
"""

import csv
import io
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Len
from torch import Tensor

from unpool.data.image_file import printable
from unpool.data.proposals.proposer import Proposer
from unpool.data.readers.numbers import number_of
from unpool.data.text_file import read_text
from unpool.errors import DataError, RecipeError, quoted, shortened
from unpool.limits import MANY, check_number

COLUMNS = ("left", "top", "right", "bottom")
_BEYOND = 1.0  # pixels that a box may reach beyond the image, by rounding; it is cut off there


class Files(Proposer):
    """Reads proposals.

    Args:
        folder: of the files, below the root of the data set, or a path that begins with /.
        most: boxes of an image that are read, the first or those of the highest score.
    """

    is_kept = False

    def __init__(
        self, *, folder: Annotated[str, Len(1, 4096)] = "proposals", most: Annotated[int, MANY] = 2000
    ) -> None:
        if not folder or "\x00" in folder:
            raise RecipeError(f"files.folder is {quoted(folder)}; expected the folder of the proposals")
        self.folder = folder
        self.most = int(check_number("files.most", most, MANY))

    def propose(self, image: Tensor, name: str) -> Tensor:
        if self.root is None or not name:
            raise DataError(
                "the proposals of this run are in files, by the names of its images, and this image is of no set: "
                "measure it with evaluate, on a set that has such files, or train with proposals of another source"
            )
        path = self.root / self.folder / f"{name}.csv"
        shown = printable(path)
        if not path.is_file():
            raise DataError(f"{printable(name)} has no file of proposals: {shown} is missing")
        try:
            lines = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{shown} is no CSV file in UTF-8: {error}") from error
        rows = _rows(shown, lines)
        size = torch.tensor([image.shape[-1], image.shape[-2]] * 2, dtype=torch.float32)
        boxes = rows[:, :4]
        outside = ((boxes < -_BEYOND) | (boxes > size + _BEYOND)).any(1) | (boxes[:, 2:] <= boxes[:, :2]).any(1)
        if outside.any():
            number = int(outside.nonzero()[0])
            raise DataError(
                f"{shown}: box {number + 1} is {boxes[number].tolist()}, and the image is "
                f"{int(size[0])}x{int(size[1])}; expected left below right, top below bottom, within the image"
            )
        order = rows[:, 4].argsort(descending=True, stable=True)
        return torch.minimum(boxes[order].clamp(min=0), size)[: self.most]


def _rows(shown: str, lines: Sequence[Sequence[str]]) -> Tensor:
    """(N, 5) corners and score of the lines of a file, 0 where there is no score."""
    titles = tuple(cell.strip().lower() for cell in lines[0]) if lines else ()
    if titles not in (COLUMNS, (*COLUMNS, "score")):
        begins = quoted(shortened(",".join(titles)))
        raise DataError(f"{shown} begins with {begins}; expected the columns {','.join(COLUMNS)}, and perhaps score")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        values = [number_of(cell) for cell in line]
        if len(line) != len(titles) or None in values:
            raise DataError(
                f"{shown} line {number} is {quoted(','.join(line))}; expected {len(titles)} finite numbers, "
                f"{','.join(titles)}"
            )
        rows.append([*values, 0.0][:5])
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
