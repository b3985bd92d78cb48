"""Images in files: what the readers of such sets share, which make the list."""

from pathlib import Path

from unpool.data.decode import decode_image
from unpool.data.measure import Measure, measure_image
from unpool.types import Decoding, Sample


class ImageFiles:
    """Reads images by position, each a file; a base for readers, which give `targets` where there are any.

    Attributes:
        root: of the set.
        decoding: of the images.
        _files: paths of the images below the root, raw.
    """

    root: Path
    decoding: Decoding
    _files: list[str]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        return {"image": decode_image(self.root / self._files[index], self.decoding), **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the image of one sample."""
        return (self.root / self._files[index],)

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        return measure_image(self.root, self._files[index], self.decoding)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image: none."""
        return {}
