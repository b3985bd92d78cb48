"""Base classes of augmentations, for a whole batch: maps of positions, matrices of colours, images joined or mixed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from unpool.data.draws import Draws
from unpool.ops import geometry
from unpool.ops.bending import Field
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Batch, Sample


class Geometry(ABC):
    """Moves pixels, and with them masks, keypoints and boxes.

    Attributes:
        chooses_window: chooses the window that the network sees. Without such a step it is the centre of the image.
        chooses_scale: takes the image as decoded and resizes a window of it to the network's size. Without such a
            step the image is first resized as in evaluation.
        keeps_aspect: of those that choose the scale, whether the image keeps its aspect.
        keeps_pixels: moves whole pixels. A step that mixes neighbours removes the noise of an image.
        reads_boxes: chooses by the boxes of each sample, in `map_around`.
        shift: pixels by which an image may be moved, whatever its size; one as large as its side may leave nothing.
    """

    chooses_window = False
    chooses_scale = False
    keeps_aspect = False
    keeps_pixels = False
    reads_boxes = False
    shift = 0

    @abstractmethod
    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        """The step's maps for images of `size_hw` (B, 2) float64; `target_hw` (B, 2) float64 is what the network sees.

        Returns:
            (B, 3, 3) float64 maps from the step's output to its input, and the (B, 2) sizes of the output.
        """

    def map_around(
        self, boxes: Sequence[Tensor], draws: Draws, size_hw: Tensor, *, target_hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`map` for samples with boxes (N, 4) each, as the steps before have moved them; written by `reads_boxes`."""
        return self.map(draws, size_hw, target_hw=target_hw)


class Bending(Geometry):
    """Moves pixels by a smooth field; the size stays, and what lies on the image follows by the field's inverse."""

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return geometry.identity(len(size_hw)), size_hw

    @abstractmethod
    def fields(self, draws: Draws, size_hw: Tensor) -> list[Field]:
        """A field for each of the images of `size_hw` (B, 2) float64, which does not fold (`bending.unfolded`)."""


class Colour(ABC):
    """Changes colours by a matrix, and moves nothing."""

    @abstractmethod
    def matrix(self, draws: Draws, mean: Tensor) -> Tensor:
        """Matrices (B, C, C + 1) float64: row c makes channel c of the output, its last column is added.

        Args:
            draws: numbers for each sample: coin, uniform, normal, integer.
            mean: (B, C) mean colour of each image; pixels and mean run from 0 to 255.
        """


class Joining(ABC):
    """Makes one sample of several of a batch, before all other steps.

    What a sample becomes depends on the others of its batch, so that only one process can make it.

    Attributes:
        joins: batch keys that it can join; samples with others are refused.
    """

    joins: frozenset[str]

    @abstractmethod
    def join(self, samples: Sequence[Sample], draws: Draws, *, preprocessing: Preprocessing) -> list[Sample | None]:
        """What each sample becomes, of the size at which evaluation shows its image; None for one that stays."""


class Finishing(ABC):
    """Changes the pixels of finished images, after all that moves them or their colours; no target moves.

    Attributes:
        mixes: mixes each image with another one of the batch, and says so by `partner` and `mix`: the task's loss must
            read them.
    """

    mixes = False

    @abstractmethod
    def finish(self, image: Tensor, draws: Draws, *, size_hw: Tensor, fill: Tensor) -> Batch:
        """What changes in a batch: `image`, and `partner` and `mix` where images are mixed.

        Args:
            image: (B, C, H, W) uint8 on any device, not to be written into.
            draws: numbers for each sample, on the host.
            size_hw: (B, 2) float64 size of what is no padding of each image, at the top left.
            fill: (C,) the mean colour.
        """


Step = Geometry | Colour | Joining | Finishing
