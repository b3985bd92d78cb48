"""What each operation becomes on a finer grid."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from unpool.convert import padded, passing, windowed
from unpool.convert.rewriting import Map, Rewriting
from unpool.convert.sliced import sliced

Rule = Callable[[Rewriting, fx.Node], Map | None]
F = nn.functional


def rule(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Writes what becomes of `node`, and says where its values lie."""
    if node.op == "placeholder":
        rewriting.put(node, rewriting.emit("placeholder", node.target, node.args))
        return Map((2, 3), (1, 1), (1, 1)) if rewriting.value(node).dim() == 4 else None
    if node.op in ("get_attr", "output"):
        rewriting.copy(node)
        return None
    return _rule_of(rewriting, node)(rewriting, node)


def _rule_of(rewriting: Rewriting, node: fx.Node) -> Rule:
    if node.op == "call_module":
        module = rewriting.tree.get_submodule(str(node.target))
        return next((found for kind, found in MODULES if isinstance(module, kind)), passing.passed_on)
    if node.op == "call_method":
        return METHODS.get(str(node.target), passing.passed_on)
    return FUNCTIONS.get(node.target, passing.passed_on)


MODULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Conv2d, windowed.conv),
    (nn.MaxPool2d, windowed.max_pool),
    (nn.AvgPool2d, windowed.average_pool),
    ((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), passing.subsampled),
    (nn.Flatten, passing.flattened),
    ((nn.ConvTranspose2d, nn.Upsample, nn.PixelShuffle), passing.resized),
    (nn.modules.padding._ConstantPadNd, padded.pad_module),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), padded.pad_module),
    (nn.GroupNorm, passing.group_norm_module),
)

REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "prod")

METHODS: Mapping[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, passing.reduced),
    "permute": passing.permuted,
    **dict.fromkeys(("transpose", "swapaxes"), passing.transposed),
    "flatten": passing.flattened,
}

FUNCTIONS: Mapping[Any, Rule] = {
    F.conv2d: windowed.conv_function,
    torch.conv2d: windowed.conv_function,
    F.max_pool2d: windowed.max_pool,
    torch.max_pool2d: windowed.max_pool,
    F.avg_pool2d: windowed.average_pool,
    F.adaptive_avg_pool2d: passing.subsampled,
    F.adaptive_max_pool2d: passing.subsampled,
    F.interpolate: passing.resized,
    F.conv_transpose2d: passing.resized,
    F.pixel_shuffle: passing.resized,
    F.pad: padded.pad_function,
    operator.getitem: sliced,
    torch.flatten: passing.flattened,
    **{getattr(torch, name): passing.reduced for name in REDUCTIONS},
    torch.permute: passing.permuted,
    **dict.fromkeys((torch.transpose, torch.swapaxes), passing.transposed),
    F.group_norm: passing.group_norm_function,
    F.dropout: passing.dropout,
}
