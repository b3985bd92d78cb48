"""What each operation of a classifier becomes where it slides over a larger image."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding import head_rules, kernel_rules
from unpool.convert.sliding.layout import Place, joined
from unpool.convert.sliding.rewriter import Sliding
from unpool.tracing import arguments

Rule = Callable[[Sliding, fx.Node, Place], None]
F = nn.functional
AVERAGE = (
    "a map with an average over the window (as squeeze-and-excitation does), which is another one for each position "
    "of the classifier"
)


def rule(sliding: Sliding, node: fx.Node) -> None:
    """Writes what becomes of `node`, and notes where its values lie."""
    if node.op == "placeholder":
        _image(sliding, node)
        return
    placed = [sliding.places[used] for used in node.all_input_nodes]
    if node.op == "output" or all(p is None for p in placed):
        sliding.put(node, sliding.copy(node), None)
    elif any(isinstance(p, tuple) for p in placed):
        _picked(sliding, node)
    else:
        place = _joined(sliding, node)
        _rule_of(sliding, node)(sliding, node, place)


def _image(sliding: Sliding, node: fx.Node) -> None:
    if sliding.places:
        sliding.refuse(node, "the network takes more than one image")
    image = sliding.emit("placeholder", node.target, node.args)
    checked = sliding.call(large_enough, image, sliding.size_hw)
    sliding.put(node, checked, Place(size=sliding.size_hw, stride=(1, 1), low=(0, 0), high=(0, 0)))


def large_enough(image: Tensor, least: tuple[int, int]) -> Tensor:
    """The image as it is.

    Raises:
        ValueError: it is smaller than those of the classifier.
    """
    if image.shape[-2] < least[0] or image.shape[-1] < least[1]:
        raise ValueError(
            f"the image is {tuple(image.shape[-2:])} (H, W) and the classifier's own size is {least}: give an image "
            "of at least that, or enlarge it"
        )
    return image


def _picked(sliding: Sliding, node: fx.Node) -> None:
    """One of several maps that an operation gave."""
    if node.target is not operator.getitem or not isinstance(node.args[1], int):
        sliding.refuse(node, "it takes several maps at once")
    placed: Any = sliding.places[arguments.first(node)]
    sliding.put(node, sliding.copy(node), placed[node.args[1]])


def _joined(sliding: Sliding, node: fx.Node) -> Place:
    """Where the maps lie that go into an operation."""
    maps = [place for used in node.all_input_nodes if isinstance(place := sliding.places[used], Place)]
    place = joined(maps)
    if place is None:
        is_average = any(p.size == (1, 1) != q.size for p in maps for q in maps)
        sliding.refuse(node, f"it joins {AVERAGE if is_average else 'maps of different strides'}")
    return place


def _rule_of(sliding: Sliding, node: fx.Node) -> Rule:
    if node.op == "call_module":
        module = sliding.module(node)
        return next((found for kind, found in MODULES if isinstance(module, kind)), head_rules.general)
    if node.op == "call_method":
        return head_rules.general
    return FUNCTIONS.get(node.target, head_rules.general)


MODULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Conv2d, kernel_rules.conv),
    (nn.MaxPool2d, kernel_rules.max_pool),
    (nn.AvgPool2d, kernel_rules.average_pool),
    (nn.AdaptiveAvgPool2d, head_rules.adaptive),
    (nn.Linear, head_rules.linear),
    (nn.modules.padding._ConstantPadNd, kernel_rules.pad_module),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), kernel_rules.pad_module),
)

FUNCTIONS: Mapping[Any, Rule] = {
    F.conv2d: kernel_rules.conv_function,
    torch.conv2d: kernel_rules.conv_function,
    F.max_pool2d: kernel_rules.max_pool,
    torch.max_pool2d: kernel_rules.max_pool,
    F.avg_pool2d: kernel_rules.average_pool,
    F.adaptive_avg_pool2d: head_rules.adaptive,
    F.pad: kernel_rules.pad_function,
    operator.getitem: kernel_rules.sliced,
    F.dropout: head_rules.dropout,
}
