"""Dilates a graph node by node: each map of the new network holds that of the network before, on a finer grid."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from unpool.convert.dilation.grid_operations import crop_like, every
from unpool.tracing.outputs import TOLERANCE, strict_difference
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import GraphInputs, Rewriter

Pair = tuple[int, int]


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
        self._tree = tree
        self._settings_before: dict[int, tuple[nn.Module, Settings]] = {}  # a module that lives keeps its id
        self._layout_by_sizes: dict[tuple[Any, ...], MapLayout] = {}

    def copy(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node] | None = None) -> None:
        """Puts the same operation, with other inputs for those in `replaced`."""
        self.put(node, self.emit_copy(node, replaced))

    def is_unchanged(self, node: fx.Node) -> bool:
        """Whether a number is the same in both networks."""
        return self.old_values[node] == self.new_values[self.new_node(node)]

    def set_module(self, node: fx.Node, settings: Settings) -> None:
        """Changes the module that `node` calls.

        Raises:
            NotConvertible: an earlier node calls it too and gave it other settings.
        """
        name = str(node.target)
        module = self._tree.get_submodule(name)
        _, before = self._settings_before.setdefault(id(module), (module, settings))
        if before != settings:
            self.refuse(node, "it is called twice, on maps of different grids")
        self.settings[name] = settings
        apply_settings(self._tree, {name: settings})
        module = self._tree.get_submodule(name)
        self._settings_before[id(module)] = (module, settings)

    def kept_step(self, node: fx.Node, stride: int, map_stride: int, grid: int) -> int:
        """Returns the part of a layer's stride that does not make its map coarser than the output stride."""
        now = map_stride // grid
        if now * stride <= self.output_stride:
            return stride
        kept = self.output_stride // now
        if kept * now != self.output_stride or stride % kept:
            self.refuse(node, f"it goes from stride {now} to {now * stride} and the output stride does not divide that")
        return kept

    def layout_of_same_sizes(self, node: fx.Node) -> MapLayout | None:
        """The layout of an earlier map whose old and new sizes are those of `node`; None where there is none."""
        if not isinstance(self.old(node), Tensor) or self.old(node).dim() != 4:
            return None
        values = (*self.old_values[node], *self.new_values[self.new_node(node)])
        layout = self._layout_by_sizes.get(tuple(tuple(x.shape[-2:]) for x in values))
        return layout if layout and max(self.old(node).shape[-2:]) > 1 else None

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

    def aligned(self, node: fx.Node) -> dict[fx.Node, fx.Node]:
        """New nodes for the maps that `node` reads, cropped to one size where borders made them differ."""
        maps = [(used, layout) for used, layout in self.input_maps(node) if isinstance(self.old(used), Tensor)]
        dense = [(used, layout) for used, layout in maps if layout.is_dense]
        result = {used: self.new_node(used) for used, _ in maps}
        for used, layout in dense:
            for other, _ in dense:
                if self._is_longer(result[used], result[other], layout.axes):
                    result[used] = self.call(crop_like, result[used], result[other], layout.axes)
        return result

    def _is_longer(self, one: fx.Node, other: fx.Node, axes: Pair) -> bool:
        pairs = zip(self.new_values[one], self.new_values[other], strict=True)
        return any(a.shape[axis] > b.shape[axis] > 1 for a, b in pairs for axis in axes)

    def finish(self, node: fx.Node, layout: MapLayout | None) -> None:
        """Notes the layout of a node and compares its new values with the old ones.

        Raises:
            NotConvertible: they differ.
        """
        self.layouts[node] = layout
        if node.op == "output":
            return
        new = self.new_values[self.new_node(node)]
        if layout is not None and isinstance(self.old(node), Tensor):
            sizes = [tuple(x.shape[axis] for axis in layout.axes) for x in (*self.old_values[node], *new)]
            self._layout_by_sizes.setdefault(tuple(sizes), layout)
        for before, after in zip(self.old_values[node], new, strict=True):
            for a, b in zip(tensors_of(before), tensors_of(after), strict=True):
                kept = b if layout is None else every(b, layout.axes, layout.grid)
                if kept.shape != a.shape:
                    self.refuse(node, f"it gives {tuple(kept.shape)} where {tuple(a.shape)} was")
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
