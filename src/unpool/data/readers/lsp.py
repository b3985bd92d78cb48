"""Leeds Sports Pose, extended: images/im00001.jpg and so on, joints.mat, train.txt and val.txt of image numbers.

Joints are taken as they stand in the file. A sample is the square about the visible joints, `square` times their
extent: the person's position is known, as in the literature on single people. People beside the image are left out.
There is no other split, so test is val.

Source: Johnson and Everingham 2011, "Learning effective human pose estimation from inaccurate annotation".
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unpool.data.decode import Exif, printable
from unpool.data.matlab import read_matrix
from unpool.data.readers.person_crops import FARTHEST, Person, PersonCrops, require_square
from unpool.data.readers.splits import Split, missing_split, require_exif, require_root, require_split
from unpool.errors import DataError
from unpool.ops.skeleton import LSP, LSP_LIMBS, flip_pairs
from unpool.types import DataInfo, Fault

_TRAIN, _VAL = "train.txt", "val.txt"
_LONG = 20  # letters; no number of an image is that long
_LEAST = 2  # visible joints, without which a person has no extent


class Lsp(PersonCrops):
    """People in sports, 14 joints each.

    Args:
        square: side of the square in extents of the visible joints; None gives whole images.
    """

    def __init__(
        self, root: Path, split: Split, *, square: float | None = 1.4, channels: int = 3, exif: Exif = "ignore"
    ) -> None:
        require_split(split)
        require_exif(exif)
        require_square(square)
        require_root(root)
        listing = root / (_TRAIN if split == "train" else _VAL)
        if not listing.is_file() or not (root / "joints.mat").is_file():
            raise missing_split(root, split, [listing.name, "joints.mat"])
        joints = read_joints(root / "joints.mat")
        people, faults = [], []
        for number in _numbers(root, listing.name, len(joints)):
            image = f"images/im{number:05d}.jpg"
            annotated = joints[number - 1]
            _require_joints(annotated, root / "joints.mat", number)
            visible = annotated[:, 2] > 0
            if visible.sum() < _LEAST:
                faults.append(Fault(image, f"{int(visible.sum())} visible joints; a person needs {_LEAST}"))
                continue
            seen = annotated[visible, :2]
            box = (*seen.min(0).tolist(), *seen.max(0).tolist())
            positions = np.where(visible[:, None], annotated[:, :2], 0).astype(np.float32)
            people.append(Person(image, image, positions, visible, box))
        super().__init__(root, people, square=square, channels=channels, exif=exif)
        self.faults = faults
        self.info = DataInfo(keypoints=LSP, flip_pairs=flip_pairs(LSP), limbs=LSP_LIMBS)
        self.origin: dict[str, Any] = {
            "root": printable(root),
            "split": split,
            "ignored": 0,
            "drawn": None,
            "square": square,
        }


def read_joints(path: Path) -> NDArray[np.float64]:
    """(N, 14, 3): x, y and 1 where the joint is visible, of each image.

    Raises:
        DataError: it holds something else; the first LSP set, 3x14xN, marks hidden joints by 1 and is not read.
    """
    values = read_matrix(path, "joints")
    if values.ndim != 3 or values.shape[:2] != (len(LSP), 3):
        raise DataError(
            f"{printable(path)}: joints is {'x'.join(map(str, values.shape))}; expected 14x3xN, as in LSP extended"
        )
    return np.ascontiguousarray(values.transpose(2, 0, 1)).astype(np.float64)


def _require_joints(annotated: NDArray[np.float64], path: Path, number: int) -> None:
    """Flags are 0 or 1, and what is visible lies somewhere; where a hidden joint lies does not matter."""
    for name, (x, y, flag) in zip(LSP, annotated.tolist(), strict=True):
        problem = f"{printable(path)}: {name} of image {number} has"
        if flag not in (0, 1):
            raise DataError(f"{problem} the flag {flag:g}; expected 1 where it is visible and 0 where not: correct it")
        if flag and not (abs(x) < FARTHEST and abs(y) < FARTHEST):  # NaN is not
            raise DataError(
                f"{problem} the position ({x:g}, {y:g}); expected pixels of its image: correct it, or flag it 0"
            )


def _numbers(root: Path, name: str, count: int) -> list[int]:
    """Images of one list, none of which stands twice or in the other list too."""
    lists = {part: _listed(root / part, count) for part in (_TRAIN, _VAL) if part == name or (root / part).is_file()}
    both = sorted(set.intersection(*map(set, lists.values()))) if len(lists) > 1 else []
    if both:
        problem = f"{printable(root)}: {len(both)} images stand in both {_TRAIN} and {_VAL}, such as {both[0]}"
        raise DataError(f"{problem}; expected each in one: take them out of the other")
    return lists[name]


def _listed(listing: Path, count: int) -> list[int]:
    words = listing.read_text(encoding="utf-8-sig", errors="replace").split()
    wrong = [w for w in words if not (w.isascii() and w.isdigit() and len(w) < _LONG and 1 <= int(w) <= count)]
    if wrong or not words:
        held = f"'{wrong[0][:_LONG]}'" if wrong else "nothing"
        raise DataError(f"{printable(listing)} holds {held}; expected numbers of images, 1 to {count}")
    numbers = [int(word) for word in words]
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    if twice:
        raise DataError(f"{printable(listing)} holds {twice[0]} more than once; expected each image once: take it out")
    return numbers
