"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497) on one map, as in the paper, and on a pyramid.

`fasterrcnn_vgg16` and `fasterrcnn_zf` are those of the release (rbgirshick/py-faster-rcnn): nine anchors of 128, 256
and 512 pixels on the map of stride 16, RoI pooling, two hidden layers with dropout. `fasterrcnn_resnet101_c4` has them
on conv4 and the blocks of conv5 in place of the hidden layers, with RoIs of 14x14 (He et al. 2015, arXiv:1512.03385,
appendix A); its proposals' width of 512 is that of Dai et al. 2016 (arXiv:1605.06409, code), since that paper has none.
`fasterrcnn_resnet50_fpn` is torchvision's 0.28.0, on a pyramid (Lin et al. 2017, arXiv:1612.03144). `fasterrcnn` is
that with fewer channels and smaller anchors, for images of 100 to 300 pixels; its cells lie exactly, where torchvision
has anchors around the corners of cells and regions half a cell off, as its published weights need it. Both read regions
from the map that suits their size by the pyramid's paper: those below 112 pixels from that of stride 4.

Differs from the papers: boxes have no 1 added to their sides; hidden layers start from He's normal weights, since none
of ImageNet's are copied into them; all layers are trained. `num_classes` counts the things: the background is added.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.anchors import Anchors, by_ratio
from unpool.layers.frozen import Norms
from unpool.layers.pyramid import FeaturePyramid, PooledLevel
from unpool.layers.regions import Kind, RegionPooling
from unpool.models.backbones.resnet import ResNet
from unpool.models.catalog import Variant
from unpool.models.dense import map_indices
from unpool.models.detection.detector import round_up, shapes_of
from unpool.models.detection.practice import FPN, PAPER, SMALL, Practice
from unpool.models.detection.two_stages import ProposalHead, RegionClassifier, TwoStages, hidden_head
from unpool.ops.phases import phase
from unpool.types import Backbone, ClassifiedRegions

STRIDE = 16  # of the map of the paper's forms
STRIDES = (4, 8, 16, 32)  # of the pyramid's maps that regions are read from; anchors stand on one more
NINE = (tuple((scale * w, scale * h) for w, h in ((23, 12), (16, 16), (11, 22)) for scale in (8, 16, 32)),)


class Cells(NamedTuple):
    """Sizes of the anchors of a pyramid, where its cells lie (see `Anchors` and `RegionPooling`), and its practice."""

    sizes: tuple[int, ...]
    centre: float
    is_whole: bool
    kind: Kind
    practice: Practice


EXACT = Cells((16, 32, 64, 128, 256), centre=0.5, is_whole=False, kind="align", practice=SMALL)
TORCHVISION = Cells((32, 64, 128, 256, 512), centre=0.0, is_whole=True, kind="align_by_corners", practice=FPN)


def on_pyramid(
    cells: Cells,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 90,
    anchors: Sequence[int] = (),
    neck_width: int = 256,
    head_width: int = 1024,
    norms: Norms = "frozen",
) -> TwoStages:
    """Builds Faster R-CNN on a pyramid: image (B, C, H, W) -> ProposedRegions, then `classify`.

    Args:
        cells: sizes of the published anchors, and where they and regions lie.
        backbone: must have maps at strides 4, 8, 16 and 32.
        num_classes: things, without the background.
        anchors: width, height, width and so on in pixels of the input, as many for each of five maps; empty for the
            published ones.
        neck_width: channels of the pyramid.
        head_width: units of each hidden layer.
        norms: whether the backbone's batch norms are trained.
    """
    parts = pyramid_parts(
        cells, backbone, num_classes=num_classes, anchors=anchors, neck_width=neck_width, head_width=head_width
    )
    return TwoStages(backbone, reader="fasterrcnn", norms=norms, **parts)


def pyramid_parts(
    cells: Cells, backbone: Backbone, *, num_classes: int, anchors: Sequence[int], neck_width: int, head_width: int
) -> dict[str, Any]:
    """Makes the parts of `TwoStages` on a pyramid, by the names of its arguments; arguments as in `on_pyramid`."""
    indices = map_indices(backbone, STRIDES, reader="fasterrcnn")
    shapes = shapes_of(anchors, [by_ratio([size]) for size in cells.sizes])
    pyramid = FeaturePyramid([backbone.channels[i] for i in indices], neck_width)
    return {
        "practice": cells.practice,
        "neck": nn.Sequential(OrderedDict(pyramid=pyramid, more=PooledLevel())),
        "proposals": ProposalHead(neck_width, neck_width, count=len(shapes[0]), scores=1),
        "anchors": Anchors(shapes, (*STRIDES, 64), centre=cells.centre, is_whole=cells.is_whole),
        "pool": RegionPooling(STRIDES, 7, kind=cells.kind),
        "head": hidden_head(49 * neck_width, head_width),
        "classifier": RegionClassifier(head_width, num_classes),
    }


def on_one_map(
    side: int,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    anchors: Sequence[int] = (),
    head_width: int = 4096,
    norms: Norms = "frozen",
) -> TwoStages:
    """Builds the paper's network: image (B, C, H, W) -> ProposedRegions, then `classify`.

    The backbone's poolings round up, as Caffe's do.

    Args:
        side: cells of a region along each side: 7 on VGG-16, 6 on ZF.
        backbone: must have a map at stride 16; only that is read.
        num_classes: things, without the background.
        anchors: width, height, width and so on in pixels of the input; empty for the published nine.
        head_width: units of each hidden layer.
        norms: whether the backbone's batch norms are trained, if it has any.
    """
    (index,) = map_indices(backbone, [STRIDE], reader="fasterrcnn_vgg16")
    channels = backbone.channels[index]
    round_up(backbone)
    shapes = shapes_of(anchors, NINE)
    return TwoStages(
        backbone,
        reader="fasterrcnn_vgg16",
        norms=norms,
        practice=PAPER,
        neck=nn.Identity(),
        proposals=ProposalHead(channels, channels, count=len(shapes[0]), scores=2),
        anchors=Anchors(shapes, [STRIDE]),
        pool=RegionPooling([STRIDE], side, kind="pool"),
        head=hidden_head(side**2 * channels, head_width, dropout=0.5),
        classifier=RegionClassifier(head_width, num_classes),
    )


class C4(TwoStages):
    """Proposes on conv4 and classifies with the backbone's conv5: image -> ProposedRegions, then `classify`.

    Arguments as in `TwoStages`; the backbone is a ResNet, and `head` makes features of regions behind its conv5.
    """

    backbone: ResNet

    @phase("backbone")
    def read(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.backbone.pool(self.backbone.stem(image))
        for stage in self.backbone.stages[:-1]:
            x = stage(x)
        return (x,)

    @phase("head")
    def classify(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> ClassifiedRegions:
        regions = self.backbone.stages[-1](self.pool(maps, boxes))  # (R, C, 7, 7)
        return self.classifier(self.head(regions))


def on_conv4(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    anchors: Sequence[int] = (),
    proposal_width: int = 512,
    norms: Norms = "frozen",
) -> C4:
    """Builds the C4 form: image (B, C, H, W) -> ProposedRegions, then `classify`.

    Args:
        backbone: a ResNet, whose last stage becomes the head of regions.
        num_classes: things, without the background.
        anchors: as in `on_one_map`.
        proposal_width: channels of the proposals' 3x3 convolution.
        norms: whether the backbone's batch norms are trained.

    Raises:
        RecipeError: the backbone is no ResNet.
    """
    if not isinstance(backbone, ResNet):
        raise RecipeError(
            f"the C4 form classifies regions with conv5 of a ResNet, and {type(backbone).__name__} has none: "
            "choose a resnet, or fasterrcnn, which takes every backbone with maps at strides 4 to 32"
        )
    shapes = shapes_of(anchors, NINE)
    return C4(
        backbone,
        reader="fasterrcnn_resnet101_c4",
        norms=norms,
        practice=PAPER,
        neck=nn.Identity(),
        proposals=ProposalHead(backbone.channels[-2], proposal_width, count=len(shapes[0]), scores=2),
        anchors=Anchors(shapes, [STRIDE]),
        pool=RegionPooling([STRIDE], 14, kind="pool"),
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        classifier=RegionClassifier(backbone.channels[-1], num_classes),
    )


def _row(
    build: Callable[..., nn.Module],
    backbone: str,
    params: int,
    source: str,
    *,
    input_hw: tuple[int, int],
    maps: Sequence[tuple[int, int, int]],
    count: int,
) -> Variant:
    return Variant(
        build=build,
        kind="composed",
        backbone=backbone,
        params=params,
        source=source,
        input=(3, *input_hw),
        output=(*maps, (count,), (count, 4), (4,), ()),
        classes=90 if backbone == "resnet50" else 20,
    )


def _pyramid(channels: int, side: int) -> list[tuple[int, int, int]]:
    return [(channels, side // stride, side // stride) for stride in STRIDES]


_small = partial(on_pyramid, EXACT, neck_width=128, head_width=256, norms="trained")
_release = partial(_row, input_hw=(600, 1000))

VARIANTS = {
    "fasterrcnn": _row(
        _small,
        "resnet18",
        13_738_424,
        "Ren et al. 2015 on a pyramid; counted by unpool summary",
        input_hw=(128, 128),
        maps=_pyramid(128, 128),
        count=3 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2),
    ),
    "fasterrcnn_resnet50_fpn": _row(
        partial(on_pyramid, TORCHVISION),
        "resnet50",
        41_755_286,
        "torchvision 0.28.0, fasterrcnn_resnet50_fpn",
        input_hw=(800, 800),
        maps=_pyramid(256, 800),
        count=3 * (200**2 + 100**2 + 50**2 + 25**2 + 13**2),
    ),
    "fasterrcnn_vgg16": _release(
        partial(on_one_map, 7),
        "vgg16",
        137_078_239,
        "Ren et al. 2015; rbgirshick/py-faster-rcnn, VGG16",
        maps=[(512, 38, 63)],
        count=9 * 38 * 63,
    ),
    "fasterrcnn_zf": _release(
        partial(on_one_map, 6),
        "zf",
        59_294_751,
        "Ren et al. 2015; rbgirshick/py-faster-rcnn, ZF",
        maps=[(256, 39, 64)],
        count=9 * 39 * 64,
    ),
    "fasterrcnn_resnet101_c4": _release(
        on_conv4,
        "resnet101",
        47_356_767,
        "He et al. 2015, appendix A; counted by hand",
        maps=[(1024, 38, 63)],
        count=9 * 38 * 63,
    ),
}
