"""What each operation becomes on a finer grid."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from unpool.convert.dilation import border_rules, kernel_rules, map_rules
from unpool.convert.dilation.rewriter import Map, Rewriting

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
        return next((found for kind, found in MODULES if isinstance(module, kind)), map_rules.passed_on)
    if node.op == "call_method":
        return METHODS.get(str(node.target), map_rules.passed_on)
    return FUNCTIONS.get(node.target, map_rules.passed_on)


MODULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Conv2d, kernel_rules.conv),
    (nn.MaxPool2d, kernel_rules.max_pool),
    (nn.AvgPool2d, kernel_rules.average_pool),
    ((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), map_rules.subsampled),
    (nn.Flatten, map_rules.flattened),
    ((nn.ConvTranspose2d, nn.Upsample, nn.PixelShuffle), map_rules.resized),
    (nn.modules.padding._ConstantPadNd, border_rules.pad_module),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), border_rules.pad_module),
    (nn.GroupNorm, map_rules.group_norm_module),
)

REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "prod")

METHODS: Mapping[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, map_rules.reduced),
    "permute": map_rules.permuted,
    **dict.fromkeys(("transpose", "swapaxes"), map_rules.transposed),
    "flatten": map_rules.flattened,
}

FUNCTIONS: Mapping[Any, Rule] = {
    F.conv2d: kernel_rules.conv_function,
    torch.conv2d: kernel_rules.conv_function,
    F.max_pool2d: kernel_rules.max_pool,
    torch.max_pool2d: kernel_rules.max_pool,
    F.avg_pool2d: kernel_rules.average_pool,
    F.adaptive_avg_pool2d: map_rules.subsampled,
    F.adaptive_max_pool2d: map_rules.subsampled,
    F.interpolate: map_rules.resized,
    F.conv_transpose2d: map_rules.resized,
    F.pixel_shuffle: map_rules.resized,
    F.pad: border_rules.pad_function,
    operator.getitem: border_rules.sliced,
    torch.flatten: map_rules.flattened,
    **{getattr(torch, name): map_rules.reduced for name in REDUCTIONS},
    torch.permute: map_rules.permuted,
    **dict.fromkeys((torch.transpose, torch.swapaxes), map_rules.transposed),
    F.group_norm: map_rules.group_norm_function,
    F.dropout: map_rules.dropout,
}
