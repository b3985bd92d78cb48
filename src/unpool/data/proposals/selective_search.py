"""Selective search (Uijlings et al. 2013): the boxes of all parts that a picture is merged from, bottom up.

The segmentations and their merging are OpenCV's (package opencv-contrib-python-headless, extra `proposals`). As in
R-CNN (Girshick et al. 2014, arXiv:1311.2524, section 2.2), images are brought to a width of 500 pixels first. The order
is the paper's (section 3.3): a random number times the place in the hierarchy, so that no one size is first. Differs:
OpenCV draws these numbers from a generator that cannot be set, so that they are drawn here, the same for every image,
and the place is by area, which falls along the hierarchy.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.proposals.proposer import Proposer
from unpool.errors import EnvironmentFault, RecipeError
from unpool.limits import MANY, check_number
from unpool.ops.cutting import resize_to

SIDE = Interval(ge=16, le=4096)
LEAST = Interval(ge=0, le=1000)
PACKAGE = "opencv-contrib-python-headless"
_SEED = 3
_TALL = 2  # heights of an image, in widths, above which its height is brought to that many widths


class SelectiveSearch(Proposer):
    """Proposes the boxes of parts.

    Args:
        mode: "fast", in two colour spaces and two measures, or "quality", in five and four: three to five times the
            boxes and the time.
        most: boxes of an image.
        width: pixels to which each image is brought, at its aspect; one that would be over twice as high is brought
            to that height.
        least_side: boxes with a shorter side are left out; pixels of the image of that width.
    """

    def __init__(
        self,
        *,
        mode: Literal["fast", "quality"] = "fast",
        most: Annotated[int, MANY] = 2000,
        width: Annotated[int, SIDE] = 500,
        least_side: Annotated[int, LEAST] = 10,
    ) -> None:
        if mode not in ("fast", "quality"):
            raise RecipeError(f"selective_search.mode is {mode!r}; it must be fast or quality")
        self.mode = mode
        self.most = int(check_number("selective_search.most", most, MANY))
        self.width = int(check_number("selective_search.width", width, SIDE))
        self.least_side = int(check_number("selective_search.least_side", least_side, LEAST))

    def propose(self, image: Tensor, name: str) -> Tensor:
        if len(image) not in (1, 3):
            raise RecipeError(
                f"selective search reads colours, and the image has {len(image)} channels: set data.proposals to "
                "another source"
            )
        height, width = image.shape[-2:]
        factor = min(self.width / width, _TALL * self.width / height)
        rows, columns = (max(1, round(side * factor)) for side in (height, width))
        parts = self._search(resize_to(image, (rows, columns)).expand(3, -1, -1))
        boxes = parts[(parts[:, 2:] - parts[:, :2] >= self.least_side).all(1)].unique(dim=0)
        chosen = boxes[in_order(boxes)[: self.most]]
        return chosen * torch.tensor([width / columns, height / rows] * 2)

    def require(self) -> None:
        _segmentation()

    def version(self) -> str:
        try:
            return version(PACKAGE)
        except PackageNotFoundError:  # another package of OpenCV that has it
            return str(import_module("cv2").__version__)

    def _search(self, image: Tensor) -> Tensor:
        """(N, 4) float32 xyxy of an image (3, H, W) uint8."""
        search = _segmentation().createSelectiveSearchSegmentation()
        search.setBaseImage(image.permute(1, 2, 0).flip(2).contiguous().numpy())  # BGR
        (search.switchToSelectiveSearchFast if self.mode == "fast" else search.switchToSelectiveSearchQuality)()
        rectangles = torch.from_numpy(search.process()).float().reshape(-1, 4)  # left, top, width, height
        return torch.cat([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]], dim=1)


def in_order(boxes: Tensor) -> Tensor:
    """(N,) positions of boxes (N, 4) of different corners by a random number times the place by area, largest first."""
    generator = torch.Generator().manual_seed(_SEED)
    by_area = (boxes[:, 2:] - boxes[:, :2]).prod(1).argsort(descending=True, stable=True)
    numbers = torch.rand(len(boxes), generator=generator) * torch.arange(1, len(boxes) + 1)
    return by_area[numbers.argsort(stable=True)]


def _segmentation() -> Any:
    """OpenCV's module of segmentations.

    Raises:
        EnvironmentFault: it is not installed.
    """
    try:
        return import_module("cv2").ximgproc.segmentation
    except (ImportError, AttributeError) as error:
        raise EnvironmentFault(
            f"selective search needs OpenCV with its contributed modules ({error}): pip install 'unpool[proposals]', "
            "in place of another package of OpenCV where there is one; or set data.proposals to grid or files"
        ) from error
