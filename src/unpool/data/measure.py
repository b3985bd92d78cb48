"""Size, bytes and targets of a sample, read without decoding its image."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from unpool.data.decode import deep_files, notes, readable
from unpool.data.image_file import Probe, Unusable, oriented, printable
from unpool.data.stack import File
from unpool.types import Decoding, Exif, Reader, Sample


class Measure(NamedTuple):
    """What a scan needs to know of a sample before it is decoded.

    Attributes:
        size_hw: of the decoded image.
        num_bytes: of the decoded sample.
        notes: oddities, one sentence a kind.
        deep: image files of which the scan must see the values, see `depth`.
    """

    size_hw: tuple[int, int]
    num_bytes: int
    notes: tuple[str, ...] = ()
    deep: tuple[File, ...] = ()


@runtime_checkable
class MeasuringReader(Reader, Protocol):
    """A reader of ours: sizes come from headers, targets without images, so that large sets are scanned fast.

    Attributes:
        notes: what was odd about the whole set, one sentence each.
        origin: where the list of names comes from, as JSON.
        root: the folder that all files lie below; None where samples are generated.
        set_files: files that samples share: lists, annotations, archives.
    """

    notes: list[str]
    origin: dict[str, Any]
    root: Path | None
    set_files: tuple[Path, ...]

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the files of one sample: its image, and those of its targets."""
        ...

    def measure(self, index: int) -> Measure: ...
    def targets(self, index: int) -> Sample: ...


def measure_image(root: Path, file: str, decoding: Decoding) -> Measure:
    """Measures a sample that is one image, from its header; raises as `decode.readable`."""
    path = root / file
    header = readable(path, decoding)
    num_bytes = decoding.channels * header.height * header.width
    size_hw = oriented(header, decoding.exif)
    return Measure(size_hw, num_bytes, notes(file, header, decoding), deep_files(decoding, (path, header)))


def require_size(path: Path, size_hw: tuple[int, int], annotated_hw: tuple[int, int]) -> None:
    """The image at `path` decodes to the size that its annotations are of.

    Raises:
        Unusable: it does not.
    """
    if size_hw != annotated_hw:
        sizes = f"is {size_hw[1]}x{size_hw[0]}, its annotations are of {annotated_hw[1]}x{annotated_hw[0]} pixels"
        raise Unusable(printable(path), f"{sizes}: restore the image, or correct its annotations").of("data.mask_size")


def require_annotated_size(path: Path, header: Probe, exif: Exif, annotated_hw: tuple[int, int]) -> None:
    """As `require_size` for the image of this header, decoded with this `exif`; says where the other one would fit.

    Raises:
        Unusable: its size is another.
    """
    size_hw, other = oriented(header, exif), "ignore" if exif == "apply" else "apply"
    if size_hw != annotated_hw == oriented(header, other):
        sizes = f"decodes to {size_hw[1]}x{size_hw[0]}, its annotations are of {annotated_hw[1]}x{annotated_hw[0]}"
        turned = f"its EXIF orientation {header.orientation} is {'applied' if exif == 'apply' else 'ignored'}"
        raise Unusable(printable(path), f"{sizes} pixels, and {turned}: set data.exif={other}").of("data.mask_size")
    require_size(path, size_hw, annotated_hw)
