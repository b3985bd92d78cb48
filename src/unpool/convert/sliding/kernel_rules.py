"""Convolutions, poolings, padding and slices of a classifier that slides: the same ones, and what they read."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from unpool.convert.sliding import head_rules
from unpool.convert.sliding.layout import Place
from unpool.convert.sliding.rewriter import Sliding
from unpool.tracing import arguments
from unpool.tracing.arguments import pair
from unpool.tracing.outputs import TOLERANCE, difference


def conv(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _windowed(sliding, node, place, vars(sliding.module(node)))


def conv_function(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = arguments.given(arguments.conv2d, node)
    if given["input"] is not arguments.first(node) or len(head_rules.inputs(sliding, node)) != 1:
        sliding.refuse(node, "its weights are computed from the image")
    kernel = tuple(sliding.value(sliding.new(given["weight"])).shape[-2:])
    _windowed(sliding, node, place, {**given, "kernel_size": kernel})


def max_pool(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = _given(sliding, node, arguments.max_pool2d)
    if given["return_indices"]:
        sliding.refuse(node, "it gives the places of its maxima")
    _windowed(sliding, node, place, given)


def average_pool(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = _given(sliding, node, arguments.avg_pool2d)
    if not head_rules.averaged(sliding, node, place, sliding.own(node)):
        _windowed(sliding, node, place, given)


def _given(sliding: Sliding, node: fx.Node, form: Callable[..., None]) -> dict[str, Any]:
    module = sliding.module(node)
    given = arguments.given(form, node) if module is None else arguments.of_module(form, module)
    given["stride"] = given["kernel_size"] if given["stride"] in (None, [], ()) else given["stride"]
    return given


def _windowed(sliding: Sliding, node: fx.Node, place: Place, given: Mapping[str, Any]) -> None:
    """A convolution or pooling of the map: the same one, compared where it does not read beyond the window."""
    if place.is_flat or place.axes != (2, 3) or place.spacing != (1, 1):
        sliding.refuse(node, "it reads no map of rows and columns that lie side by side")
    if any(isinstance(value, fx.Node) for value in (given["kernel_size"], given["stride"], given["padding"])):
        sliding.refuse(node, "its window is computed from the size of the map")
    kernel, stride, dilation = (pair(given.get(key, 1)) for key in ("kernel_size", "stride", "dilation"))
    padding = given["padding"]
    if isinstance(padding, str):
        before = tuple(d * (k - 1) // 2 if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True))
    else:
        before = pair(padding)
    after = place.seen_through(kernel, stride=stride, dilation=dilation, before=(before[0], before[1]))
    _keep_inside(sliding, node, place, after)


def _keep_inside(sliding: Sliding, node: fx.Node, place: Place, after: Place) -> None:
    """The same operation, where it gives for the first window what the classifier gives but at its lower right."""
    if place.made is not None:
        sliding.refuse(node, head_rules.AVERAGED)
    x, new = sliding.new(arguments.first(node)), sliding.copy(node)
    shape = sliding.native[node].shape[-2:]
    first = sliding.value(x)[:, :, : place.size[0], : place.size[1]]
    own = sliding.own_of(node, first)
    clear = []
    for axis in (0, 1):
        last = (place.size[axis] - 1) * place.stride[axis] + place.high[axis]
        clear.append(max(0, min(shape[axis], (last - after.high[axis]) // after.stride[axis] + 1)))
    a, b = (y[:, :, : clear[0], : clear[1]] for y in (own, sliding.value(new)))
    if a.shape != b.shape or (a.numel() and difference(a, b) > TOLERANCE):
        sliding.refuse(node, "it pads or steps by the size of the map, so that a larger image moves its windows")
    sliding.put(node, new, after.but(size=(shape[0], shape[1])))


def _pad(sliding: Sliding, node: fx.Node, place: Place, pads: Any) -> None:
    if place.is_flat or not head_rules.is_map(sliding, node, place) or pads[:4] == (0,) * len(pads[:4]):
        head_rules.general(sliding, node, place)
        return
    if any(isinstance(p, fx.Node) for p in pads) or place.axes != (2, 3) or place.spacing != (1, 1):
        sliding.refuse(node, "its padding is computed from the size of the map, or not that of rows and columns")
    left, _, top, _ = (*pads, 0, 0)[:4]
    _keep_inside(sliding, node, place, place.seen_through((1, 1), before=(top, left)))


def pad_module(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _pad(sliding, node, place, tuple(vars(sliding.module(node))["padding"]))


def pad_function(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _pad(sliding, node, place, tuple(arguments.given(arguments.pad, node)["pad"]))


def sliced(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Every n-th row and column is a window of one position; what picks channels is judged by what it does."""
    index: Any = node.args[1]
    listed = _full(list(index) if isinstance(index, tuple) else [index])
    is_map = not place.is_flat and place.axes == (2, 3) and len(listed) == 4
    if not is_map or not all(isinstance(i, slice) for i in listed) or listed[2:] == [slice(None)] * 2:
        head_rules.general(sliding, node, place)
        return
    steps, starts = ([(i.step or 1) for i in listed[2:]], [(i.start or 0) for i in listed[2:]])
    ends = [-1 if i.stop is None else i.stop for i in listed[2:]]
    if not all(isinstance(n, int) for n in (*steps, *starts, *ends)) or min(starts) < 0 or max(ends) >= 0:
        sliding.refuse(node, "it cuts the map at places that depend on its size")
    _keep_inside(
        sliding,
        node,
        place,
        place.seen_through((1, 1), stride=(steps[0], steps[1]), before=(-starts[0], -starts[1])),
    )


def _full(index: list[Any]) -> list[Any]:
    """Four entries, one for each axis of a map, where the given ones name axes only."""
    place = next((i for i, item in enumerate(index) if item is Ellipsis), len(index))
    return index[:place] + [slice(None)] * (4 - len(index[:place] + index[place + 1 :])) + index[place + 1 :]
