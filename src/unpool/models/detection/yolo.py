"""YOLO v1 (Redmon et al. 2016, arXiv:1506.02640): a grid of cells, each with a few boxes and one set of classes.

`yolo448` is figure 3 of the paper on its 20 convolutions, `extraction`: four more, then two linear layers, through
which every cell sees the whole image; `yolo448_bn` has batch norm in all convolutions in place of biases, as the
release has. Their last map is averaged to the grid, which changes nothing of images of 448x448. `yolo` is small, for
images of 100 to 300 pixels: convolutions with batch norm alone, its cells those of the backbone's last map, or averages
over some of them. All give numbers without an activation, as the paper has it.

Differs from the paper: initial weights are He's, the last layer's N(0, 0.01^2), since it names none.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

from torch import Tensor, fx, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.frozen import Norms
from unpool.layers.initialize import he_normal
from unpool.models.backbones.extraction import Layer, Leaky, conv, conv_norm
from unpool.models.catalog import Variant
from unpool.models.dense import dilated
from unpool.models.detection.detector import Detector, draw_normal
from unpool.models.detection.practice import YOLO as PRACTICE
from unpool.ops.phases import phase
from unpool.types import Backbone, GridBoxes

GRID = (7, 7)


class YOLO(Detector):
    """Says of each cell of a grid what is there: image (B, C, H, W) -> GridBoxes.

    Args:
        backbone: its last map is read.
        head: from that map to all numbers of a cell (B, rows * columns * (5 * boxes_per_cell + num_classes)), or a map
            (B, 5 * boxes_per_cell + num_classes, rows, columns) of them.
        num_classes: K.
        grid: rows and columns.
        boxes_per_cell: P.
        norms: whether the backbone's batch norms are trained.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        *,
        num_classes: int,
        grid: tuple[int, int],
        boxes_per_cell: int,
        norms: Norms,
    ) -> None:
        super().__init__(backbone, strides=backbone.strides[-1:], reader="yolo", norms=norms, practice=PRACTICE)
        self.indices = (len(backbone.strides) - 1,)  # of a dilated one, several have that stride
        self.head = head
        self.grid = grid
        self.num_classes = num_classes
        self.boxes_per_cell = boxes_per_cell

    def forward(self, image: Tensor) -> GridBoxes:
        (x,) = self.read(image)
        with phase("head"):
            numbers = self.head(x)
        cells = numbers.reshape(len(image), -1, *self.grid).permute(0, 2, 3, 1)  # (B, rows, columns, K + 5P)
        count = self.boxes_per_cell
        classes, confidences, boxes = cells.split([self.num_classes, count, 4 * count], dim=-1)
        return GridBoxes(classes, confidences, boxes.unflatten(-1, (count, 4)))


def paper(  # noqa: PLR0913 - two are given by the row and by `models.build`
    layer: Layer,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    grid: Sequence[int] = GRID,
    boxes_per_cell: int = 2,
    neck_width: int = 1024,
    head_width: int = 4096,
    norms: Norms = "trained",
) -> YOLO:
    """Builds the paper's network.

    Args:
        layer: makes one of its convolutions.
        backbone: its last map is read.
        num_classes: things, without a background.
        grid: rows and columns of cells.
        boxes_per_cell: predictors of each.
        neck_width: channels of the last four convolutions.
        head_width: units of the hidden layer.
        norms: whether the backbone's batch norms are trained, if it has any.

    Raises:
        RecipeError: `grid` is not two numbers.
    """
    rows, columns = _pair(grid)
    outputs = rows * columns * (5 * boxes_per_cell + num_classes)
    head = nn.Sequential(
        OrderedDict(
            conv21=layer(backbone.channels[-1], neck_width, 3),
            conv22=layer(neck_width, neck_width, 3, stride=2),
            conv23=layer(neck_width, neck_width, 3),
            conv24=layer(neck_width, neck_width, 3),
            pool=nn.AdaptiveAvgPool2d((rows, columns)),
            flatten=nn.Flatten(),
            fc25=nn.Linear(rows * columns * neck_width, head_width),
            act25=Leaky(),
            drop25=nn.Dropout(0.5),
            fc26=nn.Linear(head_width, outputs),
        )
    )
    return _with_weights(
        YOLO(
            backbone,
            head,
            num_classes=num_classes,
            grid=(rows, columns),
            boxes_per_cell=boxes_per_cell,
            norms=norms,
        )
    )


def small(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    grid: Sequence[int] = GRID,
    boxes_per_cell: int = 2,
    neck_width: int = 256,
    output_stride: int = 32,
    norms: Norms = "trained",
) -> YOLO:
    """Builds the small network.

    Args:
        backbone: its last map is read.
        num_classes: things, without a background.
        grid: rows and columns of cells, at most those of the last map.
        boxes_per_cell: predictors of each.
        neck_width: channels of the two convolutions behind the backbone.
        output_stride: of the last map; strides beyond it become dilation.
        norms: whether the backbone's batch norms are trained.

    Raises:
        RecipeError: `grid` is not two numbers.
    """
    rows, columns = _pair(grid)
    finer = dilated(backbone, output_stride)
    head = nn.Sequential(
        OrderedDict(
            conv1=conv_norm(finer.channels[-1], neck_width, 3),
            conv2=conv_norm(neck_width, neck_width, 3),
            pool=CellAverage((rows, columns)),
            last=nn.Conv2d(neck_width, 5 * boxes_per_cell + num_classes, 1),
        )
    )
    return _with_weights(
        YOLO(
            finer,
            head,
            num_classes=num_classes,
            grid=(rows, columns),
            boxes_per_cell=boxes_per_cell,
            norms=norms,
        )
    )


class CellAverage(nn.Module):
    """The mean of a map over each cell of a grid: (B, C, h, w) -> (B, C, rows, columns).

    Raises:
        DataError: the map has fewer rows or columns, so that several cells would be one.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(_fine_enough(x, self.grid), self.grid)


@fx.wrap
def _fine_enough(x: Tensor, grid: tuple[int, int]) -> Tensor:
    if x.shape[-2] < grid[0] or x.shape[-1] < grid[1]:
        raise DataError(
            f"the last map is {tuple(x.shape[-2:])} (H, W) and the grid {grid}, so that several cells would be one: "
            "choose a coarser model.grid, a smaller model.output_stride, or larger images"
        )
    return x


def _pair(grid: Sequence[int]) -> tuple[int, int]:
    if len(grid) != 2:
        raise RecipeError(f"grid is {list(grid)}; give two numbers, the rows and columns of cells")
    return grid[0], grid[1]


def _with_weights(network: YOLO) -> YOLO:
    """The network, its head with initial weights."""
    he_normal(network.head, mode="fan_in")
    draw_normal(list(network.head.children())[-1], std=0.01)
    return network


def _row(layer: Layer, backbone: str, params: int, source: str) -> Variant:
    return Variant(
        build=partial(paper, layer),
        kind="composed",
        backbone=backbone,
        params=params,
        gmacs=20.28515,
        source=source,
        input=(3, 448, 448),
        output=((7, 7, 20), (7, 7, 2), (7, 7, 2, 4)),
        classes=20,
    )


VARIANTS = {
    "yolo": Variant(
        build=small,
        kind="composed",
        backbone="resnet18",
        params=12_954_718,
        source="Redmon et al. 2016, smaller and convolutional; counted by unpool summary",
        input=(3, 224, 224),
        output=((7, 7, 20), (7, 7, 2), (7, 7, 2, 4)),
        classes=20,
    ),
    "yolo448": _row(conv, "extraction", 271_703_550, "Redmon et al. 2016, figure 3"),
    "yolo448_bn": _row(conv_norm, "extraction_bn", 271_716_734, "the same with batch norm in place of biases"),
}
