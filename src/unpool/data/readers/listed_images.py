"""Images that files name: what the readers of such sets share, which make the list."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unpool.data.image_file import printable
from unpool.data.measure import Measure
from unpool.data.readers.image_files import ImageFiles
from unpool.errors import DataError
from unpool.types import DataInfo, Decoding, Fault, Sample


class ListedImages(ImageFiles):
    """Reads images that files name, each with one tensor, by position; a base for readers.

    Args:
        root: of the set.
        images: paths below it, raw.
        key: under which samples have the tensor.
        values: the tensors, one an image.
        missing: images that are named and do not exist, with the place that names them.
    """

    def __init__(
        self,
        root: Path,
        images: Sequence[str],
        *,
        key: str,
        values: Sequence[Tensor],
        decoding: Decoding,
        missing: Mapping[str, str],
    ) -> None:
        self.root = root
        self.set_files: tuple[Path, ...] = ()
        self.names: Sequence[str] = [printable(image) for image in images]
        self.faults = missing_faults(missing)
        self.notes: list[str] = []
        self.gives: tuple[str, ...] = ("image", key)
        self.info = DataInfo()
        self.origin: dict[str, Any] = {}
        self.decoding = decoding
        self._files, self._key, self._values = list(images), key, list(values)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {self._key: self._values[index].clone()}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        measured = super().measure(index)
        return measured._replace(num_bytes=measured.num_bytes + self._values[index].nbytes)


def missing_faults(missing: Mapping[str, str]) -> list[Fault]:
    """Returns a fault for each image that does not exist, with the place that names it."""
    return [Fault(printable(image), f"there is no such image; {where} names it") for image, where in missing.items()]


def split_missing(root: Path, images: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Returns the images that exist, and those that do not with the place that names them.

    Raises:
        DataError: none exists.
    """
    missing = {image: where for image, where in images.items() if not (root / image).is_file()}
    if images and len(missing) == len(images):
        image, where = next(iter(missing.items()))
        raise DataError(
            f"none of {len(missing)} images exists, such as {printable(image)} in {printable(root)}, which {where} "
            "names: put the images there, or correct the names"
        )
    return [image for image in images if image not in missing], missing


def only_one(root: Path, paths: Sequence[Path]) -> Path:
    """Returns the one path of a list; raises DataError where there are several, of which one would be a guess."""
    if len(paths) > 1:
        both = " and ".join(printable(path.relative_to(root).as_posix()) for path in paths[:2])
        raise DataError(f"{both} would be read for the same images: keep one, and move the other away or rename it")
    return paths[0]
