"""What each operation of a classifier becomes where it slides over a larger image."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from unpool.convert import arguments, by_position, sliding_heads, sliding_windows
from unpool.convert.places import Place, joined
from unpool.convert.sliding import Sliding

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
    checked = sliding.call(by_position.large_enough, image, sliding.size_hw)
    sliding.put(node, checked, Place(size=sliding.size_hw, stride=(1, 1), low=(0, 0), high=(0, 0)))


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
        return next((found for kind, found in MODULES if isinstance(module, kind)), sliding_heads.general)
    if node.op == "call_method":
        return sliding_heads.general
    return FUNCTIONS.get(node.target, sliding_heads.general)


MODULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Conv2d, sliding_windows.conv),
    (nn.MaxPool2d, sliding_windows.max_pool),
    (nn.AvgPool2d, sliding_windows.average_pool),
    (nn.AdaptiveAvgPool2d, sliding_heads.adaptive),
    (nn.Linear, sliding_heads.linear),
    (nn.modules.padding._ConstantPadNd, sliding_windows.pad_module),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), sliding_windows.pad_module),
)

FUNCTIONS: Mapping[Any, Rule] = {
    F.conv2d: sliding_windows.conv_function,
    torch.conv2d: sliding_windows.conv_function,
    F.max_pool2d: sliding_windows.max_pool,
    torch.max_pool2d: sliding_windows.max_pool,
    F.avg_pool2d: sliding_windows.average_pool,
    F.adaptive_avg_pool2d: sliding_heads.adaptive,
    F.pad: sliding_windows.pad_function,
    operator.getitem: sliding_windows.sliced,
    F.dropout: sliding_heads.dropout,
}
