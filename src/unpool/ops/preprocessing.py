"""From decoded images to a network's input: size rule, colour order, value range, normalisation, padding.

Training, evaluation, prediction and export share `Preprocessing`; everything in it is tensor operations. Where images
lie in the input, and the way back from there, is `ops.layout`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unpool.errors import RecipeError
from unpool.ops import cutting, geometry
from unpool.ops.cutting import Frame, cut, pad_to_multiple, resize_to, resized_part
from unpool.ops.layout import Layout
from unpool.ops.mean_image import unpack
from unpool.types import Background, Decoding, Exif, Range

Rule = Literal["stretch", "cover", "fit"]
Order = Literal["rgb", "bgr"]
Normalization = Literal["channel", "location", "image"]

LONGEST = (
    4096  # pixels of the longer side to which "fit" first shrinks an image with its bars, so that it fits in memory
)
STRIP = 32  # "cover" makes only the centre of an image that would be resized to more than this times its pixels,
LARGE = 2**17  # and to more than these pixels, below which memory is no matter
_LEAST_STD = 1e-3  # of an image, as a share of the value range: one of a single colour has none


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """From decoded images (uint8, RGB or grey) to a network's input.

    Attributes:
        size_hw: size of the input before it is padded to `multiple`; None keeps the size of each image, or brings it to
            `shorter`.
        shorter, longest: pixels of the shorter side to which each image is resized at its aspect, and the most that its
            longer side gets, as detectors are trained; padded to `multiple` at bottom and right with the mean colour.
            Sides are rounded down, as torchvision does. Both or none, and never with `size_hw`.
        rule: "stretch" resizes to `size_hw`; "cover" resizes until both sides reach `size_hw / crop`, then takes the
            centre; "fit" shows the whole image at its own aspect, centred between bars of the mean colour.
        crop: share of the resized image that "cover" keeps, 0.875 being 224 of 256.
        channels: 1 for grey, 3 for colours, any other number for bands.
        range, set_range, bands, background: how files become uint8, see `Decoding`.
        order: of the network's channels.
        value_range: to which 0..255 is brought before mean and std are applied; (0, 255) leaves values as they are.
        normalization: "channel" by `mean` and `std`; "location" by `mean_image` and `std`; "image" brings each image
            to zero mean and unit deviation.
        mean, std: per channel, in the network's order and on `value_range`; `mean` is also the colour of bars.
        mean_image: (C, *size_hw) on `value_range`, as `mean_image.pack` makes it; None where not "location".
        exif: whether images are turned as their EXIF orientation says when they are decoded.
        multiple: height and width are padded at bottom and right, by mirroring, up to a multiple of this; under
            `shorter` with the mean colour.
        proposals: where the regions are from that an image is given with, and options, see `data.proposals`.

    Raises:
        ValueError: values out of range, or that contradict one another.
    """

    size_hw: tuple[int, int] | None = None
    shorter: int | None = None
    longest: int | None = None
    rule: Rule = "stretch"
    crop: float = 0.875
    channels: int = 3
    range: Range | None = None
    set_range: Range | None = None
    bands: tuple[int, ...] | None = None
    background: Background | None = None
    order: Order = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)
    normalization: Normalization = "channel"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    mean_image: str | None = None
    exif: Exif = "apply"
    multiple: int = 1
    proposals: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("rule", Rule), ("order", Order), ("normalization", Normalization)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(get_args(kind))}")
        low, high = self.value_range
        if not (self.multiple >= 1 and low < high):
            raise ValueError(
                f"multiple is {self.multiple} and value_range {[low, high]}; expected at least 1, and low below high"
            )
        self._check_sides()
        colour = self.background if isinstance(self.background, tuple) else (self.background or 0,)
        if not all(0 <= value <= 255 for value in colour):
            raise ValueError(f"background is {self.background}; expected 0 to 255")
        if (self.normalization == "location") != (self.mean_image is not None):
            raise ValueError("normalization 'location' and a mean image need one another")
        if self.mean_image is not None:
            if self.size_hw is None:
                raise ValueError("a mean image needs images of one size: set size_hw to its size")
            unpack(self.mean_image, (self.channels, *self.size_hw))

    @property
    def keeps_size(self) -> bool:
        """Whether images stay as large as they are."""
        return self.size_hw is None and self.shorter is None

    @property
    def decoding(self) -> Decoding:
        """How image files are read."""
        return Decoding(
            channels=self.channels,
            exif=self.exif,
            range=self.range,
            set_range=self.set_range,
            bands=self.bands,
            background=self.background,
        )

    @property
    def fill(self) -> Tensor:
        """(C,) the mean colour of decoded images, 0..255: what lies beside an image."""
        low, high = self.value_range
        colour = (torch.tensor(self.mean) - low) / (high - low) * 255
        return self._ordered(colour[:, None, None])[:, 0, 0].round().clamp(0, 255)

    def check_borders(self, lost: str) -> None:
        """Raises RecipeError where the input lacks the borders of an image; `lost` says what is lost with them."""
        if self.size_hw is not None and self.rule == "cover":
            raise RecipeError(f"data.rule cover cuts borders off {lost}; use stretch or fit")

    def boxes(self, size_hw: Tensor) -> Tensor:
        """(B, 4) float64 xyxy of the input that shows each whole image, from their sizes (B, 2); see `Layout`."""
        size = size_hw.double()
        if self.size_hw is None:
            return torch.cat([torch.zeros_like(size), self._shortened(size).flip(1)], dim=1)
        seen = torch.tensor(self.size_hw, dtype=torch.float64, device=size.device)
        if self.rule == "fit":
            inner, frame, before = self._frames(size)
            low, high = before * seen / frame, (before + inner) * seen / frame
        elif self.rule == "cover":
            scale = (seen / size).amax(1, keepdim=True) / self.crop
            whole = torch.maximum((size * scale).round(), seen)
            low = -((whole - seen) / 2).floor()
            high = low + whole
        else:
            low, high = torch.zeros_like(size), seen.expand_as(size)
        return torch.cat([low.flip(1), high.flip(1)], dim=1)

    def layout(self, size_hw: tuple[int, int]) -> Layout:
        """Where an image of that size lies in its input."""
        sizes = torch.tensor([size_hw])
        boxes = self.boxes(sizes)
        right, bottom = boxes[0, 2:].int().tolist()
        return Layout(boxes.float(), sizes, self.padded(self.size_hw or (bottom, right)))

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The size, each side up to a multiple of `multiple`."""
        height, width = (-(-side // self.multiple) * self.multiple for side in size_hw)
        return height, width

    def maps(self, size_hw: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """What `resize` does as coordinate maps, see `ops.geometry`.

        Args:
            size_hw: (B, 2) sizes of the images.
            whole: show the image alone and all of it, without bars and without cutting borders off.

        Returns:
            (B, 3, 3) from the resized image to the decoded one, and (B, 2) float64 sizes of the resized.
        """
        if self.keeps_size:
            return geometry.identity(len(size_hw)), size_hw.double()
        boxes = self.boxes(size_hw)
        extent = (boxes[:, 2:] - boxes[:, :2]).flip(1)
        share = extent / size_hw
        matrix = geometry.zoom(share[:, 1], share[:, 0])
        if whole or self.size_hw is None:
            return matrix, extent
        seen = torch.tensor(self.size_hw, dtype=torch.float64)
        return matrix @ geometry.translation(-boxes[:, 0], -boxes[:, 1]), seen.expand_as(extent)

    def resize(self, image: Tensor) -> Tensor:
        """(..., C, h, w) uint8 -> (..., C, H, W) uint8 by the size rule.

        Memory is bounded for strips as well: of an image that "cover" would resize to more than `STRIP` times the
        pixels of its centre and more than `LARGE`, only the centre is made, which may differ by one level from that of
        the whole.
        """
        if self.keeps_size:
            return image
        size = torch.tensor([image.shape[-2:]])
        if self.size_hw and self.rule == "fit":
            inner, frame, before = ([int(side) for side in value[0]] for value in self._frames(size))
            framed = Frame(-before[1], -before[0], frame[0], frame[1])
            return resize_to(cut(resize_to(image, (inner[0], inner[1])), framed, self.fill), self.size_hw)
        left, top, right, bottom = (int(side) for side in self.boxes(size)[0])
        whole = (bottom - top, right - left)
        shown = Frame(-left, -top, *(self.size_hw or self.padded(whole)))
        if whole[0] * whole[1] > max(STRIP * shown.height * shown.width, LARGE):
            return resized_part(image, whole, shown)
        return cut(resize_to(image, whole), shown, self.fill)

    def collate(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Images (C, h, w) uint8 of any sizes as one batch.

        Returns:
            (B, C, H, W) uint8, resized; where sizes still differ, padded at bottom and right with the mean colour.
            (B, 4) float32 `valid_xyxy`, see `Layout`.
        """
        valid = self.boxes(torch.tensor([image.shape[-2:] for image in images])).float()
        if len({image.shape for image in images}) == 1:
            return self.resize(torch.stack(list(images))), valid
        resized = [self.resize(image) for image in images]
        height, width = (max(image.shape[side] for image in resized) for side in (-2, -1))
        frame = Frame(0, 0, height, width)
        return torch.stack([cut(image, frame, self.fill) for image in resized]), valid

    def normalize(self, image: Tensor, valid_xyxy: Tensor | None = None) -> Tensor:
        """(..., C, H, W) of 0..255 -> float32 of zero mean and unit deviation, padded to `multiple`.

        Args:
            image: resized; uint8, or float where noise was added.
            valid_xyxy: (B, 4) the part of each image that normalisation by image counts; None counts all of it.
        """
        low, high = self.value_range
        values = self._ordered(image.float() / (255 / (high - low)))
        values = values + low if low else values
        if self.normalization == "image":
            mean, std = self._statistics(values, valid_xyxy)
        else:
            mean, std = self._mean(values), torch.tensor(self.std, device=image.device).view(-1, 1, 1)
        return pad_to_multiple((values - mean) / std, self.multiple)

    def denormalize(self, values: Tensor) -> Tensor:
        """(..., C, H, W) on the network's scale -> decoded colours on 0..1; the inverse of `normalize` per channel."""
        low, high = self.value_range
        mean = torch.tensor(self.mean, device=values.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=values.device).view(-1, 1, 1)
        values = values * std + mean
        return self._ordered((values - low if low else values) / (high - low))

    def fixed(self, image: Tensor, valid_xyxy: Tensor | None = None) -> "Preprocessing":
        """One that normalises parts of this image (1, C, H, W) as `normalize` does the whole."""
        if self.normalization != "image":
            return self
        plain = replace(self, normalization="channel", mean=(0.0,), std=(1.0,), multiple=1)
        if image.shape[-2] * image.shape[-1] > cutting.LARGE:
            mean, std = self._statistics_in_bands(plain, image)
        else:
            mean, std = self._statistics(plain.normalize(image), valid_xyxy)
        count = self.channels
        return replace(self, normalization="channel", mean=count * (float(mean),), std=count * (float(std),))

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        return values if self.proposals else {key: value for key, value in values.items() if key != "proposals"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`.

        Raises:
            KeyError: a value is missing, other than `shorter` and `longest`, which older files do not have, and
                `proposals`, which files of other networks do not have.
            ValueError, TypeError: a value is of another kind, or out of range.
        """
        size, sides = values["size_hw"], {name: values.get(name) for name in ("shorter", "longest")}
        return cls(
            size_hw=None if size is None else (int(size[0]), int(size[1])),
            **{name: None if side is None else int(side) for name, side in sides.items()},
            rule=values["rule"],
            crop=float(values["crop"]),
            channels=int(values["channels"]),
            range=_range(values["range"]),
            set_range=_range(values["set_range"]),
            bands=None if values["bands"] is None else tuple(int(band) for band in values["bands"]),
            background=_background(values["background"]),
            order=values["order"],
            value_range=(float(values["value_range"][0]), float(values["value_range"][1])),
            normalization=values["normalization"],
            mean=tuple(values["mean"]),
            std=tuple(values["std"]),
            mean_image=values["mean_image"],
            exif="ignore" if values["exif"] == "ignore" else "apply",
            multiple=int(values["multiple"]),
            proposals=_proposals(values.get("proposals")),
        )

    def _check_sides(self) -> None:
        sides = (self.shorter, self.longest)
        if sides == (None, None):
            return
        if self.shorter is None or self.longest is None or not 1 <= self.shorter <= self.longest or self.size_hw:
            raise ValueError(
                f"shorter is {self.shorter}, longest {self.longest} and size_hw {self.size_hw}; expected the first "
                "two, shorter at most longest, or size_hw"
            )

    def _shortened(self, size: Tensor) -> Tensor:
        """(B, 2) float64 sizes of images that keep their size, or of those brought to `shorter`."""
        if self.shorter is None or self.longest is None:
            return size
        least, most = size.aminmax(dim=1, keepdim=True)
        # two tensors: a number over a tensor is a reciprocal times it, which may round to one pixel less
        scale = torch.minimum(torch.full_like(least, self.shorter) / least, torch.full_like(most, self.longest) / most)
        return (size * scale).floor().clamp_min(1)

    def _ordered(self, image: Tensor) -> Tensor:
        return image.flip(-3) if self.order == "bgr" else image

    def _mean(self, values: Tensor) -> Tensor:
        if self.mean_image is None or self.size_hw is None:
            return torch.tensor(self.mean, device=values.device).view(-1, 1, 1)
        if tuple(values.shape[-2:]) != self.size_hw:
            raise ValueError(
                f"the mean image is {self.size_hw} and images are {tuple(values.shape[-2:])} (H, W); they must have "
                "one size"
            )
        return unpack(self.mean_image, (self.channels, *self.size_hw)).to(values.device)

    def _statistics(self, values: Tensor, valid_xyxy: Tensor | None) -> tuple[Tensor, Tensor]:
        """(..., 1, 1, 1) mean and deviation over what is valid of each image."""
        low, high = self.value_range
        is_valid = torch.ones_like(values[..., :1, :, :], dtype=torch.bool)
        if valid_xyxy is not None:
            is_valid = Layout(valid_xyxy, valid_xyxy, (values.shape[-2], values.shape[-1])).is_valid()[:, None]
        count = is_valid.sum((-3, -2, -1), keepdim=True) * values.shape[-3]
        mean = values.where(is_valid, 0).sum((-3, -2, -1), keepdim=True) / count
        squares = (values - mean).square().where(is_valid, 0).sum((-3, -2, -1), keepdim=True)
        return mean, (squares / count).sqrt().clamp_min(_LEAST_STD * (high - low))

    def _statistics_in_bands(self, plain: "Preprocessing", image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of all of an image of which no copy in floating point is made."""
        total = squares = torch.zeros((), dtype=torch.float64)
        for band in image.split(max(1, cutting.BAND // image.shape[-1]), dim=-2):
            values = plain.normalize(band).double()
            total, squares = total + values.sum().cpu(), squares + values.square().sum().cpu()
        mean = total / image.numel()
        low, high = self.value_range
        std = (squares / image.numel() - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_STD * (high - low))
        return mean, std

    def _frames(self, size_hw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of "fit": (B, 2) float64 each, the size of the image in its frame, of the frame, and of the first bars."""
        size = size_hw.double()
        seen = torch.tensor(self.size_hw, dtype=torch.float64, device=size.device)
        aspect = seen / seen.flip(0)
        longest = torch.maximum(size, size.flip(1) * aspect).amax(1, keepdim=True)
        inner = (size * (LONGEST / longest).clamp_max(1)).round().clamp_min(1)
        frame = torch.maximum(inner, (inner.flip(1) * seen / seen.flip(0)).ceil())
        return inner, frame, -((inner - frame) / 2).round()


def _proposals(values: Any) -> Mapping[str, Mapping[str, Any]] | None:
    if values is not None and not (isinstance(values, dict) and len(values) == 1):
        raise ValueError(f"proposals is {values!r}; expected a name and its options")
    return values


def _background(values: Any) -> Background | None:
    if values is None:
        return None
    if not isinstance(values, list | tuple):
        return int(values)
    red, green, blue = map(int, values)
    return red, green, blue


def _range(values: Any) -> Range | None:
    return None if values is None else (float(values[0]), float(values[1]))
