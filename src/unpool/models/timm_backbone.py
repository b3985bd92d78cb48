"""timm's networks (Wightman 2019, github.com/huggingface/pytorch-image-models) as backbones and as classifiers.

`timm/convnext_tiny` names a backbone as other names do. The promise of a backbone is checked when one is built: one
map a stride, each about H/stride by W/stride at every image size. Networks without strided stages (ViT), with valid
convolutions (Inception) or for one image size only (Swin) are refused with the reason. Maps with their channels last
are permuted; where a network takes only sizes that its coarsest stride divides, or lays its cells by the size of the
image (TensorFlow's "same" padding, in tf_*), the image is padded with zeros at the bottom and right and the maps are
cropped. Parameters have the names of timm's classifier. Weights are random: nothing
is downloaded.
"""

from difflib import get_close_matches
from fnmatch import fnmatch
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import EnvironmentFault, RecipeError, quoted
from unpool.models.catalog import Variant
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import evaluating
from unpool.types import Backbone

PREFIX = "timm/"
SIZE = (97, 131)  # (H, W) on which a network has to keep its promise; odd at every stride


class Promise(NamedTuple):
    """What a network was shown to need before it is used.

    Attributes:
        multiple: its image's height and width have to be multiples of this.
        is_nhwc: its maps have their channels last.
    """

    multiple: int
    is_nhwc: bool


class TimmBackbone(Backbone):
    """timm's stages: image (B, in_channels, H, W) -> a map for each stride that the network has.

    Args:
        name: timm's name, without "timm/".
        in_channels: channels of the image.

    Raises:
        RecipeError: timm has no such network, or it does not keep the promise of a backbone.
    """

    def __init__(self, name: str, /, *, in_channels: int = 3) -> None:
        super().__init__()
        features = _features(name, in_channels)
        self.channels = tuple(features.feature_info.channels())
        self.strides = tuple(features.feature_info.reduction())
        self.multiple, self.is_nhwc = _promise(name, features, in_channels)
        self._paths = _names_in_classifier(name, features)
        for key, path in self._paths.items():
            _add_module(self, path, features.get_submodule(key))
        self._features = (features,)  # in a tuple, so not a module of this one: its modules have timm's names here

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self._running().forward(_padded(image, self.multiple))
        if self.is_nhwc:
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        if self.multiple == 1:
            return tuple(maps)
        height, width = image.shape[-2:]
        pairs = zip(maps, self.strides, strict=True)
        return tuple(x[:, :, : (height + s - 1) // s, : (width + s - 1) // s] for x, s in pairs)

    def _running(self) -> Any:
        """timm's network, of this one's modules also where they were exchanged, and in its mode."""
        features = self._features[0]
        for key, path in self._paths.items():
            module = self.get_submodule(path)
            if features._modules[key] is not module:
                features._modules[key] = module
        features.training = self.training
        return features


def names(pattern: str = "*") -> list[str]:
    """timm's names with "timm/" before them, those that fit a shell pattern or hold it."""
    wild = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [name for name in (PREFIX + plain for plain in _timm().list_models()) if fnmatch(name, wild)]


def is_trained(name: str) -> bool:
    """Whether timm has weights for `name`, which begins with "timm/"."""
    return _timm().is_model_pretrained(_known(name))


def classifier_row(name: str) -> Variant:
    """`name`, which begins with "timm/", as a whole classifier.

    Raises:
        RecipeError: timm has no such network.
        EnvironmentFault: timm is not installed.
    """
    timm = _timm()
    known = _known(name)
    published = timm.get_pretrained_cfg(known)
    channels, height, width = published.input_size if published else (3, 224, 224)
    classes = (published and published.num_classes) or 1000
    return Variant(
        build=partial(_classifier, known),
        kind="whole",
        params=None,
        source=f"timm {timm.__version__}",
        input=(channels, height, width),
        output=(classes,),
        classes=classes,
    )


def backbone_row(name: str) -> Variant:
    """`name`, which begins with "timm/", as a backbone; raises what `classifier_row` raises."""
    row = classifier_row(name)
    return Variant(
        build=partial(TimmBackbone, _known(name)),
        kind="backbone",
        params=None,
        source=row.source,
        input=row.input,
        output=row.output,
        classes=row.classes,
    )


def probe(name: str) -> TimmBackbone:
    """The backbone without values, for its channels and strides; raises what building it would."""
    with torch.device("meta"):
        return TimmBackbone(_known(name))


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise EnvironmentFault(
            f"networks called {PREFIX}... need timm, which cannot be imported ({error}): pip install 'unpool[timm]'"
        ) from error
    return timm


def _known(name: str) -> str:
    """timm's name of a network, without "timm/"."""
    plain, known = name.removeprefix(PREFIX), _timm().list_models()
    if plain not in known:
        near = get_close_matches(plain, known, n=3, cutoff=0.5)
        hint = (
            f"did you mean: {', '.join(PREFIX + n for n in near)}?"
            if near
            else f"`unpool models '{PREFIX}*'` lists all"
        )
        raise RecipeError(f"timm has no network called {quoted(plain)}; {hint}")
    return plain


def _classifier(name: str, *, in_channels: int, num_classes: int) -> nn.Module:
    return _timm().create_model(name, pretrained=False, in_chans=in_channels, num_classes=num_classes)


def _features(name: str, in_channels: int) -> Any:
    """timm's network that gives a list of maps."""
    timm = _timm()
    features, strides = None, []
    with foreign_code() as failure:
        features = timm.create_model(name, pretrained=False, features_only=True, in_chans=in_channels)
        strides = list(features.feature_info.reduction())
    if failure:
        raise _refusal(name, f"timm does not give its maps ({failure})") from failure.error
    if sorted(set(strides)) != strides:
        raise _refusal(name, f"its maps have strides {strides}: it has no stages that halve the map")
    return features


def _promise(name: str, features: Any, in_channels: int) -> Promise:
    """Runs the network once or more."""
    reason = ""
    coarsest = features.feature_info.reduction()[-1]
    with evaluating(features), torch.no_grad():
        for multiple in (*(() if _lies_by_size(features) else (1,)), coarsest, 2 * coarsest):
            with foreign_code() as failure:
                return Promise(multiple, _has_channels_last(features, in_channels, multiple))
            reason = str(failure)
    raise _refusal(name, reason)


def _lies_by_size(features: nn.Module) -> bool:
    """Whether a cell reads other pixels where the image has one row or column more."""
    layers = _timm().layers
    kinds = (layers.Conv2dSame, layers.StdConv2dSame, layers.ScaledStdConv2dSame, layers.CondConv2d)
    pools = (layers.pool2d_same.MaxPool2dSame, layers.pool2d_same.AvgPool2dSame)
    steps = [module.stride for module in features.modules() if isinstance(module, kinds + pools)]
    return any(step not in (1, (1, 1)) for step in steps)


def _has_channels_last(features: Any, in_channels: int, multiple: int) -> bool:
    """Whether its maps are (B, H, W, C); raises ValueError where one has another size than its stride says."""
    device = next(features.parameters()).device
    image = _padded(torch.zeros(1, in_channels, *SIZE, device=device), multiple)
    height, width = image.shape[-2:]
    info, last = features.feature_info, []
    for x, channels, stride in zip(features(image), info.channels(), info.reduction(), strict=True):
        size = (height / stride, width / stride)
        nchw = x.shape[1] == channels and _is_about(x.shape[2:], size)
        nhwc = x.shape[-1] == channels and _is_about(x.shape[1:-1], size)
        if not nchw and not nhwc:
            raise ValueError(
                f"an image of {height}x{width} gives a map {tuple(x.shape[1:])} where stride {stride} and "
                f"{channels} channels were promised"
            )
        last.append(nhwc and not nchw)
    return any(last)


def _is_about(size: torch.Size, wanted: tuple[float, float]) -> bool:
    return len(size) == 2 and all(abs(a - b) < 1 for a, b in zip(size, wanted, strict=True))


def _padded(image: Tensor, multiple: int) -> Tensor:
    if multiple == 1:
        return image
    return nn.functional.pad(image, (0, -image.shape[-1] % multiple, 0, -image.shape[-2] % multiple))


def _names_in_classifier(name: str, features: Any) -> dict[str, str]:
    """The names of the network's parts in timm's classifier; timm joins those of two levels by "_"."""
    parts = [key for key, _ in features.named_children()]
    if not any("." in path and path.replace(".", "_") in parts for path in features.feature_info.module_name()):
        return dict(zip(parts, parts, strict=True))
    with torch.device("meta"):
        whole = _timm().create_model(name, pretrained=False, num_classes=0)
    names = {path.replace(".", "_"): path for path, _ in whole.named_modules() if path.count(".") < 2}
    names.update((path, path) for path, _ in whole.named_children())
    return {key: names.get(key, key) for key in parts}


def _add_module(root: nn.Module, path: str, module: nn.Module) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        if folder not in dict(root.named_children()):
            root.add_module(folder, nn.Module())
        root = root.get_submodule(folder)
    root.add_module(last, module)


def _refusal(name: str, reason: str) -> RecipeError:
    return RecipeError(f"{PREFIX}{name} cannot stand as a backbone: {reason}; choose another one")
