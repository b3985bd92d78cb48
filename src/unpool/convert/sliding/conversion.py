"""Classifiers to networks that slide: linear layers become convolutions, so that any image gets a map of scores.

Sermanet et al. 2014 (arXiv:1312.6229, "OverFeat") and Long et al. 2015 (arXiv:1411.4038). Where the classifier flattens
a map of h x w, its first linear layer becomes a convolution of h x w and the later ones become 1x1, with the same
weights; a global average becomes an average over the classifier's window. Averages whose windows overlap or repeat
(VGG's to 7x7, for images of 32x32 pixels whose map has one position) go into the weights of the linear layer that
follows. No names or classes of networks are assumed: the classifier runs, and each operation of the new network is
compared with the classifier's operation.

What the scores equal. The score at (i, j) belongs to the window of the classifier's input size that starts i * stride
rows and j * stride columns into the image.

- Where no layer of the classifier pads, nor reads beyond its map by `ceil_mode`, it is the classifier's output for that
  crop, at every position; `margin` is zero all round then, and only then.
- With padding it cannot be: around a crop each layer reads the zeros of its padding, around the window it reads the
  rest of the image. The score is the output of the classifier's head on the window of the maps of the whole image.
  Where `margin` pixels around its window lie within the image (`inside` returns the positions), no padding takes part
  and the border of the image does not count; elsewhere the padding of the image does.
- On an image of the classifier's input size, it is the classifier's output.

Where a classifier leaves its last rows or columns unread, there are scores also for windows that reach beyond the image
by those only.

Networks in which an average over the image goes back into a map (squeeze-and-excitation) are refused: each position
has another average there, so that nothing is shared. So are those that pad by the size of the image.
"""

import copy
import logging
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.head_rules import as_convolution
from unpool.convert.sliding.map_layout import Pair, WindowLayout
from unpool.convert.sliding.rewriter import SlidingRewriter, coarsest_stride, values_for_size
from unpool.convert.sliding.rule_table import slide_node
from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code, isolated
from unpool.tracing.graph import refuse_other_outputs, run_node, trace, why_other_images_may_differ
from unpool.tracing.probes import check_network, copy_in_float64, fill_zeros, noise
from unpool.tracing.recorder import tensors_of, without_values
from unpool.tracing.rewriter import Rewritten

_log = logging.getLogger(__name__)


class FullyConvolutional(Rewritten):
    """Image (B, C, H, W), at least of the classifier's input size -> scores (B, K, H', W').

    Parameters and buffers keep their names; weights of linear layers have the shape of a convolution's.

    Attributes:
        size_hw: the classifier's input size, which is that of the window of a score.
        stride: pixels of the image between the windows of neighbouring scores, by axis.
        margin: pixels before and after its window that the image must have so that a score reads no padding,
            ((above, below), (left, right)). All are zero exactly where the classifier pads nothing for an image of its
            input size: then, and only then, a score is its output for the crop. A layer that pads a map which was
            cropped before counts, though the score may read no pixel beyond its window.
    """

    @property
    def size_hw(self) -> Pair:
        return self.meta["size_hw"]

    @property
    def stride(self) -> Pair:
        return self.meta["stride"]

    @property
    def margin(self) -> tuple[Pair, Pair]:
        return self.meta["margin"]

    def inside(self, size_hw: Pair) -> tuple[slice, slice]:
        """Rows and columns of the score map that read no padding, for an image of this size."""
        return tuple(  # pyright: ignore[reportReturnType]
            slice(first := -(-before // stride), max(first, (size - window - after) // stride + 1))
            for size, window, stride, (before, after) in zip(
                size_hw, self.size_hw, self.stride, self.margin, strict=True
            )
        )


def fully_convolutional(classifier: nn.Module, *, image: Tensor | None = None) -> FullyConvolutional:
    """Returns a copy of a classifier that takes larger images and computes a score for each window of them.

    The scores equal the classifier's for the window where `margin` is zero; the module's docstring has the rest.

    Args:
        classifier: takes images (B, C, H, W) of one size and returns (B, K); it is not changed.
        image: one of that size; None for timm's networks, which say their size.

    Returns:
        The network in the mode of the classifier, with weights of its own.

    Raises:
        NotConvertible: a layer has no exact counterpart, or the network cannot be followed; the message names it.

    >>> classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 3, 10))
    >>> network = fully_convolutional(classifier, image=torch.zeros(1, 3, 8, 8))
    >>> network(torch.zeros(1, 3, 8, 8)).shape, network(torch.zeros(1, 3, 12, 16)).shape
    (torch.Size([1, 10, 1, 1]), torch.Size([1, 10, 3, 5]))
    >>> network.size_hw, network.stride
    ((8, 8), (2, 2))
    """
    check_network(classifier, image)
    image = _image_of_input_size(classifier, image)
    size = (image.shape[2], image.shape[3])
    before = copy_in_float64(classifier)
    fill_zeros(before)
    with isolated():
        output = _output(before, image)
        rewriter = _rewrite(trace(before), before, image)
        layout = _layout_of_scores(rewriter)
        refuse_other_outputs(before, [output.flatten(1)], [x.flatten(1) for x in _output_of_graph(rewriter, image)])
        caution = why_other_images_may_differ(before)
    if caution:
        _log.warning("compared on an image of %dx%d; %s, so that larger ones may differ", *size, caution)
    result = copy.deepcopy(classifier)
    _replace_linear(result, rewriter.linear)
    for name, module in rewriter.added.items():
        if name not in rewriter.linear:
            result.add_module(name, module.train(result.training))
    margin = tuple(
        (-low, max(0, high - window + 1)) for low, high, window in zip(layout.low, layout.high, size, strict=True)
    )
    properties = {"changes": tuple(rewriter.changes), "size_hw": size, "stride": layout.stride, "margin": margin}
    properties["caution"] = caution
    return FullyConvolutional(result, rewriter.graph, properties)


def _image_of_input_size(classifier: nn.Module, image: Tensor | None) -> Tensor:
    """(1, C, H, W) in float64, of the classifier's input size."""
    if image is not None:
        if image.dim() != 4:
            raise NotConvertible(
                f"image is {tuple(image.shape)}; it must be (B, C, H, W), of the classifier's input size"
            )
        return image[:1].detach().cpu().double()
    settings = vars(classifier).get("pretrained_cfg")  # timm's
    if not isinstance(settings, dict) or "input_size" not in settings:
        raise NotConvertible(
            f"{type(classifier).__name__} does not say for which size of image it was made: give one such image as "
            "image=, as torch.zeros(1, 3, 224, 224)"
        )
    return noise(tuple(settings["input_size"]))


def _output(network: nn.Module, image: Tensor) -> Tensor:
    """The classifier's scores for an image of its input size."""
    size = f"{tuple(image.shape[1:])} (C, H, W)"
    output: Any = None
    with foreign_code() as failure, torch.no_grad():
        output = network(image.clone())
    if failure:
        raise NotConvertible(f"the network does not take an image of {size} ({failure})") from failure.error
    tensors = list(tensors_of(output))
    if len(tensors) == 1 and tensors[0].dim() == 1:  # as where `squeeze()` drops the axis of a batch of one too
        with foreign_code(), torch.no_grad():
            tensors = [x[:1] for x in tensors_of(network(image.repeat(2, 1, 1, 1)))]
    if len(tensors) != 1 or tensors[0].shape[:1] + tensors[0].shape[2:].numel() * (1,) != (1, 1):
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors)
        raise NotConvertible(
            f"{type(network).__name__} gives {shapes or type(output).__name__} for an image of {size}, no one vector "
            "of scores: give the classifier alone, without auxiliary heads"
        )
    return tensors[0]


def _rewrite(source: fx.GraphModule, network: nn.Module, image: Tensor) -> SlidingRewriter:
    channels, height, width = image.shape[1:]
    empty = without_values(network)
    rows, columns = coarsest_stride(source, empty, (channels, height, width))
    # one score more from top to bottom and two from left to right, where possible at a size that no stride divides
    even, odd = ((channels, height + rows, width + 2 * columns + extra) for extra in (0, columns > 1))
    takes_odd = len(values_for_size(source, empty, odd)) >= len(values_for_size(source, empty, even))
    rewriter = SlidingRewriter(source, empty, (height, width), noise(odd if takes_odd else even))
    rewriter.follow(partial(slide_node, rewriter))
    return rewriter


def _layout_of_scores(rewriter: SlidingRewriter) -> WindowLayout:
    output = rewriter.output_node()
    node = output.args[0]
    layout = rewriter.layouts[node] if isinstance(node, fx.Node) else None
    if not isinstance(layout, WindowLayout) or layout.size != (1, 1) or layout.averaged_to is not None:
        rewriter.refuse(output, "it gives no vector of scores, but maps or what was flattened of them")
    return layout


def _output_of_graph(rewriter: SlidingRewriter, image: Tensor) -> list[Tensor]:
    """The first tensor that the new graph computes for an image of the classifier's input size."""
    values: dict[fx.Node, Any] = {}
    for node in rewriter.graph.nodes:
        values[node] = run_node(node, rewriter.source, values, image, module=rewriter.added.get(str(node.target)))
    return list(tensors_of(values[next(reversed(rewriter.graph.nodes))]))[:1]


def _replace_linear(network: nn.Module, layouts: dict[str, WindowLayout]) -> None:
    """Replaces each of the linear layers by a convolution."""
    for name, layout in layouts.items():
        parent, _, last = name.rpartition(".")
        layer: Any = network.get_submodule(name)
        setattr(network.get_submodule(parent), last, as_convolution(layer, layout))
