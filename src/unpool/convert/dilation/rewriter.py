"""Dilates a graph node by node: each map of the new network holds that of the network before, on a finer grid."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from unpool.convert.dilation.grid_operations import every
from unpool.convert.dilation.strides import Pair, scaled_strides
from unpool.tracing.outputs import TOLERANCE, strict_difference
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import GraphInputs, Rewriter


class MapLayout(NamedTuple):
    """Where the values of a node lie in the image.

    Attributes:
        axes: which of its axes are rows and columns.
        stride: pixels of the image between neighbours, in the network before.
        grid: positions of the new map between neighbours of the old one.
    """

    axes: Pair
    stride: Pair
    grid: Pair

    @property
    def is_dense(self) -> bool:
        """Whether the new map has positions that the old one lacks."""
        return self.grid != (1, 1)


class Settings(NamedTuple):
    """What becomes of a module in place.

    Attributes:
        attributes: its new values, by name.
        is_plain: a convolution of a derived class becomes an `nn.Conv2d` with the same parameters.
    """

    attributes: Mapping[str, Any]
    is_plain: bool = False


class DilationRewriter(Rewriter[MapLayout]):
    """Writes the dilated graph.

    Args:
        source: the network before, in float64.
        tree: a copy on the same parameters, whose layers get new settings as the graph grows.
        images: what both run on.
        output_stride: the coarsest stride that is kept.

    Attributes:
        settings: of the modules of `tree` that were changed, by name.
        output_layouts: of each tensor of the output.
    """

    def __init__(self, source: fx.GraphModule, tree: nn.Module, images: list[Tensor], output_stride: int) -> None:
        super().__init__(
            source.graph,
            old=GraphInputs(source, images, "on the image", "give one that the network takes as image="),
            new=GraphInputs(tree, images, "on the finer grid", "make it take maps of every size"),
            goal=f"dilated to stride {output_stride}",
        )
        self.output_stride = output_stride
        self.settings: dict[str, Settings] = {}
        self.output_layouts: list[MapLayout | None] = []
        self._source, self._tree = source, tree
        self._settings_of: dict[nn.Module, Settings] = {}
        self._stride_of_sizes: dict[tuple[Pair, ...], Pair] = {}

    def copy(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node] | None = None) -> None:
        """Puts the same operation, with other inputs for those in `replaced`."""
        self.put(node, self.emit_copy(node, replaced))

    def module(self, node: fx.Node) -> nn.Module | None:
        """Returns the module of the network before that `node` calls; None if `node` is no module call."""
        return self._source.get_submodule(str(node.target)) if node.op == "call_module" else None

    def call_convolution(self, node: fx.Node, x: fx.Node, settings: Settings) -> fx.Node:
        """Calls the convolution that `node` calls, changed by `settings`.

        Where an earlier call of it has other settings, its weights are given to the function.

        Raises:
            NotConvertible: it has a forward of its own, which no function stands for.
        """
        name, layer = str(node.target), self._source.get_submodule(str(node.target))
        if self._settings_of.setdefault(layer, settings) == settings:
            self.settings[name] = settings
            apply_settings(self._tree, {name: settings})
            return self.emit("call_module", name, (x,))
        values = {**vars(layer), **settings.attributes}
        if type(layer) is not nn.Conv2d or values["padding_mode"] != "zeros":
            self.refuse(node, "it is called twice, on maps of different grids")
        weight = self.emit("get_attr", f"{name}.weight", ())
        bias = None if layer.bias is None else self.emit("get_attr", f"{name}.bias", ())
        numbers = (values[key] for key in ("stride", "padding", "dilation", "groups"))
        return self.call(nn.functional.conv2d, x, weight, bias, *numbers)

    def kept_step(self, node: fx.Node, stride: int, map_stride: int, grid: int) -> int:
        """Returns the part of a layer's stride that does not make its map coarser than the output stride."""
        now = map_stride // grid
        if now * stride <= self.output_stride:
            return stride
        kept = self.output_stride // now
        if kept * now != self.output_stride or stride % kept:
            self.refuse(node, f"it goes from stride {now} to {now * stride} and the output stride does not divide that")
        return kept

    def stride_after(self, node: fx.Node, used: fx.Node, layout: MapLayout) -> Pair | None:
        """Stride of a map made of another one, from their old sizes; None where these have no whole ratio."""
        return self._stride(layout.stride, self.old_sizes(used, layout.axes), self.old_sizes(node, layout.axes))

    def stride_of_map(self, node: fx.Node, axes: Pair) -> Pair | None:
        """Stride of a node whose old sizes are in a whole ratio to those of the image; None for other nodes."""
        sizes = self.old_sizes(node, axes)
        if any(min(size) < 2 for size in sizes):
            return None
        images = [(x.shape[2], x.shape[3]) for x in self._old.images]
        return self._stride((1, 1), images, sizes)

    def _stride(self, stride: Pair, before: list[Pair], after: list[Pair]) -> Pair | None:
        """Stride of maps of sizes `after`: that of an earlier map of these, else in ratio to `before` of `stride`."""
        return self._stride_of_sizes.get(tuple(after)) or scaled_strides(stride, before, after)

    def map_that_is_fine(self, node: fx.Node) -> MapLayout | None:
        """The layout of a map that equals the old one and needs no dilation; None for other nodes."""
        if not isinstance(self.old(node), Tensor) or self.old(node).dim() != 4:
            return None
        stride = self.stride_of_map(node, (2, 3))
        return MapLayout((2, 3), stride, (1, 1)) if stride and max(stride) <= self.output_stride else None

    def coarsest_stride(self) -> int:
        """The largest stride of all maps in the network before."""
        return max((max(layout.stride) for layout in self.layouts.values() if layout is not None), default=1)

    def finish_output(self, node: fx.Node) -> None:
        """Notes the layouts of all tensors of the output.

        Raises:
            NotConvertible: one is a map that stayed at its old stride.
        """
        map_arg(node.args, self._finish_result)

    def _finish_result(self, node: fx.Node) -> None:
        layout, tensors = self.layouts[node], list(tensors_of(self.old(node)))
        self.output_layouts += [layout] * len(tensors)
        pairs = [(i, i + 1) for i in range(1, tensors[0].dim() - 1)] if tensors and layout is None else []
        for axes in pairs:
            stride = self.stride_of_map(node, axes)
            if stride is not None and max(stride) > self.output_stride:
                self.refuse(node, f"it reads all of a map at once, and its own map would stay at stride {max(stride)}")

    def old_sizes(self, node: fx.Node, axes: Pair) -> list[Pair]:
        """Rows and columns of the old node's map for each image."""
        return [(x.shape[axes[0]], x.shape[axes[1]]) for x in (next(tensors_of(v)) for v in self.old_values[node])]

    def input_maps(self, node: fx.Node) -> Iterator[tuple[fx.Node, MapLayout]]:
        """The inputs of an old node that are maps, each with its layout."""
        for used in node.all_input_nodes:
            layout = self.layouts[used]
            if layout is not None:
                yield used, layout

    def subsampled(self, node: fx.Node) -> fx.Node:
        """A new node with the positions that the old map has."""
        layout, new = self.layouts[node], self.new_node(node)
        if layout is None or not layout.is_dense:
            return new
        return self.call(every, new, layout.axes, layout.grid)

    def finish(self, node: fx.Node, layout: MapLayout | None) -> None:
        """Notes the layout of a node and compares its new values with the old ones.

        Raises:
            NotConvertible: they differ.
        """
        self.layouts[node] = layout
        if layout is not None and isinstance(self.old(node), Tensor):
            self._stride_of_sizes.setdefault(tuple(self.old_sizes(node, layout.axes)), layout.stride)
        for before, after in zip(self.old_values[node], self.new_values[self.new_node(node)], strict=True):
            if isinstance(before, int | float | tuple) and next(tensors_of(before), None) is None and before != after:
                self.refuse(node, f"it gives {after} where {before} was")
            for a, b in zip(tensors_of(before), tensors_of(after), strict=True):
                kept = b if layout is None else every(b, layout.axes, layout.grid)
                if kept.shape != a.shape:
                    self.refuse(
                        node,
                        f"no rule follows it on a finer grid (it gives {tuple(kept.shape)} where {tuple(a.shape)} was)",
                    )
                if (off := strict_difference(a, kept)) > TOLERANCE:
                    self.refuse(
                        node, f"no rule keeps it exact on a finer grid (it differs by {off:.1e} of its largest value)"
                    )


def apply_settings(tree: nn.Module, settings: Mapping[str, Settings]) -> None:
    """Changes each named module of a network."""
    for name, (attributes, is_plain) in settings.items():
        if is_plain:
            parent, _, last = name.rpartition(".")
            tree.get_submodule(parent).add_module(last, _plain_convolution(tree.get_submodule(name)))
        module = tree.get_submodule(name)
        for attribute, value in attributes.items():
            setattr(module, attribute, value)


def _plain_convolution(module: nn.Module) -> nn.Conv2d:
    """An `nn.Conv2d` that takes over parameters, settings and hooks of a convolution of a derived class."""
    plain = nn.Conv2d(1, 1, 1, device="meta")
    vars(plain).update(vars(module))
    return plain
