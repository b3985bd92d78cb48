"""Translates torchvision's names of parameters and buffers to ours, and timm's of a VGG."""

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from unpool.errors import ModelFileError

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]  # pattern at the start of a name, its replacement


def _before(number: str) -> int:
    return int(number) - 1


RESNET: Rules = (  # the block's number stays, stages and layers count from 0
    (r"conv1\.", "backbone.stem.conv."),
    (r"bn1\.", "backbone.stem.norm."),
    (r"fc\.", "head.linear."),
    (
        r"layer(\d+)\.(\d+)\.conv(\d)\.",
        lambda m: f"backbone.stages.{_before(m[1])}.{m[2]}.branch.{_before(m[3])}.conv.",
    ),
    (r"layer(\d+)\.(\d+)\.bn(\d)\.", lambda m: f"backbone.stages.{_before(m[1])}.{m[2]}.branch.{_before(m[3])}.norm."),
    (r"layer(\d+)\.(\d+)\.downsample\.0\.", lambda m: f"backbone.stages.{_before(m[1])}.{m[2]}.shortcut.conv."),
    (r"layer(\d+)\.(\d+)\.downsample\.1\.", lambda m: f"backbone.stages.{_before(m[1])}.{m[2]}.shortcut.norm."),
)
SEGMENTATION: Rules = (  # a ResNet, and the auxiliary head
    *((rf"backbone\.{theirs}", ours) for theirs, ours in RESNET if theirs != r"fc\."),
    (r"aux_classifier\.0\.", "auxiliary.hidden.conv."),
    (r"aux_classifier\.1\.", "auxiliary.hidden.norm."),
    (r"aux_classifier\.4\.", "auxiliary.classify."),
)
FCN: Rules = (
    *SEGMENTATION,
    (r"classifier\.0\.", "head.hidden.conv."),
    (r"classifier\.1\.", "head.hidden.norm."),
    (r"classifier\.4\.", "head.classify."),
)
DEEPLABV3: Rules = (
    *SEGMENTATION,
    (r"classifier\.0\.convs\.4\.1\.", "head.pyramid.average.1.conv."),  # its layer 0 is the pooling
    (r"classifier\.0\.convs\.4\.2\.", "head.pyramid.average.1.norm."),
    (r"classifier\.0\.convs\.(\d)\.0\.", lambda m: f"head.pyramid.branches.{m[1]}.conv."),
    (r"classifier\.0\.convs\.(\d)\.1\.", lambda m: f"head.pyramid.branches.{m[1]}.norm."),
    (r"classifier\.0\.project\.0\.", "head.project.conv."),
    (r"classifier\.0\.project\.1\.", "head.project.norm."),
    (r"classifier\.1\.", "head.conv.conv."),
    (r"classifier\.2\.", "head.conv.norm."),
    (r"classifier\.4\.", "head.classify."),
)
PYRAMID: Rules = (  # a ResNet and the neck of a detector; files of before torchvision 0.14 have no ".0" behind a layer
    *((rf"backbone\.body\.{theirs}", ours) for theirs, ours in RESNET if theirs != r"fc\."),
    (r"backbone\.fpn\.inner_blocks\.(\d)\.(0\.|)", lambda m: f"neck.pyramid.lateral.{m[1]}."),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.(0\.|)", lambda m: f"neck.pyramid.smooth.{m[1]}."),
)
FASTER_RCNN: Rules = (
    *PYRAMID,
    (r"rpn\.head\.conv\.(0\.0\.|)", "proposals.conv."),
    (r"rpn\.head\.cls_logits\.", "proposals.objectness."),
    (r"rpn\.head\.bbox_pred\.", "proposals.deltas."),
    (r"roi_heads\.box_head\.", "head."),
    (r"roi_heads\.box_predictor\.cls_score\.", "classifier.scores."),
    (r"roi_heads\.box_predictor\.bbox_pred\.", "classifier.deltas."),
    # of Mask R-CNN, whose convolutions files of before torchvision 0.14 count from 1, and of Keypoint R-CNN
    (r"roi_heads\.mask_head\.(\d)\.0\.", lambda m: f"branch.conv{int(m[1]) + 1}."),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.", lambda m: f"branch.conv{m[1]}."),
    (r"roi_heads\.mask_predictor\.conv5_mask\.", "branch.deconv."),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.", "branch.logits."),
    (r"roi_heads\.keypoint_head\.(\d+)\.", lambda m: f"branch.conv{int(m[1]) // 2 + 1}."),
    (r"roi_heads\.keypoint_predictor\.kps_score_lowres\.", "branch.deconv."),
)
_SUBNETS = {"classification": "scores", "regression": "deltas"}
RETINANET: Rules = (
    *PYRAMID,
    (r"backbone\.fpn\.extra_blocks\.", "neck.more."),
    (r"head\.(classification|regression)_head\.conv\.(\d)\.0\.", lambda m: f"{_SUBNETS[m[1]]}.conv{m[2]}."),
    (r"head\.(classification|regression)_head\.conv\.(\d)\.(?!0)", lambda m: f"{_SUBNETS[m[1]]}.conv{int(m[2]) // 2}."),
    (r"head\.(classification|regression)_head\.(?:cls_logits|bbox_reg)\.", lambda m: f"{_SUBNETS[m[1]]}.last."),
)
SSD_BEHIND_VGG: Rules = (
    (r"backbone\.scale_weight", "extra.norm.weight"),
    (r"backbone\.extra\.0\.([135])\.", lambda m: f"backbone.stages.4.{_before(m[1]) // 2}.conv."),
    (r"backbone\.extra\.0\.7\.", "extra.fc."),
    (r"backbone\.extra\.([1-4])\.", lambda m: f"extra.more.{_before(m[1])}."),
    (r"head\.(classification|regression)_head\.module_list\.", lambda m: f"{_SUBNETS[m[1]]}."),
)
_PART = r"(conv|bn)\."
_OURS = {"conv": "conv.", "bn": "norm."}
GOOGLENET: Rules = (
    (rf"conv1\.{_PART}", lambda m: f"backbone.stages.0.conv1.{_OURS[m[1]]}"),
    (rf"conv2\.{_PART}", lambda m: f"backbone.stages.1.reduce.{_OURS[m[1]]}"),
    (rf"conv3\.{_PART}", lambda m: f"backbone.stages.1.conv2.{_OURS[m[1]]}"),
    (
        rf"inception(\d)(\w)\.branch(\d)\.(\d\.|){_PART}",
        lambda m: f"backbone.stages.{_before(m[1])}.{m[1]}{m[2]}.branches.{_before(m[3])}.{m[4]}{_OURS[m[5]]}",
    ),
    (rf"aux1\.conv\.{_PART}", lambda m: f"auxiliary.4a.conv.{_OURS[m[1]]}"),
    (rf"aux2\.conv\.{_PART}", lambda m: f"auxiliary.4d.conv.{_OURS[m[1]]}"),
    (r"aux1\.fc", "auxiliary.4a.fc"),
    (r"aux2\.fc", "auxiliary.4d.fc"),
    (r"fc\.", "head.linear."),
)
ALEXNET: Rules = (
    (r"features\.0\.", "features.conv1."),
    (r"features\.3\.", "features.conv2."),
    (r"features\.6\.", "features.conv3."),
    (r"features\.8\.", "features.conv4."),
    (r"features\.10\.", "features.conv5."),
    (r"classifier\.1\.", "head.fc6."),
    (r"classifier\.4\.", "head.fc7."),
    (r"classifier\.6\.", "head.fc8."),
)
VGG_HEAD: Rules = (
    (r"classifier\.0\.", "head.fc6."),
    (r"classifier\.3\.", "head.fc7."),
    (r"classifier\.6\.", "head.fc8."),
)


TIMMS_VGG_HEAD: Rules = (  # its two hidden layers are convolutions over the whole map
    (r"pre_logits\.fc1\.", "head.fc6."),
    (r"pre_logits\.fc2\.", "head.fc7."),
    (r"head\.fc\.", "head.fc8."),
)


def from_timms_vgg(tensors: Mapping[str, Tensor], *, strict: bool = True) -> dict[str, Tensor]:
    """Returns the tensors of timm's VGG under the names and in the shapes of ours.

    Raises:
        ModelFileError: as `our_names` does.
    """
    names = _renamed(tensors, (*_vgg_layers(tensors), *TIMMS_VGG_HEAD), "VGGs, in timm's form", strict=strict)
    renamed = {ours: tensors[theirs] for theirs, ours in names.items()}
    return {name: t.flatten(1) if name.startswith("head.") and t.dim() > 1 else t for name, t in renamed.items()}


def our_names(tensors: Mapping[str, Tensor], *, strict: bool = True) -> dict[str, str]:
    """Returns our name for each of torchvision's names in a checkpoint; the names decide the family.

    Args:
        tensors: a `state_dict` of one of torchvision's networks.
        strict: whether every name must be one of that family's; else half of them, and the others are kept.

    Raises:
        ModelFileError: a name, or more than half of them, are of no network of that family.
    """
    rules, family = _rules_of(tensors)
    return _renamed(tensors, rules, family, strict=strict)


def _rules_of(tensors: Mapping[str, Tensor]) -> tuple[Rules, str]:
    if "inception3a.branch1.conv.weight" in tensors:
        return GOOGLENET, "GoogLeNet"
    if "backbone.conv1.weight" in tensors:
        is_deeplab = "classifier.0.project.0.weight" in tensors
        return (DEEPLABV3, "DeepLabv3") if is_deeplab else (FCN, "FCN")
    if "backbone.body.conv1.weight" in tensors:
        return (FASTER_RCNN, "Faster R-CNN") if "rpn.head.cls_logits.weight" in tensors else (RETINANET, "RetinaNet")
    if "backbone.scale_weight" in tensors:
        vgg = _vgg_layers({name.removeprefix("backbone."): tensor for name, tensor in tensors.items()})
        return (*((rf"backbone\.{theirs}", ours) for theirs, ours in vgg), *SSD_BEHIND_VGG), "SSD300"
    if "features.0.weight" not in tensors:
        return RESNET, "ResNets, and there is no sign of a VGG, AlexNet or GoogLeNet either"
    if "classifier.1.weight" in tensors:
        return ALEXNET, "AlexNet"
    return (*_vgg_layers(tensors), *VGG_HEAD), "VGGs"


def _renamed(names: Iterable[str], rules: Rules, family: str, *, strict: bool) -> dict[str, str]:
    renamed, unknown = {}, []
    for name in names:
        rule = next(((match, ours) for theirs, ours in rules if (match := re.match(theirs, name))), None)
        if rule is None:
            unknown.append(name)
            renamed[name] = name
        else:
            match, ours = rule
            renamed[name] = (ours if isinstance(ours, str) else ours(match)) + name[match.end() :]
    if unknown and (strict or 2 * len(unknown) > len(renamed)):
        raise ModelFileError(f"{unknown[0]} is no name of torchvision's {family}: give the weights of one such network")
    return renamed


def _vgg_layers(tensors: Mapping[str, Tensor]) -> Rules:
    """Rules for a VGG, whose layers torchvision numbers through; a gap is the pooling that ends a stage."""
    rules = []
    numbered = {name: int(match[1]) for name in tensors if (match := re.match(r"features\.(\d+)\.", name))}
    convs = sorted({number for name, number in numbered.items() if tensors[name].dim() == 4})
    step = 3 if "features.1.weight" in tensors else 2  # convolution, (norm,) ReLU
    stage, layer = 0, 0
    for before, index in zip((0, *convs), convs, strict=False):
        if index - before > step:
            stage, layer = stage + 1, 0
        rules.append((rf"features\.{index}\.", f"backbone.stages.{stage}.{layer}.conv."))
        rules.append((rf"features\.{index + 1}\.", f"backbone.stages.{stage}.{layer}.norm."))
        layer += 1
    return tuple(rules)
