"""One person a sample, in a square cut out around the annotation: what the readers of pose sets share."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Unreadable, Unusable, oriented, printable
from unpool.data.measure import Measure, require_size
from unpool.errors import RecipeError
from unpool.ops.cutting import Frame, cut, square_around
from unpool.types import Decoding, Fault, Sample

FARTHEST = 1_000_000  # pixels; no picture is that large
FILLS = {3: (124, 116, 104), 1: (114,)}  # beyond the image, by its channels: the mean colour of ImageNet


class Person(NamedTuple):
    """One annotated person.

    Attributes:
        image: path below the root, raw.
        name: of the sample.
        joints: (K, 2) float32 x, y in pixels of the image, the centre of the first being (0, 0).
        visible: (K,) bool; the others have no position.
        box_xyxy: what the square is cut around.
        area: pixels that the person covers, 0 where it is not known.
        size_hw: of the image as its annotations have it, None where they do not say.
    """

    image: str
    name: str
    joints: NDArray[np.float32]
    visible: NDArray[np.bool_]
    box_xyxy: tuple[float, float, float, float]
    area: float = 0.0
    size_hw: tuple[int, int] | None = None


def misplaced(
    joints: NDArray[np.float32],
    box_xyxy: Sequence[float],
    size_hw: tuple[int, int],
    *,
    square: Frame | None = None,
) -> str | None:
    """Why the annotation cannot be shown on the image, None where it can.

    Args:
        joints: (N, 2) x, y of those that are visible.
        box_xyxy: the person's.
        size_hw: of the image.
        square: what is cut out of it; by default all of it.
    """
    height, width = size_hw
    left, top, right, bottom = box_xyxy
    image = f"its image of {width}x{height}"
    far = max(size_hw)
    ends = np.concatenate([joints, [[left, top], [right, bottom]]])
    box = f"box ({left:.0f}, {top:.0f}, {right:.0f}, {bottom:.0f})"
    if max(right - left, bottom - top) <= 0:
        return f"{box} has no extent"
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return f"{box} lies beside {image}"
    if not ((ends >= -far) & (ends <= 2 * far)).all():
        return f"{box} or joints, from {ends.min():.0f} to {ends.max():.0f}, reach far beyond {image}"
    low, high = np.zeros(2), np.array([width, height], float)
    if square is not None:
        low, high = np.maximum(low, square[:2]), np.minimum(high, np.add(square[:2], square.width))
    if not ((joints >= low - 0.5) & (joints < high - 0.5)).all(1).any():
        return f"none of the {len(joints)} visible joints lies on {image}" + (" within the box" if square else "")
    return None


def require_square(square: float | None) -> None:
    """A square is at least as large as what it is cut around."""
    if square is not None and not 1 <= square <= 10:
        problem = f"data.square is {square}; expected 1 to 10 times the extent of the person"
        raise RecipeError(f"{problem}, or null for whole images")


class PersonCrops:
    """Reads people by position; a base for readers, which make the list.

    Args:
        square: side of the square in longer sides of the person's box; None gives the whole image.
        with_area: whether samples say how many pixels the person covers.
    """

    def __init__(
        self,
        root: Path,
        people: Sequence[Person],
        *,
        square: float | None,
        decoding: Decoding,
        with_area: bool = False,
    ) -> None:
        self.root = root
        self.set_files: tuple[Path, ...] = ()
        self.gives: tuple[str, ...] = ("image", "keypoints", "visible", *(("area",) if with_area else ()))
        self.names: Sequence[str] = [person.name for person in people]
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self._people = tuple(people)
        self._squares = None if square is None else [square_around(person.box_xyxy, square) for person in people]
        self.decoding = decoding

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, index: int) -> Sample:
        image = decode_image(self.root / self._people[index].image, self.decoding)
        self._require_shown(index, (image.shape[-2], image.shape[-1]))
        if self._squares is not None:
            image = cut(image, self._squares[index], torch.tensor(FILLS.get(len(image), len(image) * FILLS[1])))
        return {"image": image, **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the image of one sample."""
        return (self.root / self._people[index].image,)

    def targets(self, index: int) -> Sample:
        """All of a sample but its image."""
        person = self._people[index]
        joints = np.where(person.visible[:, None], person.joints, 0).astype(np.float32)
        if self._squares is not None:
            left, top = self._squares[index][:2]
            joints = joints - np.where(person.visible[:, None], (left, top), 0).astype(np.float32)
        sample = {"keypoints": torch.from_numpy(joints), "visible": torch.from_numpy(person.visible.copy())}
        return sample | ({"area": torch.tensor(person.area)} if "area" in self.gives else {})

    def measure(self, index: int) -> Measure:
        """Size and oddities of one sample, from the header of its file."""
        person = self._people[index]
        path = self.root / person.image
        header = readable(path, self.decoding)
        size = oriented(header, self.decoding.exif)
        if self.decoding.exif == "apply" and header.orientation != 1:
            problem = f"is turned by EXIF orientation {header.orientation}, its joints may not be: set data.exif=ignore"
            raise Unusable(printable(path), problem)
        self._require_shown(index, size)
        if self._squares is not None:
            size = (self._squares[index].height, self._squares[index].width)
        oddities = notes(person.image, header, self.decoding)
        num_bytes = sum(value.nbytes for value in self.targets(index).values())
        num_bytes += self.decoding.channels * size[0] * size[1]
        return Measure(size, num_bytes, oddities, deep_files(self.decoding, (path, header)))

    def _require_shown(self, index: int, size_hw: tuple[int, int]) -> None:
        """The image is the one that was annotated, and the person is on it."""
        person = self._people[index]
        if person.size_hw is not None:
            require_size(self.root / person.image, size_hw, person.size_hw)
        square = None if self._squares is None else self._squares[index]
        if reason := misplaced(person.joints[person.visible], person.box_xyxy, size_hw, square=square):
            raise Unreadable(printable(person.name), reason)
