"""The networks of the conversion table, and how each library builds and dilates them.

Every network gives its maps from fine to coarse. Weights are drawn anew: batch-norm statistics and affine parameters,
and whatever else is one value throughout (layer scales of 1e-6, gains of zero), behind which no difference would show.
"""

import copy
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from unpool.models import BACKBONES
from unpool.tracing.recorder import evaluating

HEADS = ("avgpool", "global_pool", "dropout", "classifier", "fc", "head")  # where the maps of a classifier end
Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One line of the table.

    Attributes:
        family: what it counts as.
        ours: library and name of the network that we convert; "timm-maps" is timm's with features_only.
        timm, smp, torchvision: its name there; empty where the library has not got it, or, as torchvision for all but
            ResNets, no way to dilate it.
        strides: output strides that are measured.
    """

    family: str
    ours: str
    timm: str = ""
    smp: str = ""
    torchvision: str = ""
    strides: tuple[int, ...] = (16, 8)

    @property
    def name(self) -> str:
        return self.ours.partition("/")[2]

    @property
    def library(self) -> str:
        return self.ours.partition("/")[0].removesuffix("-maps")


class Trunk(nn.Module):
    """The children of a classifier up to its head, one after the other: the last map of each size.

    Args:
        network: its children run in the order in which they were registered.
        kept: numbers of the children whose maps are given; found by running it where not given.
    """

    def __init__(self, network: nn.Module, kept: Sequence[int] = ()) -> None:
        super().__init__()
        children = list(network.named_children())
        end = next((i for i, (name, _) in enumerate(children) if name in HEADS), len(children))
        parts = [module for _, module in children[:end]]
        self.parts = nn.ModuleList(parts[0] if len(parts) == 1 else parts)
        self.kept = tuple(kept) or self._last_of_each_size()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps, x = [], image
        for i, part in enumerate(self.parts):
            x = part(x)
            if i in self.kept:
                maps.append(x)
        return tuple(maps)

    def _last_of_each_size(self) -> tuple[int, ...]:
        x, sizes = torch.zeros(1, 3, 128, 160), []
        with evaluating(self), torch.no_grad():
            for part in self.parts:
                x = part(x)
                sizes.append(x.shape[2:])
        return tuple(i for i, size in enumerate(sizes) if size not in sizes[i + 1 :])


def build(source: str) -> nn.Module:
    """The network of a line, in evaluation mode, its weights drawn anew."""
    library, _, name = source.partition("/")
    torch.manual_seed(0)
    if library == "unpool":
        network: nn.Module = BACKBONES[name].build()
    elif library == "torchvision":
        network = Trunk(_torchvision(name))
    else:
        timm: Any = importlib.import_module("timm")
        network = timm.create_model(name, pretrained=False, features_only=library == "timm-maps")
        network = network if library == "timm-maps" else Trunk(network)
    return drawn(network)


@torch.no_grad()
def drawn(network: nn.Module) -> nn.Module:
    """The network in evaluation mode with new statistics and without constant parameters."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    for parameter in network.parameters():
        if parameter.min() == parameter.max():
            is_bias = parameter.dim() == 1 and not parameter.any()
            parameter.uniform_(*((-0.2, 0.2) if is_bias else (0.5, 1.5)), generator=generator)
    return network.eval()


def by_timm(name: str, output_stride: int) -> Pair:
    """timm's maps, and those that it gives with `output_stride`."""
    timm: Any = importlib.import_module("timm")
    before = drawn(timm.create_model(name, pretrained=False, features_only=True))
    after = timm.create_model(name, pretrained=False, features_only=True, output_stride=output_stride)
    after.load_state_dict(before.state_dict())
    return before, after.eval()


def by_smp(name: str, output_stride: int) -> Pair:
    """An encoder of segmentation_models.pytorch, and what `make_dilated` makes of it."""
    smp: Any = importlib.import_module("segmentation_models_pytorch")
    before = drawn(smp.encoders.get_encoder(name, in_channels=3, depth=5, weights=None))
    after = copy.deepcopy(before)
    after.make_dilated(output_stride)  # pyright: ignore[reportCallIssue]
    return before, after


def by_torchvision(name: str, output_stride: int) -> Pair:
    """torchvision's maps, and those with `replace_stride_with_dilation`, which its ResNets alone have."""
    before = drawn(_torchvision(name))
    replaced = [8 * factor > output_stride for factor in (1, 2, 4)]
    if output_stride < 4:
        raise ValueError(f"replace_stride_with_dilation begins at stride 4, output stride {output_stride} is finer")
    after = _torchvision(name, replace_stride_with_dilation=replaced)
    after.load_state_dict(before.state_dict())
    trunk = Trunk(before)
    return trunk, Trunk(after.eval(), trunk.kept)


PEERS: dict[str, Callable[[str, int], Pair]] = {"timm": by_timm, "smp": by_smp, "torchvision": by_torchvision}
MODULES = {"timm": "timm", "smp": "segmentation_models_pytorch", "torchvision": "torchvision"}


def _torchvision(name: str, **options: Any) -> nn.Module:
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    return torchvision.models.get_model(name, weights=None, **options)


def _same(library: str, family: str, name: str, **peers: Any) -> Network:
    """A network that goes by one name in the library whose module we convert and in that library's column."""
    has_own = library == "timm" or (library == "torchvision" and family in ("ResNet", "ResNeXt"))
    own = {library: name} if has_own else {}
    is_maps = library == "timm" and not peers.pop("trunk", False)
    return Network(family=family, ours=f"{library}{'-maps' * is_maps}/{name}", **own, **peers)


ALL = (16, 8, 1)
NETWORKS = (
    _same("unpool", "ResNet", "resnet18", timm="resnet18", smp="resnet18", torchvision="resnet18"),
    _same("torchvision", "ResNet", "resnet50", timm="resnet50", smp="resnet50"),
    _same("unpool", "ResNet", "resnet101", timm="resnet101", smp="resnet101", torchvision="resnet101"),
    _same("unpool", "ResNet v2", "preresnet50", timm="resnetv2_50"),
    _same("timm", "ResNet, anti-aliased", "resnetaa50"),
    _same("timm", "ResNet, anti-aliased", "resnetblur50"),
    _same("torchvision", "ResNeXt", "resnext50_32x4d", timm="resnext50_32x4d", smp="resnext50_32x4d"),
    _same("timm", "SENet", "seresnet50"),
    _same("timm", "SENet", "legacy_seresnet50", smp="se_resnet50"),
    _same("timm", "SKNet", "skresnet18", smp="timm-skresnet18"),
    _same("timm", "Res2Net", "res2net50_26w_4s"),
    _same("timm", "ResNeSt", "resnest14d"),
    _same("timm", "DPN", "dpn68", smp="dpn68"),
    _same("unpool", "VGG", "vgg16", timm="vgg16", smp="vgg16"),
    _same("torchvision", "VGG", "vgg16_bn", timm="vgg16_bn", smp="vgg16_bn"),
    _same("torchvision", "AlexNet", "alexnet"),
    _same("torchvision", "DenseNet", "densenet121", timm="densenet121", smp="densenet121"),
    _same("unpool", "GoogLeNet", "googlenet"),
    _same("torchvision", "GoogLeNet", "googlenet"),
    _same("timm", "Inception", "inception_v3"),
    _same("timm", "Inception", "inception_v4", smp="inceptionv4"),
    _same("timm", "Xception", "legacy_xception", smp="xception", trunk=True),
    _same("timm", "Xception", "xception41", trunk=True),
    _same("torchvision", "SqueezeNet", "squeezenet1_1", strides=ALL),
    _same("torchvision", "ShuffleNet v2", "shufflenet_v2_x0_5", strides=ALL),
    _same("torchvision", "MNASNet", "mnasnet1_0", timm="mnasnet_100"),
    _same("torchvision", "MobileNet", "mobilenet_v2", timm="mobilenetv2_100", smp="mobilenet_v2"),
    _same("timm", "MobileNet", "mobilenetv3_small_100", strides=ALL),
    _same("torchvision", "MobileNet", "mobilenet_v3_large", timm="mobilenetv3_large_100"),
    _same("timm", "MobileOne", "mobileone_s0", smp="mobileone_s0"),
    _same("timm", "GhostNet", "ghostnet_050"),
    _same("timm", "EfficientNet", "efficientnet_b0", smp="efficientnet-b0"),
    _same("timm", "EfficientNet", "tf_efficientnet_b0", smp="timm-efficientnet-b0"),
    _same("timm", "EfficientNet v2", "tf_efficientnetv2_b0"),
    _same("timm", "ReXNet", "rexnet_100"),
    _same("timm", "RegNet", "regnety_004"),
    _same("torchvision", "RegNet", "regnet_x_400mf", timm="regnetx_004"),
    _same("timm", "NF-RegNet", "nf_regnet_b0"),
    _same("timm", "NFNet", "nfnet_l0"),
    _same("timm", "ConvNeXt", "convnext_atto"),
    _same("timm", "HRNet", "hrnet_w18_small"),
    _same("timm", "DLA", "dla34"),
)
