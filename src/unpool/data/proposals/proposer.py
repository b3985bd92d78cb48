"""What a source of proposals is."""

from abc import ABC, abstractmethod
from pathlib import Path

from torch import Tensor


class Proposer(ABC):
    """One source of regions that may show a thing.

    Attributes:
        root: folder of the data set; None where images are of no set.
        is_kept: whether what it proposes for a set is worth keeping in the user's cache.
    """

    root: Path | None = None
    is_kept: bool = True

    @abstractmethod
    def propose(self, image: Tensor, name: str) -> Tensor:
        """(N, 4) float32 xyxy in pixels of the image, the likeliest first; a function of its arguments alone.

        Args:
            image: (C, H, W) uint8 as decoded.
            name: of the image in its set; "" of one that is in none.

        Raises:
            DataError: nothing is known of this image, or what is known cannot be used.
        """

    def require(self) -> None:
        """Raises EnvironmentFault where a package is missing."""
        return

    def version(self) -> str:
        """What changes where the same options propose something else, such as the release of a package."""
        return ""
