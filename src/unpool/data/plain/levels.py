"""Images of a data set as uint8: which values are black and white, found in a few images and held to in all others."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unpool.errors import DataError

_CHANNELS = (1, 3)  # by which an array is known to have its channels first or last
_PILLOW_MODES = ("1", "L", "RGB", "I", "F", "I;16", "I;16B", "I;16L")
_PLAIN = "give it as a PIL image, as an array (H, W) or (H, W, C), or as a tensor (C, H, W)"
_ROUNDING = 1e-3  # of the range from black to white, by which floating point may miss it
_DARK = 0.25  # of the range from black to white: images that reach no further are likely to have another white
_WIDE = (torch.uint16, torch.uint32, torch.uint64)  # which torch can hold, and compute nothing with
Normalization = tuple[tuple[float, ...], tuple[float, ...]] | None  # mean and deviation of each channel


class Levels(NamedTuple):
    """How the values of a data set's images become 0 to 255.

    Attributes:
        black, white: the values that are 0 and 255.
        mean, std: of each channel, of a normalisation that is undone first; empty for none.
    """

    black: float = 0.0
    white: float = 255.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_uint8(self, image: Tensor) -> Tensor:
        """The image (C, H, W) uint8, each value rounded to the nearest level.

        Raises:
            DataError: a value is no number, or lies beyond black or white by more than half a level.
        """
        if image.dtype == torch.uint8 and self == Levels():
            return image
        levels = self.positions(image)
        low, high = (float(end) for end in levels.aminmax()) if levels.numel() else (0.0, 0.0)
        if not (low >= -0.5 and high <= 255.5):
            raise DataError(self._refusal(image))
        return levels.round().clamp(0, 255).to(torch.uint8)

    def positions(self, image: Tensor) -> Tensor:
        """The image (C, H, W) float64, black at 0 and white at 255, not rounded."""
        return (self._undone(image) - self.black) * (255 / (self.white - self.black))

    def keeps(self, image: Tensor) -> bool:
        """Whether rounding the image to 256 levels changes none of its values by more than floating point does."""
        positions = self.positions(image)
        return bool(((positions - positions.round()).abs() < 0.05).all())

    def __str__(self) -> str:
        undone = f" once mean {_listed(self.mean)} and deviation {_listed(self.std)} are undone" if self.mean else ""
        return f"black at {self.black:g} and white at {self.white:g}{undone}"

    def _undone(self, image: Tensor) -> Tensor:
        values = image.to(torch.float64)
        if not self.mean:
            return values
        mean, std = (torch.tensor(each, dtype=torch.float64).view(-1, 1, 1) for each in (self.mean, self.std))
        return values * std + mean

    def _refusal(self, image: Tensor) -> str:
        low, high = (float(end) for end in self._undone(image).aminmax())
        seen = f"its values are {low:.6g} to {high:.6g}{' once the normalisation is undone' if self.mean else ''}"
        return (
            f"{seen}, and black is {self.black:g} and white {self.white:g}: set data.black and data.white to the "
            "values that are, or clip them in the data set"
        )


def find_levels(images: Sequence[Tensor], normalization: Normalization) -> Levels:
    """The levels of a data set, from a few of its images (C, H, W).

    Whole numbers from 0 to 255 are taken as they are; floating point from 0 to 1 has its white at 1, also where the
    normalisation that the data set names has to be undone first.

    Raises:
        DataError: the values are none of these, or so dark that rounding to 256 levels would lose them.
    """
    levels = _shown_levels(images, normalization)
    if levels is None:
        raise DataError(
            f"the images of the data set hold {_values(images)}, and which of them are black and white is not known: "
            "set data.black and data.white; or leave the normalisation out of the data set, since data.mean and "
            "data.std say how the network gets its images; or set data.normalized=true and data.mean, data.std to "
            "those by which the data set normalises"
        )
    if not _is_whole(images) and _highest(images, levels) <= 255 * _DARK and not all(map(levels.keeps, images)):
        undone = ", with data.normalized=true and its data.mean and data.std," if levels.mean else ""
        raise DataError(
            f"the images of the data set hold {_values(images)}, nearly black where white is {levels.white:g}, and "
            f"are rounded to 256 levels, which would lose most of them: set data.white{undone} to the value that is "
            f"white, or data.white={levels.white:g} if the images are as dark as that"
        )
    return levels


def check_levels(images: Sequence[Tensor], normalization: Normalization, levels: Levels, *, what: str) -> None:
    """Raises DataError where images show other values of black and white than those by which they would be read.

    Args:
        images: a few of a set, (C, H, W).
        normalization: that their set names.
        levels: by which they would be read, those of the training images.
        what: the images, for the message.
    """
    shown = _shown_levels(images, normalization)
    if shown is None or (levels.mean and normalization == (levels.mean, levels.std)):
        return  # each image is held to the levels when it is read
    is_sure = shown.white == 1 or all(x.dtype == torch.uint8 for x in images)  # others may hold values beyond 255
    is_other = (shown.mean, shown.std) != (levels.mean, levels.std)
    if not is_other:
        highest = _highest(images, levels)
        is_darker = shown.white < levels.white and is_sure and highest <= 255 * _DARK
        is_other = is_darker or (shown.white > levels.white and highest >= 255 / _DARK)
    if is_other:
        raise DataError(
            f"{what} hold {_values(images)}, which show {shown}, and would be read with {levels}, as the recipe "
            "says: give the images of training and of what is measured with the same values"
        )


def _shown_levels(images: Sequence[Tensor], normalization: Normalization) -> Levels | None:
    """The levels that the values show; None where they show none."""
    low, high = _ends(images)
    if all(x.dtype == torch.bool for x in images):
        return Levels(white=1.0)
    if low == high == 0:
        return None
    if _is_whole(images) and low >= 0 and 1 < high <= 255:
        return Levels()
    is_floating = any(x.is_floating_point() for x in images)
    if is_floating and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return Levels(white=1.0)
    if normalization is not None and {len(x) for x in images} == {len(normalization[0])}:
        undone = Levels(0.0, 1.0, *normalization)
        low, high = _ends(undone.positions(image) / 255 for image in images)
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return undone
    return None


def _highest(images: Sequence[Tensor], levels: Levels) -> float:
    return _ends(levels.positions(image) for image in images)[1]


def _is_whole(images: Sequence[Tensor]) -> bool:
    return all(not x.is_floating_point() or bool((x == x.round()).all()) for x in images)


def _values(images: Sequence[Tensor]) -> str:
    low, high = _ends(images)
    return f"{'whole numbers' if _is_whole(images) else 'floating point'} from {low:.6g} to {high:.6g}"


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _ends(images: Iterable[Tensor]) -> tuple[float, float]:
    ends = [tuple(float(end) for end in image.aminmax()) for image in images if image.numel()]
    if not ends:
        raise DataError("the images of the data set have no pixels")
    return min(low for low, _ in ends), max(high for _, high in ends)


def image_of(value: Any) -> Tensor:
    """A copy (C, H, W) of the type in which the values are stored: a data set may use its memory again.

    Args:
        value: a PIL image, an array (H, W), (H, W, C) or (C, H, W) with 1 or 3 channels, or a tensor (H, W) or
            (C, H, W).

    Raises:
        DataError: it is none of these, or could be two of them.

    >>> import numpy as np
    >>> image_of(np.zeros((4, 5, 3))).shape, image_of(np.zeros((4, 5))).shape
    (torch.Size([3, 4, 5]), torch.Size([1, 4, 5]))
    """
    if isinstance(value, Image.Image):
        return _of_pillow(value)
    if isinstance(value, Tensor):
        return _of_tensor(value.detach().clone())
    if isinstance(value, np.ndarray):
        return _of_array(in_order(value))
    raise DataError(f"an image is a {type(value).__name__}: {_PLAIN}")


def _of_pillow(image: Image.Image) -> Tensor:
    if image.mode == "P":
        image = image.convert("RGB")
    if image.mode not in _PILLOW_MODES:
        raise DataError(f"an image has Pillow's mode {image.mode}: convert it in the data set, as image.convert('RGB')")
    array = np.array(image)  # a copy: Pillow's own memory is read-only
    if image.mode.startswith("I;16"):
        array = array.astype(np.int32)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def _of_tensor(image: Tensor) -> Tensor:
    if image.dtype in _WIDE:
        image = image.to(torch.int64)
    if image.dim() == 2:
        return image[None]
    if image.dim() != 3 or image.is_complex():
        raise DataError(f"an image is a tensor {image.dtype} {tuple(image.shape)}: {_PLAIN}")
    if image.shape[0] not in _CHANNELS and image.shape[2] <= 4 and image.shape[2] < image.shape[0]:
        raise DataError(f"an image is a tensor {tuple(image.shape)}, which looks like (H, W, C): permute it (2, 0, 1)")
    return image


def in_order(array: np.ndarray) -> np.ndarray:
    """A copy that torch can take: in this machine's byte order, and along no axis backwards.

    Raises:
        DataError: it hides values, which a tensor would show.

    >>> torch.as_tensor(in_order(np.array([1, 2], ">i2")[::-1]))
    tensor([2, 1], dtype=torch.int16)
    """
    if np.ma.is_masked(array):
        raise DataError(
            f"an array {array.shape} hides {int(np.ma.count_masked(array))} values, which a tensor would show: give "
            "them a value by its filled(...), such as 255 where a mask has no label"
        )
    return np.asarray(array.astype(array.dtype.newbyteorder("="), order="C"))


def _of_array(array: np.ndarray) -> Tensor:
    if array.dtype == np.uint16:
        array = array.astype(np.int32)
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
        raise DataError(f"an image is an array {array.dtype} {array.shape}: {_PLAIN}")
    if array.ndim == 2:
        return torch.from_numpy(array[None])
    if array.shape[2] in _CHANNELS:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    if array.shape[0] in _CHANNELS:
        return torch.from_numpy(array)
    raise DataError(
        f"an image is an array {array.shape}, whose channels may come first or last: give a tensor (C, H, W)"
    )
