"""Base classes of augmentations: maps of positions and matrices of colours, drawn for a whole batch at once."""

from abc import ABC, abstractmethod

from torch import Tensor

from unpool.data.draws import Draws


class Geometry(ABC):
    """Moves pixels, and with them masks, keypoints and boxes.

    Attributes:
        chooses_window: chooses the window that the network sees. Without such a step it is the centre of the image.
        chooses_scale: takes the image as decoded and resizes a window of it to the network's size. Without such a
            step the image is first resized as in evaluation.
        keeps_pixels: moves whole pixels. A step that mixes neighbours removes the noise of an image.
        shift: pixels by which an image may be moved, whatever its size; one as large as its side may leave nothing.
    """

    chooses_window = False
    chooses_scale = False
    keeps_pixels = False
    shift = 0

    @abstractmethod
    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The step's maps for images of `size_hw` (B, 2) float64.

        Returns:
            (B, 3, 3) float64 maps from the step's output to its input, and the (B, 2) sizes of the output.
        """


class Colour(ABC):
    """Changes colours by a matrix, and moves nothing."""

    @abstractmethod
    def matrix(self, draws: Draws, mean: Tensor) -> Tensor:
        """Matrices (B, C, C + 1) float64: row c makes channel c of the output, its last column is added.

        Args:
            draws: numbers for each sample: coin, uniform, normal, integer.
            mean: (B, C) mean colour of each image; pixels and mean run from 0 to 255.
        """
