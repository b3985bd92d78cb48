"""What each operation of a classifier becomes where it slides over a larger image."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert import arguments, by_position
from unpool.convert.arguments import pair
from unpool.convert.places import Pair, Place, joined
from unpool.convert.rewriting import TOLERANCE, difference
from unpool.convert.sliding import Sliding
from unpool.convert.tracing import FAULTS

Rule = Callable[[Sliding, fx.Node, Place], None]
F = nn.functional


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
    maps = [(n, p) for n in node.all_input_nodes if isinstance(p := sliding.places[n], Place)]
    place = joined([p for _, p in maps])
    sizes = {tuple(sliding.value(sliding.new(n)).shape[axis] for axis in p.axes) for n, p in maps}
    if place is not None and len(sizes) == 1:
        return place
    if any(p.size == (1, 1) != q.size for _, p in maps for _, q in maps):
        sliding.refuse(
            node,
            "it joins a map with an average over the window (as squeeze-and-excitation does), which is another one "
            "for each position of the classifier",
        )
    return sliding.refuse(node, "it joins maps of different strides")


def _rule_of(sliding: Sliding, node: fx.Node) -> Rule:
    if node.op == "call_module":
        module = sliding.module(node)
        return next((found for kind, found in MODULES if isinstance(module, kind)), _general)
    if node.op == "call_method":
        return _general
    return FUNCTIONS.get(node.target, _general)


def _general(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """An operation that is judged by what it does."""
    own = sliding.own(node)
    if isinstance(own, Tensor):
        if _flattened(sliding, node, place, own) or _unflattened(sliding, node, place, own):
            return
        if _averaged(sliding, node, place, own):
            return
    if place.is_flat and place.size == (1, 1):
        _of_vectors(sliding, node, place, own)
    else:
        sliding.keep(node, sliding.copy(node), place, own)


def _flattened(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A window made one vector: the map stays as it is, and the next linear layer reads the window."""
    if place.is_flat or own.dim() != 2 or len(node.all_input_nodes) != 1 or not _is_map(sliding, node, place):
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


def _is_map(sliding: Sliding, node: fx.Node, place: Place) -> bool:
    return sliding.windows(arguments.first(node)).dim() == 4 and place.axes in ((2, 3), (1, 2))


def _channels_second(sliding: Sliding, node: fx.Node, place: Place) -> fx.Node:
    x = sliding.new(arguments.first(node))
    return sliding.call(torch.permute, x, (0, 3, 1, 2)) if place.axes == (1, 2) else x


def _unflattened(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A vector made a map of 1x1, or a vector again: nothing is to be done."""
    if not place.is_flat or len(_vectors(sliding, node)) != 1:
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


def _averaged(sliding: Sliding, node: fx.Node, place: Place, own: Tensor) -> bool:
    """A mean or maximum of the window, by whatever operation: it becomes a pooling at stride 1."""
    if place.is_flat or not _is_map(sliding, node, place) or place.size == (1, 1) or place.spacing != (1, 1):
        return False
    window = sliding.windows(arguments.first(node))
    is_map = own.dim() == 4 and place.axes == (2, 3) and own.shape[2:] == (1, 1)
    if own.dim() != 2 and not is_map:
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
    rows = {used: sliding.call(by_position.as_rows, sliding.new(used)) for used in _vectors(sliding, node)}
    new = sliding.copy(node, rows)
    like = sliding.new(_vectors(sliding, node)[0])
    sliding.keep(node, sliding.call(by_position.as_map, new, like), place, own)


def _vectors(sliding: Sliding, node: fx.Node) -> list[fx.Node]:
    return [used for used in node.all_input_nodes if sliding.places[used] is not None]


def _linear(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """A linear layer: a convolution whose window is what was flattened."""
    module: Any = sliding.module(node)
    if not place.is_flat:
        _general(sliding, node, place)
        return
    name = str(node.target)
    reads = place.but(stride=(1, 1), low=(0, 0), high=(0, 0))
    if sliding.linear.setdefault(name, reads) != reads:
        sliding.refuse(node, "it is called twice, on windows of different sizes")
    new = sliding.add(name, as_convolution(module, place), sliding.new(arguments.first(node)))
    told = f"convolution {_told(place.size)}" + ("" if place.spacing == (1, 1) else f", dilation {_told(place.spacing)}")
    sliding.change(node, f"linear {module.in_features} to {module.out_features}", told)
    after = place.seen_through(place.size, dilation=place.spacing)
    after = after.but(size=(1, 1), spacing=(1, 1), is_channels_last=False)
    sliding.keep(node, new, after, sliding.own(node))


def as_convolution(linear: nn.Linear, place: Place) -> nn.Conv2d:
    """The convolution that does at every position what the layer does for one flattened window."""
    rows, columns = place.size
    weight = linear.weight.detach()
    if place.is_channels_last:
        weight = weight.unflatten(1, (rows, columns, -1)).permute(0, 3, 1, 2).contiguous()
    else:
        weight = weight.unflatten(1, (-1, rows, columns))
    with torch.device("meta"):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], place.size, dilation=place.spacing, bias=False)
    conv.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=linear.bias.requires_grad)
    return conv.train(linear.training)


def _dropout(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Dropout called as a function; it becomes a module, which knows whether the network trains."""
    given = arguments.given(arguments.dropout, node)
    new = sliding.add(f"dropout_{node.name}", nn.Dropout(given["p"]), sliding.new(arguments.first(node)))
    sliding.put(node, new, place)


def _conv(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _windowed(sliding, node, place, vars(sliding.module(node)))


def _conv_function(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = arguments.given(arguments.conv2d, node)
    if given["input"] is not arguments.first(node) or len(_vectors(sliding, node)) != 1:
        sliding.refuse(node, "its weights are computed from the image")
    kernel = tuple(sliding.value(sliding.new(given["weight"])).shape[-2:])
    _windowed(sliding, node, place, {**given, "kernel_size": kernel})


def _max_pool(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = _given(sliding, node, arguments.max_pool2d)
    if given["return_indices"]:
        sliding.refuse(node, "it gives the places of its maxima")
    _windowed(sliding, node, place, given)


def _average_pool(sliding: Sliding, node: fx.Node, place: Place) -> None:
    given = _given(sliding, node, arguments.avg_pool2d)
    if not _averaged(sliding, node, place, sliding.own(node)):
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
    """The same operation, where it gives for the first window what the classifier gives without its lower right border."""
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
    if place.is_flat or not _is_map(sliding, node, place) or pads[:4] == (0,) * len(pads[:4]):
        _general(sliding, node, place)
        return
    if any(isinstance(p, fx.Node) for p in pads) or place.axes != (2, 3) or place.spacing != (1, 1):
        sliding.refuse(node, "its padding is computed from the size of the map, or not that of rows and columns")
    left, _, top, _ = (*pads, 0, 0)[:4]
    _keep_inside(sliding, node, place, place.seen_through((1, 1), before=(top, left)))


def _pad_module(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _pad(sliding, node, place, tuple(vars(sliding.module(node))["padding"]))


def _pad_function(sliding: Sliding, node: fx.Node, place: Place) -> None:
    _pad(sliding, node, place, tuple(arguments.given(arguments.pad, node)["pad"]))


def _adaptive(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Averages to a given size: none where the classifier's map has it, else averages of equal parts, side by side."""
    own, size = sliding.own(node), place.size
    x = arguments.first(node)
    if place.is_flat or place.axes != (2, 3) or own.dim() != 4:
        sliding.refuse(node, "its rows and columns are not the last axes")
    if own.shape[2:] == size:
        sliding.change(node, f"averages to {_told(size)}", "nothing: the map has that size")
        sliding.put(node, sliding.new(x), place)
        return
    if _averaged(sliding, node, place, own):
        return
    made: Pair = (own.shape[2], own.shape[3])
    if any(n % m for n, m in zip(size, made, strict=True)) or place.spacing != (1, 1):
        sliding.refuse(
            node,
            f"it makes {_told(made)} positions of {_told(size)}, which are no windows of one size: give an image of "
            "a size for which they are, as image=",
        )
    part = (size[0] // made[0], size[1] // made[1])
    new = sliding.call(F.avg_pool2d, sliding.new(x), part, 1)
    after = place.seen_through(part).but(size=made, spacing=part)
    if fault := sliding.fault(new, after, own):
        sliding.refuse(node, fault)
    sliding.change(node, f"averages to {_told(made)}", f"averages of {_told(part)} positions, stride 1")
    sliding.put(node, new, after)


def _sliced(sliding: Sliding, node: fx.Node, place: Place) -> None:
    """Every n-th row and column is a window of one position; what picks channels is judged by what it does."""
    index: Any = node.args[1]
    listed = list(index) if isinstance(index, tuple) else [index]
    is_map = not place.is_flat and place.axes == (2, 3) and len(listed) == 4
    if not is_map or not all(isinstance(i, slice) for i in listed) or listed[2:] == [slice(None)] * 2:
        _general(sliding, node, place)
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


def _equals(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and difference(b, a) <= TOLERANCE


def _told(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


MODULES: tuple[tuple[Any, Rule], ...] = (
    (nn.Conv2d, _conv),
    (nn.MaxPool2d, _max_pool),
    (nn.AvgPool2d, _average_pool),
    (nn.AdaptiveAvgPool2d, _adaptive),
    (nn.Linear, _linear),
    (nn.modules.padding._ConstantPadNd, _pad_module),
    ((nn.modules.padding._ReflectionPadNd, nn.modules.padding._ReplicationPadNd), _pad_module),
)

FUNCTIONS: Mapping[Any, Rule] = {
    F.conv2d: _conv_function,
    torch.conv2d: _conv_function,
    F.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    F.avg_pool2d: _average_pool,
    F.adaptive_avg_pool2d: _adaptive,
    F.pad: _pad_function,
    operator.getitem: _sliced,
    F.dropout: _dropout,
}

RESHAPES = ("view", "reshape", "flatten", "squeeze", torch.flatten, torch.reshape, torch.squeeze)
