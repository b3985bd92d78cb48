"""A head of embeddings on any backbone, as margin losses are trained with.

The head is ArcFace's (Deng et al. 2019, arXiv:1801.07698, section 3.1, "option E"): batch norm, dropout, one linear
layer on every position of the last map, batch norm. The linear layer has no bias, which the norm behind it would take
away. The paper's last map has 7x7 positions; a map of another size is averaged to `grid` x `grid`.
"""

from collections import OrderedDict

from torch import Tensor, nn

from unpool.models.catalog import Variant
from unpool.types import Backbone


class Embedder(nn.Module):
    """A backbone and a head on its last map: image (B, C, H, W) -> (B, num_classes).

    Args:
        backbone: returns maps, fine to coarse; only the last is read.
        num_classes: length of the embedding.
        grid: rows and columns of the map that the linear layer reads.
        dropout: share of its numbers that is dropped in training.
    """

    def __init__(self, backbone: Backbone, /, *, num_classes: int = 512, grid: int = 7, dropout: float = 0.4) -> None:
        super().__init__()
        channels = backbone.channels[-1]
        self.backbone = backbone
        self.head = nn.Sequential(
            OrderedDict(
                norm=nn.BatchNorm2d(channels),
                average=nn.AdaptiveAvgPool2d(grid),
                drop=nn.Dropout(dropout),
                flatten=nn.Flatten(),
                linear=nn.Linear(channels * grid**2, num_classes, bias=False),
                spread=nn.BatchNorm1d(num_classes),
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])


VARIANTS = {
    "embedder": Variant(
        build=Embedder,
        kind="composed",
        backbone="resnet18",
        params=11_176_512 + 1_024 + 512 * 49 * 512 + 1_024,
        source="`unpool summary`; torchvision 0.28.0, resnet18 without its classifier, with ArcFace's head on 7x7",
        input=(3, 224, 224),
        output=(512,),
        classes=512,
    ),
}
