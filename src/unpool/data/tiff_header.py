"""What the first page of a TIFF says of its pixels, and Pillow's parser without the turn that it makes on its own.

Source: TIFF Revision 6.0, Adobe 1992; numbers of the tags in its Appendix A.
"""

from typing import BinaryIO, Literal, NamedTuple, cast

from PIL import ImageFile, ImagePalette, TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from unpool.data.refused import Refused
from unpool.data.stack import directories
from unpool.types import Range

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
COLOURS = (RGB, PALETTE, CMYK, YCBCR)
_ALPHA = (1, 2, 999)  # ExtraSamples: associated, unassociated, and what CorelDraw writes
_KINDS: dict[int, Literal["u", "i", "f"]] = {1: "u", 2: "i", 3: "f", 4: "u"}
_PILLOW = {  # what Pillow reads of one sample a pixel, by photometric interpretation
    WHITE_IS_ZERO: {("u", bits) for bits in (1, 2, 4, 8, 16)},
    BLACK_IS_ZERO: {*(("u", bits) for bits in (1, 2, 4, 8, 12, 16, 32)), ("i", 8), ("i", 16), ("i", 32), ("f", 32)},
    PALETTE: {("u", bits) for bits in (1, 2, 4, 8)},
}
_LITTLE_ENDIAN = {  # of these, what Pillow reads right only where the low byte of a value stands first
    WHITE_IS_ZERO: {("u", 16)},
    BLACK_IS_ZERO: {("u", 12), ("u", 32), ("i", 16), ("i", 32), ("f", 32)},
}
_BITS = {"u": {*range(1, 17), 32, 64}, "i": {8, 16, 32, 64}, "f": {16, 32, 64}}


class TiffHeader(NamedTuple):
    """The first page of a TIFF.

    Attributes:
        height, width: as stored, before any orientation.
        bits: of each value.
        kind: of the values: unsigned, signed or floating point.
        samples: values of a pixel, alpha among them.
        alpha: which of them are alpha, counted from 1.
        is_associated: the others are multiplied by alpha.
        photometric: what the values mean; -1 where the file does not say.
        is_planar: whether each sample has an image of its own.
        is_big_endian: whether the high byte of a value stands first.
        is_reversed: whether the first pixel lies in the lowest bits of a byte.
        compression: 1 for none.
        turns: the orientations that it states.
        pages: in the file.
        stated: what is black and what is white, where the file says so.
    """

    height: int
    width: int
    bits: int
    kind: Literal["u", "i", "f"]
    samples: int
    alpha: tuple[int, ...]
    is_associated: bool
    photometric: int
    is_planar: bool
    is_big_endian: bool
    is_reversed: bool
    compression: int
    turns: tuple[int, ...]
    pages: int
    stated: Range | None

    @property
    def bands(self) -> int:
        """Values of a pixel without alpha."""
        return self.samples - len(self.alpha)


class StoredTiff(TiffImagePlugin.TiffImageFile):
    """Pillow's TIFF with its pixels as they are stored; Pillow turns them by their orientation whatever is asked.

    Its colour map may hold numbers of 8 bits.
    """

    def _setup(self) -> None:
        super()._setup()
        self._size = (int(self.tag_v2[256]), int(self.tag_v2[257]))
        if self.mode in ("P", "PA"):
            values = self.tag_v2[TiffImagePlugin.COLORMAP]
            # as libtiff: some writers forget that a colour map has 16 bits
            eight = bytes(value // 256 if max(values) > 255 else value for value in values)
            self.palette = ImagePalette.raw("RGB;L", eight)

    def load_end(self) -> None:
        ImageFile.ImageFile.load_end(self)


def read_tiff_header(stream: BinaryIO) -> TiffHeader:
    """The header of the first page; the errors of a damaged file are those of Pillow's parser, and Refused."""
    tags = _tags(stream)
    if 279 not in tags and 325 not in tags:
        raise ValueError("its list of tags is cut off, or has no sizes of strips or tiles")
    bits = _numbers(tags, 258, 1)
    kinds = _numbers(tags, 339, 1)
    if len(set(bits)) > 1 or len(set(kinds)) > 1:
        raise Refused(f"its samples differ in kind, with {bits} bits and formats {kinds}; expected one kind for all")
    if kinds[0] not in _KINDS:
        raise Refused(f"its samples have format {kinds[0]} (complex); expected whole numbers or floating point")
    photometric = _number(tags, 262, -1)
    if bits[0] not in _BITS[_KINDS[kinds[0]]]:
        raise Refused(f"TIFF has {bits[0]} bits a value in format {kinds[0]}; expected 1 to 16, 32 or 64: convert it")
    if bits[0] < 8 and _number(tags, 277, len(bits)) > 1:
        raise Refused(f"TIFF packs several samples of {bits[0]} bits; expected one, or samples of 8 bits or more")
    samples = _number(tags, 277, len(bits))
    header = TiffHeader(
        height=_number(tags, 257, 0),
        width=_number(tags, 256, 0),
        bits=bits[0],
        kind=_KINDS[kinds[0]],
        samples=samples,
        alpha=_alpha(tags, samples),
        is_associated=1 in _numbers(tags, 338, 0)[: max(samples - 1, 0)],
        photometric=photometric,
        is_planar=samples > 1 and _number(tags, 284, 1) == 2,
        is_big_endian=tags.prefix == b"MM",
        is_reversed=_number(tags, 266, 1) == 2,
        compression=_number(tags, 259, 1),
        turns=(_number(tags, 274, 1),),
        pages=sum(1 for _ in directories(stream)),
        stated=None,
    )
    return header._replace(stated=_stated(tags, header))


def is_read_by_pillow(header: TiffHeader) -> bool:
    """Whether Pillow gives the stored values of every pixel, or what they can be computed from."""
    photometric, bits, kind, alpha = header.photometric, header.bits, header.kind, header.alpha
    if header.is_reversed and (bits != 1 or photometric == PALETTE):
        return False
    if header.samples == 1 and photometric in _PILLOW:
        left_out = _LITTLE_ENDIAN.get(photometric, set()) if header.is_big_endian else set()
        return (kind, bits) in _PILLOW[photometric] - left_out
    if alpha and header.is_planar:  # Pillow fails, or divides by alpha, where alpha is associated
        return False
    is_colour = {RGB: 3, CMYK: 4, YCBCR: 3, BLACK_IS_ZERO: 1}.get(photometric) == header.bands
    if (kind, bits) == ("u", 16):
        return is_colour and photometric == RGB and not alpha and not header.is_planar
    return (kind, bits) == ("u", 8) and is_colour and alpha in ((), (header.samples,))


def _tags(stream: BinaryIO) -> ImageFileDirectory_v2:
    stream.seek(0)
    head = stream.read(8)
    if 43 in head[2:4]:  # BigTIFF
        head += stream.read(8)
    tags = ImageFileDirectory_v2(head)
    stream.seek(tags.next)
    tags.load(stream)  # type: ignore[arg-type]
    return tags


def _stated(tags: ImageFileDirectory_v2, header: TiffHeader) -> Range | None:
    """Bits that fill no machine word, or a largest value of n full bits; others are statistics of one image.

    The specification calls MaxSampleValue a statistic that shall not affect how an image is shown.
    """
    if header.kind == "u" and header.bits not in (16, 32, 64):
        return (0, 2**header.bits - 1)
    low = {*_numbers(tags, 340, 0), *_numbers(tags, 280, 0)}
    for most in {*_numbers(tags, 341 if 341 in tags else 281, 0)}:
        is_full = most >= 1 and float(most).is_integer() and (int(most) & (int(most) + 1)) == 0
        if low <= {0} and is_full and (most >= 255 or header.kind == "f"):
            return (0, most)
    return None


def _alpha(tags: ImageFileDirectory_v2, samples: int) -> tuple[int, ...]:
    """Which samples are alpha, counted from 1; ExtraSamples describes the last ones."""
    extra = _numbers(tags, 338, 0)[: max(samples - 1, 0)]
    return tuple(number for number, kind in enumerate(extra, samples - len(extra) + 1) if kind in _ALPHA)


def _numbers(tags: ImageFileDirectory_v2, tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (cast(int, value),)


def _number(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    return int(_numbers(tags, tag, default)[0])
