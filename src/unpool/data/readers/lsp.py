"""Leeds Sports Pose, extended: images/im00001.jpg and so on, joints.mat, train.txt and val.txt of image numbers.

Positions of joints are kept as the file has them. A sample is the square around the visible joints, whose side is
`square` times their extent: the person's position is known, as usual for single-person pose. People with
fewer than two visible joints, or beside their image, are left out. There is no test split, so test is val.

Source: Johnson and Everingham 2011, "Learning effective human pose estimation from inaccurate annotation".
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unpool.data.image_file import printable
from unpool.data.matlab import read_matrix
from unpool.data.readers.person_crops import FARTHEST, Person, PersonCrops, require_square
from unpool.data.readers.splits import Split, missing_split, origin_of, require_split, with_exif
from unpool.data.root import require_root
from unpool.data.text_file import read_text
from unpool.errors import DataError
from unpool.limits import Square
from unpool.ops.sides import flip_pairs
from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault

_TRAIN, _VAL = "train.txt", "val.txt"
_LONG = 20  # digits; no number of an image has as many
_LEAST = 2  # visible joints, without which a person has no extent


class Lsp(PersonCrops):
    """People doing sports, 14 joints each.

    Args:
        square: side of the square, in units of the extent of the visible joints; None gives whole images.
    """

    def __init__(
        self, root: Path, split: Split, *, square: Square | None = 1.4, decoding: Decoding = RGB, exif: Exif = "ignore"
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        require_square(square)
        require_root(root)
        listing = root / (_TRAIN if split == "train" else _VAL)
        if not listing.is_file() or not (root / "joints.mat").is_file():
            raise missing_split(root, split, [listing.name, "joints.mat"])
        joints = read_joints(root / "joints.mat")
        people, faults = [], []
        for number in _numbers(root, listing.name, len(joints)):
            image = f"images/im{number:05d}.jpg"
            stored = joints[number - 1]
            _require_positions(stored, root / "joints.mat", number)
            visible = stored[:, 2] > 0
            if visible.sum() < _LEAST:
                faults.append(Fault(image, f"{int(visible.sum())} visible joints; a person needs {_LEAST}"))
                continue
            seen = stored[visible, :2]
            box = (*seen.min(0).tolist(), *seen.max(0).tolist())
            positions = np.where(visible[:, None], stored[:, :2], 0).astype(np.float32)
            people.append(Person(image, image, positions, visible, box))
        super().__init__(root, people, square=square, decoding=decoding)
        self.faults = faults
        self.set_files = (root / "joints.mat", *(path for name in (_TRAIN, _VAL) if (path := root / name).is_file()))
        self.info = DataInfo(keypoints=LSP, flip_pairs=flip_pairs(LSP), limbs=LSP_LIMBS)
        self.origin = {**origin_of(root, split), "square": square}


def read_joints(path: Path) -> NDArray[np.float64]:
    """Returns (N, 14, 3): x, y, and 1 for a visible joint, else 0, of each image.

    Raises:
        DataError: the array has another shape, such as 3x14xN of the first LSP set, which marks hidden joints by 1.
    """
    values = read_matrix(path, "joints")
    if values.ndim != 3 or values.shape[:2] != (len(LSP), 3):
        raise DataError(
            f"{printable(path)}: joints is {'x'.join(map(str, values.shape))}; expected 14x3xN, as in LSP extended"
        )
    return np.ascontiguousarray(values.transpose(2, 0, 1)).astype(np.float64)


def _require_positions(stored: NDArray[np.float64], path: Path, number: int) -> None:
    """Raises unless each flag is 0 or 1 and each visible joint has a position in pixels; hidden joints need none."""
    for name, (x, y, flag) in zip(LSP, stored.tolist(), strict=True):
        joint = f"{printable(path)}: {name} of image {number}"
        if flag not in (0, 1):
            raise DataError(f"{joint} has the flag {flag:g}; expected 1 for visible or 0 for hidden: correct it")
        if flag and not (abs(x) < FARTHEST and abs(y) < FARTHEST):  # NaN is not
            raise DataError(f"{joint} has the position ({x:g}, {y:g}); expected pixels: correct it, or flag it 0")


def _numbers(root: Path, name: str, count: int) -> list[int]:
    """Returns the image numbers of one list; raises if one is repeated or in the other list too."""
    lists = {part: _listed(root / part, count) for part in (_TRAIN, _VAL) if part == name or (root / part).is_file()}
    both = sorted(set.intersection(*map(set, lists.values()))) if len(lists) > 1 else []
    if both:
        problem = f"{printable(root)}: {len(both)} images are in both {_TRAIN} and {_VAL}, such as {both[0]}"
        raise DataError(f"{problem}; expected each in one: take them out of the other")
    return lists[name]


def _listed(listing: Path, count: int) -> list[int]:
    words = read_text(listing, errors="replace").split()
    wrong = [w for w in words if not (w.isascii() and w.isdigit() and len(w) < _LONG and 1 <= int(w) <= count)]
    if wrong or not words:
        content = f"'{wrong[0][:_LONG]}'" if wrong else "nothing"
        raise DataError(f"{printable(listing)} holds {content}; expected numbers of images, 1 to {count}")
    numbers = [int(word) for word in words]
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    if twice:
        raise DataError(f"{printable(listing)} holds {twice[0]} more than once; expected each image once: take it out")
    return numbers
