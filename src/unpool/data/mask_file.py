"""From a mask file to the values in it, exactly as stored, and to the colours that a palette shows them in."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from unpool.data.image_file import Probe, Unusable, check_size, is_deep, opened, printable, probe, recognised, stored_as
from unpool.data.mask_array import ONE_PAGE, is_array, probe_array, read_array
from unpool.data.stack import File
from unpool.data.tiff import grey_header, grey_values
from unpool.types import MOST_PIXELS

Kind = Literal["grey", "palette", "colour"]
Entry = tuple[int, int, int, int]  # red, green, blue and alpha of one value
OPAQUE = 255


class Stored(NamedTuple):
    """What a mask file holds.

    Attributes:
        kind: what `values` are.
        values: (H, W) int32: grey values of 1 to 16 bits, indices into the palette, or colours as 0xRRGGBB.
        palette: the entries of a palette image; empty for other kinds.
        white: the grey value that is shown white.
        is_lossy: the file is a JPEG, whose colours are smeared.
    """

    kind: Kind
    values: np.ndarray
    palette: tuple[Entry, ...] = ()
    white: int = 255
    is_lossy: bool = False

    def entries(self) -> dict[int, Entry]:
        """The colour that each value in use is shown in."""
        is_short = self.kind != "colour" and self.values.min() >= 0  # counting is quicker than sorting
        used = np.flatnonzero(np.bincount(self.values.reshape(-1))) if is_short else np.unique(self.values)
        return {value: self._entry(value) for value in used.tolist()}

    def _entry(self, value: int) -> Entry:
        if self.kind == "palette":
            return self.palette[value]
        if self.kind == "colour":
            return (value >> 16, value >> 8 & 255, value & 255, OPAQUE)
        grey = value * 255 // self.white
        return (grey, grey, grey, OPAQUE)


class MaskHeader(NamedTuple):
    """Kind and palette of a mask file, from its header alone."""

    kind: Kind
    palette: tuple[Entry, ...] = ()


def read_header(path: File, *, max_pixels: int = MOST_PIXELS) -> MaskHeader:
    """Kind and palette of a mask; raises `Unreadable` or `Unusable` where it is no image."""
    if is_array(path):
        return MaskHeader("grey")
    name = printable(path)
    with recognised(path, name) as (form, stream):
        if form == "TIFF" and grey_header(stream) is not None:
            return MaskHeader("grey")
    with opened(path, name, max_pixels=max_pixels) as image:
        return MaskHeader(_kind(image), _palette(image))


def probe_mask(path: File, *, max_pixels: int = MOST_PIXELS) -> Probe:
    """The header of a mask file of any kind; raises as `read_header`."""
    return probe_array(path, max_pixels=max_pixels) if is_array(path) else probe(path, max_pixels=max_pixels)


def read_stored(path: File, *, max_pixels: int = MOST_PIXELS) -> Stored:
    """The values of a mask, exactly as stored, whatever a TIFF shows as black. No orientation is applied.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: the mask is a grey JPEG, has an alpha channel or several pages, or uses an entry that its palette
            lacks.
    """
    name = printable(path)
    if is_array(path):
        return Stored("grey", read_array(path, max_pixels=max_pixels))
    with recognised(path, name) as (form, stream):
        if form == "TIFF" and (header := grey_header(stream)) is not None:
            _require_page(header.pages, name)
            check_size(header.height, header.width, name, max_pixels=max_pixels)
            return Stored("grey", grey_values(stream, header), white=2**header.bits - 1)
    with opened(path, name, max_pixels=max_pixels) as image:
        _require_plain(image, name)
        kind, palette, undo, white = _kind(image), _palette(image), _undo_scaling(image), _white(image)
        image.load()
        values = undo(np.asarray(image).astype(np.int32))
        is_lossy = image.format == "JPEG"
    if kind == "colour":
        values = (values << np.array([16, 8, 0], np.int32)).sum(axis=2, dtype=np.int32)
    if kind == "palette" and (most := int(values.max())) >= len(palette):
        raise Unusable(name, f"mask uses entry {most} of its palette, which has {len(palette)}: export it again").of(
            "data.palette"
        )
    return Stored(kind, values, palette, white, is_lossy)


def _require_plain(image: Image.Image, name: str) -> None:
    """Raises `Unusable` for an image that holds no ids, or more than one mask."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        raise Unusable(name, f"mask has an alpha channel (mode {image.mode}){_examples(image)}; re-export without")
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "RGB"):
        raise Unusable(name, f"mask has mode {image.mode}; expected grey, palette or RGB: re-export as PNG")
    if image.format == "JPEG" and image.mode != "RGB":
        raise Unusable(name, "mask is lossy JPEG, its ids are smeared; re-export as PNG").of("data.soft_mask")
    if image.mode == "RGB" and is_deep(image):
        raise Unusable(name, "mask has colours of 16 bits, and classes have colours of 8; re-export with 8 bits")
    _require_page(getattr(image, "n_frames", 1), name)


def _require_page(pages: int, name: str) -> None:
    if pages > 1:
        raise Unusable(name, f"mask is a stack of {pages} pages; {ONE_PAGE}")


def _kind(image: Image.Image) -> Kind:
    return "palette" if image.mode == "P" else "colour" if image.mode == "RGB" else "grey"


def _palette(image: Image.Image) -> tuple[Entry, ...]:
    """The entries that the file stores; Pillow's own call for it decodes the image and pads with black."""
    if image.mode != "P" or image.palette is None:
        return ()
    rawmode, data = image.palette.getdata()
    if rawmode == "RGB;L":
        colours = np.frombuffer(data, np.uint8).reshape(3, -1).T
    else:
        width = len(rawmode)
        colours = np.frombuffer(data, np.uint8)[: len(data) // width * width].reshape(-1, width)
        colours = colours[:, [rawmode.index(letter) for letter in "RGB"]]
    alpha = _alpha(image.info.get("transparency"), len(colours))
    return tuple((int(r), int(g), int(b), a) for (r, g, b), a in zip(colours, alpha, strict=True))


def _alpha(transparency: object, count: int) -> list[int]:
    """Alpha of each entry, from what Pillow gives: the index of the clear one, or a byte each of the first entries."""
    if isinstance(transparency, bytes):
        return [*transparency[:count], *[OPAQUE] * (count - len(transparency))]
    return [0 if index == transparency else OPAQUE for index in range(count)]


def _examples(image: Image.Image) -> str:
    image.load()
    counts = image.convert("RGBA").getcolors(maxcolors=image.width * image.height) or []
    clear = sorted({colour for _, colour in counts if isinstance(colour, tuple) and colour[3] != OPAQUE})[:8]
    return f", colours with alpha: {', '.join(map(str, clear))}" if clear else ""


def _white(image: Image.Image) -> int:
    """The stored value that is white: 1 to 16 bits hold other numbers of shades."""
    rawmode, most = stored_as(image)
    if image.format == "PPM" and isinstance(most, int):
        return most
    return {"L;2": 3, "L;4": 15}.get(str(rawmode), 1 if image.mode == "1" else 255)


def _undo_scaling(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Pillow stretches 2- and 4-bit grey, and the values of a PGM, to the full range; an id is what was stored."""
    rawmode, most = stored_as(image)
    if rawmode in ("L;2", "L;4"):
        step = 85 if rawmode == "L;2" else 17
        return lambda values: values // step
    if image.format == "PPM" and image.mode != "RGB" and isinstance(most, int):
        full = 255 if image.mode == "L" else 65535
        return lambda values: np.rint(values * (most / full)).astype(np.int32)
    return lambda values: values
