"""Which rule rewrites which operation of a classifier."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding import head_rules, kernel_rules, window_averages
from unpool.convert.sliding.map_layout import WindowLayout, common_layout
from unpool.convert.sliding.rewriter import SlidingRewriter
from unpool.tracing.arguments import input_node
from unpool.tracing.rewriter import RuleTable

F = nn.functional
AVERAGE = (
    "a map with an average over the window (as squeeze-and-excitation does), which is another one for each position "
    "of the classifier"
)

RULES = RuleTable(
    modules=(
        (nn.Conv2d, kernel_rules.conv),
        (nn.MaxPool2d, kernel_rules.max_pool),
        (nn.AvgPool2d, kernel_rules.average_pool),
        (nn.AdaptiveAvgPool2d, window_averages.adaptive_pool),
        (nn.Linear, head_rules.linear),
        (nn.modules.padding._ConstantPadNd, kernel_rules.pad_module),
        ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), kernel_rules.pad_module),
    ),
    methods={},
    functions={
        F.conv2d: kernel_rules.conv_function,
        torch.conv2d: kernel_rules.conv_function,
        F.max_pool2d: kernel_rules.max_pool,
        torch.max_pool2d: kernel_rules.max_pool,
        F.avg_pool2d: kernel_rules.average_pool,
        F.adaptive_avg_pool2d: window_averages.adaptive_pool,
        F.pad: kernel_rules.pad_function,
        operator.getitem: kernel_rules.slice_map,
        F.dropout: head_rules.dropout,
    },
    otherwise=head_rules.keep_operation,
)


def slide_node(rewriter: SlidingRewriter, node: fx.Node) -> None:
    """Writes the new node of an old one.

    Raises:
        NotConvertible: the operation cannot slide.
    """
    if node.op == "placeholder":
        _put_image(rewriter, node)
        return
    layouts = [rewriter.layouts[used] for used in node.all_input_nodes]
    if node.op == "output" or all(layout is None for layout in layouts):
        rewriter.put(node, rewriter.emit_copy(node))
    elif any(isinstance(layout, tuple) for layout in layouts):
        _pick(rewriter, node)
    else:
        layout = _common_layout(rewriter, node)
        RULES.rule_for(node, rewriter.module(node))(rewriter, node, layout)


def _put_image(rewriter: SlidingRewriter, node: fx.Node) -> None:
    if rewriter.layouts:
        rewriter.refuse(node, "the network takes more than one image")
    image = rewriter.emit("placeholder", node.target, node.args)
    checked = rewriter.call(require_size, image, rewriter.size_hw)
    rewriter.put(node, checked, WindowLayout(size=rewriter.size_hw, stride=(1, 1), low=(0, 0), high=(0, 0)))


def require_size(image: Tensor, least: tuple[int, int]) -> Tensor:
    """Returns the image.

    Raises:
        ValueError: it has fewer rows or columns than the classifier's images.
    """
    if image.shape[-2] < least[0] or image.shape[-1] < least[1]:
        raise ValueError(
            f"the image is {tuple(image.shape[-2:])} (H, W) and the classifier's input size is {least}: give an image "
            "of at least that, or enlarge it"
        )
    return image


def _pick(rewriter: SlidingRewriter, node: fx.Node) -> None:
    """Picks one of the maps that an operation returned."""
    if node.target is not operator.getitem or not isinstance(node.args[1], int):
        rewriter.refuse(node, "it takes several maps at once")
    layouts: Any = rewriter.layouts[input_node(node)]
    rewriter.put(node, rewriter.emit_copy(node), layouts[node.args[1]])


def _common_layout(rewriter: SlidingRewriter, node: fx.Node) -> WindowLayout:
    """The layout of the maps that an operation reads."""
    layouts = [rewriter.layouts[used] for used in node.all_input_nodes]
    maps = [layout for layout in layouts if isinstance(layout, WindowLayout)]
    common = common_layout(maps)
    if common is None:
        is_average = any(p.size == (1, 1) != q.size for p in maps for q in maps)
        rewriter.refuse(node, f"it joins {AVERAGE if is_average else 'maps of different strides'}")
    return common
