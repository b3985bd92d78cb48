"""Which rule dilates which operation."""

import operator

import torch
from torch import fx, nn

from unpool.convert.dilation import border_rules, kernel_rules, map_rules, size_rules
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout
from unpool.ops.upsampling import fit, upsample
from unpool.tracing.rewriter import RuleTable

F = nn.functional
REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "norm", "logsumexp", "prod")

RULES = RuleTable(
    modules=(
        (nn.Conv2d, kernel_rules.conv),
        (nn.MaxPool2d, kernel_rules.max_pool),
        (nn.AvgPool2d, kernel_rules.average_pool),
        ((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), map_rules.subsample),
        (nn.Flatten, map_rules.flatten),
        ((nn.ConvTranspose2d, nn.Upsample, nn.PixelShuffle), map_rules.resize),
        (nn.modules.padding._ConstantPadNd, border_rules.pad_module),
        ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), border_rules.pad_module),
        (nn.GroupNorm, map_rules.group_norm_module),
    ),
    methods={
        **dict.fromkeys(REDUCTIONS, map_rules.reduce),
        "permute": map_rules.permute,
        **dict.fromkeys(("transpose", "swapaxes"), map_rules.transpose),
        "flatten": map_rules.flatten,
        "size": size_rules.size,
        **dict.fromkeys(("view", "reshape", "expand"), size_rules.view),
    },
    functions={
        F.conv2d: kernel_rules.conv_function,
        torch.conv2d: kernel_rules.conv_function,
        F.max_pool2d: kernel_rules.max_pool,
        torch.max_pool2d: kernel_rules.max_pool,
        F.avg_pool2d: kernel_rules.average_pool,
        F.adaptive_avg_pool2d: map_rules.subsample,
        F.adaptive_max_pool2d: map_rules.subsample,
        **dict.fromkeys((F.interpolate, upsample, fit), map_rules.resize),
        F.conv_transpose2d: map_rules.resize,
        F.pixel_shuffle: map_rules.resize,
        F.pad: border_rules.pad_function,
        operator.getitem: border_rules.slice_map,
        torch.flatten: map_rules.flatten,
        getattr: size_rules.attribute,
        torch.reshape: size_rules.view,
        **{getattr(torch, name): map_rules.reduce for name in REDUCTIONS},
        torch.permute: map_rules.permute,
        **dict.fromkeys((torch.transpose, torch.swapaxes), map_rules.transpose),
        F.group_norm: map_rules.group_norm_function,
        F.dropout: map_rules.dropout,
    },
    otherwise=map_rules.keep_operation,
)


def dilate_node(rewriter: DilationRewriter, node: fx.Node) -> None:
    """Writes the new node of an old one, and compares the two.

    Raises:
        NotConvertible: the operation has no exact counterpart.
    """
    if node.op == "placeholder":
        rewriter.put(node, rewriter.emit("placeholder", node.target, node.args))
        rewriter.finish(node, MapLayout((2, 3), (1, 1), (1, 1)) if rewriter.old(node).dim() == 4 else None)
    elif node.op == "get_attr":
        rewriter.copy(node)
        rewriter.finish(node, None)
    elif node.op == "output":
        rewriter.copy(node)
        rewriter.finish_output(node)
    else:
        rule = RULES.rule_for(node, rewriter.module(node))
        rewriter.finish(node, rule(rewriter, node) or rewriter.map_that_is_fine(node))
