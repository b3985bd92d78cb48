"""A classifier that slides: linear layers turned into convolutions, so that it gives a map of scores for any image.

Sermanet et al. 2014 (arXiv:1312.6229, "OverFeat") and Long et al. 2015 (arXiv:1411.4038): where the classifier flattens
a map of h x w, its first linear layer becomes a convolution of h x w and the later ones become 1x1, with the same
weights; a global average becomes an average over the window that the classifier had. Averages whose windows overlap or
repeat (VGG's to 7x7, for images of 32x32 pixels whose map has one position) go into the weights of the linear layer
behind them. Nothing is assumed of names or classes of networks: the classifier is run, and each operation of the new
network is compared with its own.

What the scores equal. The score at (i, j) belongs to the window of the classifier's own size that starts i * stride
rows and j * stride columns into the image.

- Without padding anywhere, it is what the classifier gives for that crop, at every position.
- With padding it is not, and cannot be: around a crop each layer sees the zeros of its padding, around the window it
  sees the rest of the image. The score is what the classifier gives where its maps go on: its head on the window of the
  maps of the whole image. It reads `margin` pixels beyond its window. Where these lie within the image (`inside` says
  for which positions) nothing else counts, wherever the image ends; at the border the padding of the image takes part.
- On an image of the classifier's own size, it is the classifier's answer.

Where a classifier leaves its last rows or columns unread, there are scores also where only those lie beyond the image.

Networks in which an average over the image goes back into a map (squeeze-and-excitation) are refused: each position
has an average of its own there, so that nothing is shared. So are those that pad by the size of the image.
"""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.head_rules import as_convolution
from unpool.convert.sliding.layout import Pair, Place
from unpool.convert.sliding.rewriter import Sliding, sizes_of, stride_of
from unpool.convert.sliding.rule_table import rule
from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS, run_node, trace
from unpool.tracing.outputs import TOLERANCE, difference
from unpool.tracing.probes import fill_zeros, in_float64
from unpool.tracing.recorder import tensors_of, without_values
from unpool.tracing.rewriter import Rewritten


class FullyConvolutional(Rewritten):
    """Image (B, C, H, W), at least of the classifier's own size -> scores (B, K, H', W').

    Parameters and buffers have the names they had; the weights of linear layers have the shape of convolutions.

    Attributes:
        size_hw: the classifier's own size: of the window that belongs to a score.
        stride: pixels of the image between the windows of neighbouring scores, by axis.
        margin: pixels before and after its window that a score reads, ((above, below), (left, right)); zeros where
            nothing is padded.
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
        """Rows and columns of the score map that read nothing beyond an image of this size; all others are border."""
        return tuple(  # pyright: ignore[reportReturnType]
            slice(first := -(-before // stride), max(first, (size - own - after) // stride + 1))
            for size, own, stride, (before, after) in zip(size_hw, self.size_hw, self.stride, self.margin, strict=True)
        )


def fully_convolutional(classifier: nn.Module, *, image: Tensor | None = None) -> FullyConvolutional:
    """A copy of the classifier that takes larger images and gives a map of scores; see above for what they equal.

    Args:
        classifier: takes images (B, C, H, W) of one size and gives (B, K); it is left as it is.
        image: one of that size; None for timm's networks, which say it.

    Returns:
        The network in the mode that the given one is in, with weights of its own.

    Raises:
        NotConvertible: a layer has no exact counterpart, or the network cannot be followed; the message names it.
    """
    image = _image(classifier, image)
    size = (image.shape[2], image.shape[3])
    before = in_float64(classifier)
    fill_zeros(before)
    answer = _answer(before, image)
    source = trace(before)
    sliding = _follow(source, before, image)
    place = _scored(sliding)
    _refuse_other_answer(before, sliding, image, answer)
    result = copy.deepcopy(classifier)
    _place_convolutions(result, sliding.linear)
    for name, module in sliding.added.items():
        if name not in sliding.linear:
            result.add_module(name, module.train(result.training))
    margin = tuple(
        (max(0, -low), max(0, high - own + 1)) for low, high, own in zip(place.low, place.high, size, strict=True)
    )
    told = {"changes": tuple(sliding.changes), "size_hw": size, "stride": place.stride, "margin": margin}
    return FullyConvolutional(result, sliding.graph, told)


def _image(classifier: nn.Module, image: Tensor | None) -> Tensor:
    """(1, C, H, W) in float64, of the classifier's own size."""
    if image is not None:
        if image.dim() != 4:
            raise NotConvertible(
                f"image is {tuple(image.shape)}; it must be (B, C, H, W), of the classifier's own size"
            )
        return image[:1].detach().cpu().double()
    told = vars(classifier).get("pretrained_cfg")
    if not isinstance(told, dict) or "input_size" not in told:
        raise NotConvertible(
            f"{type(classifier).__name__} does not say for which size of image it was made: give one such image as "
            "image=, as torch.zeros(1, 3, 224, 224)"
        )
    return _noise(tuple(told["input_size"]))


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _answer(network: nn.Module, image: Tensor) -> Tensor:
    """What the classifier gives for an image of its own size."""
    size = f"{tuple(image.shape[1:])} (C, H, W)"
    try:
        with torch.no_grad():
            given = network(image.clone())
    except FAULTS as error:
        raise NotConvertible(f"the network does not take an image of {size} ({str(error).splitlines()[0]})") from error
    answers = list(tensors_of(given))
    if len(answers) != 1 or answers[0].shape[:1] + answers[0].shape[2:].numel() * (1,) != (1, 1):
        told = ", ".join(str(tuple(x.shape)) for x in answers)
        raise NotConvertible(
            f"{type(network).__name__} gives {told or type(given).__name__} for an image of {size}, no one vector of "
            "scores: give the classifier alone, without auxiliary heads"
        )
    return answers[0]


def _follow(source: fx.GraphModule, network: nn.Module, image: Tensor) -> Sliding:
    channels, height, width = image.shape[1:]
    empty = without_values(network)
    rows, columns = stride_of(source, empty, (channels, height, width))
    # one score more from top to bottom and two from left to right, where it can be at a size that no stride divides
    even, odd = ((channels, height + rows, width + 2 * columns + extra) for extra in (0, columns > 1))
    takes_odd = len(sizes_of(source, empty, odd)) >= len(sizes_of(source, empty, even))
    sliding = Sliding(source, empty, (height, width), _noise(odd if takes_odd else even))
    sliding.follow(rule)
    return sliding


def _scored(sliding: Sliding) -> Place:
    """Where the scores lie."""
    output = next(node for node in sliding.source.graph.nodes if node.op == "output")
    node = output.args[0]
    place = sliding.places[node] if isinstance(node, fx.Node) else None
    if not isinstance(place, Place) or place.size != (1, 1) or place.made is not None:
        return sliding.refuse(output, "it gives no vector of scores, but maps or what was flattened of them")
    return place


def _refuse_other_answer(network: nn.Module, sliding: Sliding, image: Tensor, answer: Tensor) -> None:
    """Hooks and state that Python keeps between calls are not in a graph."""
    values: dict[fx.Node, Any] = {}
    for node in sliding.graph.nodes:
        values[node] = run_node(node, sliding.source, values, image, part=sliding.added.get(str(node.target)))
    followed = next(tensors_of(values[next(reversed(sliding.graph.nodes))]), None)
    if followed is None or followed.shape[:2] != answer.shape[:2] or followed.numel() != answer.numel():
        off = torch.inf
    else:
        off = difference(answer.flatten(), followed.flatten())
    if not off <= TOLERANCE:
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: its operations alone give another answer than it gives, as "
            "where hooks change maps"
        )


def _place_convolutions(network: nn.Module, linear: dict[str, Place]) -> None:
    """Puts a convolution in the place of each linear layer."""
    for name, place in linear.items():
        parent, _, last = name.rpartition(".")
        layer: Any = network.get_submodule(name)
        setattr(network.get_submodule(parent), last, as_convolution(layer, place))
