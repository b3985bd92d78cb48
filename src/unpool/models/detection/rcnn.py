"""R-CNN (Girshick et al. 2014, arXiv:1311.2524): a classifier on each proposed region, cut out and warped to 227x227.

Its two networks are those of its two steps. `rcnn` is AlexNet, in Caffe's form, with a layer of one score for each
class and the background, and is trained by regions (fine-tuning, section 2.3). `rcnn_svm` has in place of that layer
what is fitted to the features of a trained `rcnn` and not trained: a linear support vector machine for each class on
fc7, and the box regression of each class on pool5 (appendix C); `unpool probe` fits both. `rcnn_alexnet` and
`rcnn_alexnet_svm` are the same on AlexNet's one tower.

Differs from the paper: fine-tuning draws its 32 regions that show a thing and 96 of background from the two images of a
batch, and the paper from the whole set; boxes are moved before the weaker doubles are left out.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unpool.models.catalog import Variant
from unpool.models.classifiers.alexnet import AlexNet, norm_pool, pool_norm
from unpool.models.detection.practice import RCNN as PRACTICE
from unpool.ops.phases import phase
from unpool.ops.region_warping import warp_regions
from unpool.types import ClassifiedRegions, RegionMaps

SIDE = 227
AT_ONCE = 64  # regions that are warped and read together


class RegionNetwork(nn.Module):
    """AlexNet on warped regions: image (B, C, H, W) -> RegionMaps, the image itself; `classify` reads regions of it.

    The layers of AlexNet have the names of the classifier's.

    Args:
        reduce: see `AlexNet`.
        groups: see `AlexNet`.
        in_channels: channels of the image.
        outputs: of the last layer, fc8; 0 leaves it out.
        width: channels of the first convolution.
    """

    box_weights = (1.0, 1.0, 1.0, 1.0)
    practice = PRACTICE

    def __init__(
        self, reduce: Callable[[], nn.Module], groups: int, *, in_channels: int, outputs: int, width: int
    ) -> None:
        super().__init__()
        network = AlexNet(reduce, groups, in_channels=in_channels, num_classes=max(outputs, 1), width=width)
        self.features = network.features
        self.head = network.head if outputs else network.head[:-1]

    def forward(self, image: Tensor) -> RegionMaps:
        return RegionMaps((image,))

    @phase("backbone")
    def read(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """pool5 (R, C, 6, 6) of the regions of the images that `maps` are of."""
        return self.features(warp_regions(maps[0], boxes, side=SIDE))


class RCNN(RegionNetwork):
    """The network of fine-tuning: `classify` gives scores of K classes and the background, and moves no box.

    Args:
        reduce: see `AlexNet`.
        groups: see `AlexNet`.
        in_channels: channels of the image.
        num_classes: K.
        width: channels of the first convolution; the other layers keep their proportion to it.
    """

    def __init__(
        self,
        reduce: Callable[[], nn.Module],
        groups: int,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 20,
        width: int = 96,
    ) -> None:
        super().__init__(reduce, groups, in_channels=in_channels, outputs=num_classes + 1, width=width)

    @phase("head")
    def classify(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> ClassifiedRegions:
        """Scores regions; see `TwoStages.classify`."""
        scores = [self.head(self.read(maps, some)) for some in parts_of(boxes)]
        return ClassifiedRegions(torch.cat(scores), None)


class Fitted(nn.Module):
    """What is fitted to features and not trained: 0 until then.

    Args:
        pool5: features of the boxes.
        fc7: features of the classes.
        num_classes: K.
    """

    def __init__(self, pool5: int, fc7: int, num_classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(fc7, num_classes)
        self.boxes = nn.Linear(pool5, 4 * num_classes)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pool5: Tensor, fc7: Tensor) -> ClassifiedRegions:
        return ClassifiedRegions(self.classes(fc7), self.boxes(pool5).unflatten(1, (-1, 4)))


class RCNNWithMachines(RegionNetwork):
    """The network of detection: `classify` gives margins of K support vector machines, and moves the box of each.

    Args:
        reduce: see `AlexNet`.
        groups: see `AlexNet`.
        in_channels: channels of the image.
        num_classes: K.
        width: channels of the first convolution; the other layers keep their proportion to it.
    """

    def __init__(
        self,
        reduce: Callable[[], nn.Module],
        groups: int,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 20,
        width: int = 96,
    ) -> None:
        super().__init__(reduce, groups, in_channels=in_channels, outputs=0, width=width)
        fc6, fc7 = (layer for layer in self.head if isinstance(layer, nn.Linear))
        self.fitted = Fitted(fc6.in_features, fc7.out_features, num_classes)

    @phase("head")
    def classify(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> ClassifiedRegions:
        """Scores and moves regions; see `TwoStages.classify`."""
        return self.fitted(*self.describe(maps, boxes))

    def describe(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """pool5 (R, F) and fc7 (R, G) of regions, both flat."""
        pool5, fc7 = [], []
        for some in parts_of(boxes):
            x = self.read(maps, some)
            pool5.append(x.flatten(1))
            fc7.append(self.head(x))
        return torch.cat(pool5), torch.cat(fc7)


def parts_of(boxes: Sequence[Tensor]) -> list[list[Tensor]]:
    """The boxes of B images as parts of at most `AT_ONCE` of one image, each B tensors; at least one part.

    >>> [[len(one) for one in part] for part in parts_of([torch.zeros(70, 4), torch.zeros(2, 4)])]
    [[64, 0], [6, 0], [0, 2]]
    """
    none = [one[:0] for one in boxes]
    parts = [
        [*none[:i], some, *none[i + 1 :]] for i, one in enumerate(boxes) for some in one.split(AT_ONCE) if len(some)
    ]
    return parts or [none]


def _row(build: Callable[..., nn.Module], params: int, source: str, *, starts_from: str) -> Variant:
    return Variant(
        build=build,
        kind="whole",
        backbone=starts_from,
        params=params,
        source=source,
        input=(3, 375, 500),
        output=((3, 375, 500),),
        classes=20,
        reads_proposals=True,
    )


_RELEASE = "Girshick et al. 2014; rbgirshick/rcnn, model-defs"
_MACHINES = 20 * (4096 + 1) + 80 * (9216 + 1)  # of 20 classes, and of the four numbers of each

VARIANTS = {
    "rcnn": _row(partial(RCNN, pool_norm, 2), 56_954_261, f"{_RELEASE}/pascal_finetune_deploy", starts_from="caffenet"),
    "rcnn_svm": _row(
        partial(RCNNWithMachines, pool_norm, 2),
        56_868_224 + _MACHINES,
        f"{_RELEASE}/rcnn_batch_256_output_fc7, with what is fitted on it",
        starts_from="rcnn",
    ),
    "rcnn_alexnet": _row(
        partial(RCNN, norm_pool, 1), 58_367_381, "Girshick et al. 2014 on AlexNet's one tower", starts_from="alexnet"
    ),
    "rcnn_alexnet_svm": _row(
        partial(RCNNWithMachines, norm_pool, 1),
        58_367_381 - 21 * (4096 + 1) + _MACHINES,
        "Girshick et al. 2014 on AlexNet's one tower, with what is fitted on it",
        starts_from="rcnn_alexnet",
    ),
}
