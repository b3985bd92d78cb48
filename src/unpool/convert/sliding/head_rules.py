"""The end of a classifier that slides: averages, flattening, linear layers, and operations judged by what they do."""

from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.layout import Pair, Place
from unpool.convert.sliding.rewriter import Sliding
from unpool.tracing import arguments
from unpool.tracing.graph import FAULTS
from unpool.tracing.outputs import TOLERANCE, difference

F = nn.functional

AVERAGED = "it reads averages whose windows overlap or lie apart, which only a linear layer can"
FLATTENED = (
    "it reads a flattened map of several positions, which only linear layers and operations on single values can: put "
    "a norm before the flattening, or behind the first linear layer"
)
RESHAPES = ("view", "reshape", "flatten", "squeeze", torch.flatten, torch.reshape, torch.squeeze)


def general(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """An operation that is judged by what it does."""
    own = sliding.own(node)
    if isinstance(own, Tensor):
        if _flattened(sliding, node, place, own) or _unflattened(sliding, node, place, own):
            return
        if averaged(sliding, node, place, own):
            return
    if place.is_flat and place.size == (1, 1):
        _of_vectors(sliding, node, place, own)
    else:
        try:
            new = sliding.copy(node)
        except FAULTS:
            if place.is_flat:
                sliding.refuse(node, FLATTENED)
            raise
        sliding.keep(node, new, place, own)


def _flattened(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A window made one vector: the map stays as it is, and the next linear layer reads the window."""
    if place.is_flat or own.dim() != 2 or len(inputs(sliding, node)) != 1 or not is_map(sliding, node, place):
        return False
    if not _equals(own, sliding.windows(arguments.first(node)).flatten(1)):
        return False
    _put_flat(sliding, node, place)
    return True


def _put_flat(sliding: Sliding, node: fx.Node, place: Place) -> None:
    is_last = place.axes == (1, 2)
    x = _channels_second(sliding, node, place)
    if place.size != (1, 1):
        sliding.change(node, f"{_told(place.size)} positions made one vector", "left as a map")
    sliding.put(node, x, place.but(axes=(2, 3), is_flat=True, is_channels_last=is_last))


def is_map(sliding: Sliding, node: fx.Node, place: Place) -> bool:
    return sliding.windows(arguments.first(node)).dim() == 4 and place.axes in ((2, 3), (1, 2))


def _channels_second(sliding: Sliding, node: fx.Node, place: Place) -> fx.Node:
    x = sliding.new(arguments.first(node))
    return sliding.call(torch.permute, x, (0, 3, 1, 2)) if place.axes == (1, 2) else x


def _unflattened(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A vector made a map of 1x1, or a vector again: nothing is to be done."""
    if not place.is_flat or len(inputs(sliding, node)) != 1:
        return False
    window = sliding.windows(arguments.first(node))
    is_made_map = place.size == (1, 1) and own.shape == (*window.shape, 1, 1)
    is_kept = own.shape == window.shape and _is_reshape(sliding, node)
    if not (is_made_map or is_kept) or not _equals(own.flatten(1), window):
        return False
    sliding.put(node, sliding.new(arguments.first(node)), place.but(is_flat=is_kept))
    return True


def _is_reshape(sliding: Sliding, node: fx.Node) -> bool:
    """Whether an operation that changes nothing here changes nothing elsewhere, as dropout does not."""
    if node.op == "call_module":
        return isinstance(sliding.module(node), nn.Flatten)
    return node.target in RESHAPES


def averaged(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A mean or maximum of the window, by whatever operation: it becomes a pooling at stride 1."""
    is_window = is_map(sliding, node, place) and place.spacing == (1, 1) and place.made is None
    if place.is_flat or not is_window or place.size == (1, 1):
        return False
    window = sliding.windows(arguments.first(node))
    is_kept_map = own.dim() == 4 and place.axes == (2, 3) and own.shape[2:] == (1, 1)
    if own.dim() != 2 and not is_kept_map:
        return False
    for name, pool, result in (
        ("average", F.avg_pool2d, window.mean(place.axes)),
        ("maximum", F.max_pool2d, window.amax(place.axes)),
    ):
        if _equals(own.flatten(1), result):
            x = sliding.call(pool, _channels_second(sliding, node, place), place.size, 1)
            sliding.change(node, f"{name} of the map", f"{name} of {_told(place.size)} positions, stride 1")
            after = place.seen_through(place.size).but(size=(1, 1), axes=(2, 3), is_flat=own.dim() == 2)
            if fault := sliding.fault(x, after, own):
                sliding.refuse(node, fault)
            sliding.put(node, x, after)
            return True
    return False


def _of_vectors(sliding: Sliding, node: fx.Node, place: Place, own: Any) -> None:
    """An operation on vectors: on the map as it stands where that is the same, else on a list of vectors."""
    try:
        new = sliding.copy(node)
    except FAULTS:
        new = None
    if new is not None:
        if isinstance(sliding.value(new), Tensor) and not sliding.fault(new, place, own):
            sliding.put(node, new, place)
            return
        sliding.graph.erase_node(new)
    rows = {used: sliding.call(as_rows, sliding.new(used)) for used in inputs(sliding, node)}
    new = sliding.copy(node, rows)
    like = sliding.new(inputs(sliding, node)[0])
    sliding.keep(node, sliding.call(as_map, new, like), place, own)


def as_rows(x: Tensor) -> Tensor:
    """One vector for each position: (B, C, H, W) -> (B*H*W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """The way back: (B*H*W, K) -> (B, K, H, W), the sizes being those of `like`, (B, C, H, W)."""
    return rows.unflatten(0, (like.shape[0], like.shape[2], like.shape[3])).permute(0, 3, 1, 2)


def inputs(sliding: Sliding, node: fx.Node) -> list[fx.Node]:
    """The inputs that come from the image."""
    return [used for used in node.all_input_nodes if sliding.places[used] is not None]


def linear(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """A linear layer: a convolution whose window is what was flattened."""
    module: Any = sliding.module(node)
    if not place.is_flat:
        general(sliding, node, place)
        return
    name = str(node.target)
    reads = place.but(stride=(1, 1), low=(0, 0), high=(0, 0))
    if sliding.linear.setdefault(name, reads) != reads:
        sliding.refuse(node, "it is called twice, on windows of different sizes")
    new = sliding.add(name, as_convolution(module, place), sliding.new(arguments.first(node)))
    told = f"convolution {_told(place.size)}" + (
        "" if place.spacing == (1, 1) else f", dilation {_told(place.spacing)}"
    )
    sliding.change(node, f"linear {module.in_features} to {module.out_features}", told)
    after = place.seen_through(place.size, dilation=place.spacing)
    after = after.but(size=(1, 1), spacing=(1, 1), is_channels_last=False, made=None)
    sliding.keep(node, new, after, sliding.own(node))


def as_convolution(linear: nn.Linear, place: Place) -> nn.Conv2d:
    """The convolution that does at every position what the layer does for one flattened window."""
    rows, columns = place.made or place.size
    weight = linear.weight.detach()
    if place.is_channels_last:
        weight = weight.unflatten(1, (rows, columns, -1)).permute(0, 3, 1, 2).contiguous()
    else:
        weight = weight.unflatten(1, (-1, rows, columns))
    if place.made is not None:
        weight = _before_averages(weight, place.size)
    with torch.device("meta"):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], place.size, dilation=place.spacing, bias=False)
    conv.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=linear.bias.requires_grad)
    return conv.train(linear.training)


def _before_averages(weight: Tensor, size: Pair) -> Tensor:
    """Weights (K, C, H, W) of what a map of `size` is averaged to, as weights of that map: (K, C, h, w)."""
    rows, columns = (
        F.adaptive_avg_pool1d(torch.eye(n, dtype=torch.float64)[None], made)[0].to(weight)
        for n, made in zip(size, weight.shape[2:], strict=True)
    )  # (h, H), (w, W): share of each position in each average
    return torch.einsum("kcij,ai,bj->kcab", weight, rows, columns)


def dropout(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Dropout called as a function; it becomes a module, which knows whether the network trains."""
    given = arguments.given(arguments.dropout, node)
    new = sliding.add(f"dropout_{node.name}", nn.Dropout(given["p"]), sliding.new(arguments.first(node)))
    sliding.put(node, new, place)


def adaptive(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Averages to a given size: none where the classifier's map has it; of equal parts, averages side by side.

    Other averages are left to the linear layer behind them, which is linear in the map too.
    """
    if place.made is not None:
        sliding.refuse(node, AVERAGED)
    own, size = sliding.own(node), place.size
    x = arguments.first(node)
    if place.is_flat or place.axes != (2, 3) or own.dim() != 4:
        sliding.refuse(node, "its rows and columns are not the last axes")
    if own.shape[2:] == size:
        sliding.change(node, f"averages to {_told(size)}", "nothing: the map has that size")
        sliding.put(node, sliding.new(x), place)
        return
    if averaged(sliding, node, place, own):
        return
    made: Pair = (own.shape[2], own.shape[3])
    if place.spacing != (1, 1):
        sliding.refuse(node, AVERAGED)
    if any(n % m for n, m in zip(size, made, strict=True)):
        sliding.change(node, f"averages of {_told(size)} to {_told(made)}", "in the weights of the next layer")
        sliding.put(node, sliding.new(x), place.but(made=made))
        return
    part = (size[0] // made[0], size[1] // made[1])
    new = sliding.call(F.avg_pool2d, sliding.new(x), part, 1)
    after = place.seen_through(part).but(size=made, spacing=part)
    if fault := sliding.fault(new, after, own):
        sliding.refuse(node, fault)
    sliding.change(node, f"averages to {_told(made)}", f"averages of {_told(part)} positions, stride 1")
    sliding.put(node, new, after)


def _equals(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and difference(b, a) <= TOLERANCE


def _told(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"
