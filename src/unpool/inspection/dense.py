"""Scores of every window of a photograph: by crops, by a fully convolutional network, and on a finer grid by dilation.

Long et al. 2015 (arXiv:1411.4038), section 3 and figure 2: the scores of every crop, in one pass; then a map of
full resolution, by dilation instead of upsampling (Chen et al. 2015, arXiv:1412.7062).
"""

import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from unpool.convert import FullyConvolutional, dilate, fully_convolutional
from unpool.errors import RecipeError
from unpool.inspection.dense_heads import scores_of_head
from unpool.tracing.recorder import evaluating, record

Pair = tuple[int, int]
BATCH = 32  # crops that go through the classifier at once
HEADS = 16  # positions at which the head alone is run
LARGEST_MAP = 1 << 27  # values of one map that a finer stride may ask for
FINER = (1, 2, 4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How two maps of scores differ at the positions that were compared.

    Attributes:
        relative_error: largest difference over the largest expected score.
        same_class: positions where the same class has the highest score.
        positions: number of positions.
    """

    relative_error: float
    same_class: int
    positions: int


@dataclass(frozen=True, kw_only=True)
class DenseScores:
    """Scores of a classifier for the windows of a photograph, computed in three ways.

    Attributes:
        size_hw: of the photograph.
        window_hw: the classifier's input size.
        stride: pixels between neighbouring crops, and between neighbours of `coarse`, by axis.
        margin: pixels beyond its window that a score of one pass reads, ((above, below), (left, right)).
        output_stride: the stride that the network was dilated to; an axis of a smaller `stride` keeps that.
        slid: (N, H', W') scores of crops; NaN where the time was up before.
        coarse: (N, H', W') scores of the convolutional network in one pass.
        fine: (N, H'', W'') scores of the dilated one, `fine_stride` pixels apart.
        slid_s: seconds of all crops; those of crops left out are estimated from the others.
        coarse_s: seconds of the pass that gave `coarse`.
        fine_s: seconds of the pass that gave `fine`.
        finer_s: estimated seconds of a pass at the next finer output stride; None where there is none, or where the
            caller chose the output stride.
        coarse_vs_crops: `coarse` compared with `slid`.
        coarse_vs_head: `coarse` compared with the classifier's own head on windows of the whole image's maps; None
            where the head cannot be run alone.
        fine_vs_coarse: `fine` compared with `coarse` at the windows that both have.
    """

    size_hw: Pair
    window_hw: Pair
    stride: Pair
    margin: tuple[Pair, Pair]
    output_stride: int
    slid: Tensor
    coarse: Tensor
    fine: Tensor
    slid_s: float
    coarse_s: float
    fine_s: float
    finer_s: float | None
    coarse_vs_crops: Compared
    coarse_vs_head: Compared | None
    fine_vs_coarse: Compared

    @property
    def reads_beyond_window(self) -> bool:
        """Whether a score of one pass reads beyond its window, because a layer pads."""
        return any(map(any, self.margin))

    @property
    def fine_stride(self) -> Pair:
        """Pixels between neighbours of `fine`, by axis: the smaller of `stride` and `output_stride`."""
        return min(self.stride[0], self.output_stride), min(self.stride[1], self.output_stride)

    def to_json(self) -> dict[str, Any]:
        """Returns all but the scores; "positions" and "fine_positions" are rows and columns of `coarse` and `fine`."""
        values = {key: value for key, value in vars(self).items() if not isinstance(value, Tensor | Compared)}
        compared = {key: asdict(value) for key, value in vars(self).items() if isinstance(value, Compared)}
        sizes = {"positions": list(self.coarse.shape[1:]), "fine_positions": list(self.fine.shape[1:])}
        return {**values, **sizes, **compared}


@torch.no_grad()
def score_windows(
    classifier: nn.Module,
    image: Tensor,
    *,
    window_hw: Pair,
    output_stride: int | None = None,
    patience_s: float = 20.0,
) -> DenseScores:
    """Scores windows of an image at the classifier's stride, by crops and in one pass, and on a finer grid by dilation.

    Args:
        classifier: images (1, C, h, w) of one size -> (1, N); it is not changed.
        image: (1, C, H, W) as the classifier takes it, at least of its input size.
        window_hw: that size.
        output_stride: that the network is dilated to; None takes, of those of 1, 2, 4, 8, 16 that divide the
            stride, the finest whose pass is estimated at `patience_s` or less, or the coarsest where none is.
        patience_s: seconds after which no more batches of crops are run; limits the pass of the dilated network only
            where `output_stride` is None.

    Raises:
        RecipeError: the image is smaller than the classifier's.
        NotConvertible: a layer has no exact counterpart.
    """
    height, width = image.shape[2:]
    if height < window_hw[0] or width < window_hw[1]:
        raise RecipeError(
            f"the image is {(height, width)} (H, W) and the classifier's window {window_hw}: resize the image, or "
            "give a larger one"
        )
    with evaluating(classifier):
        network = fully_convolutional(classifier, image=image[:, :, : window_hw[0], : window_hw[1]])
        rows, columns = counts((height, width), window_hw, network.stride)
        slid, slid_s = _slid(classifier, image, network, (rows, columns), patience_s)
        whole, coarse_s = _timed(network, image)
        coarse = whole[0, :, :rows, :columns]
        heads = _against_heads(classifier, network, image, coarse)
        asked = _finest(network, image, coarse_s, patience_s) if output_stride is None else (output_stride, None)
        dilated = _dilated(network, image, asked[0])
        fine, fine_s = _timed(dilated, image)
    stride = (min(network.stride[0], asked[0]), min(network.stride[1], asked[0]))
    fine_rows, fine_columns = counts((height, width), window_hw, stride)
    fine = fine[0, :, :fine_rows, :fine_columns]
    steps = [old // new for old, new in zip(network.stride, stride, strict=True)]
    return DenseScores(
        size_hw=(height, width),
        window_hw=window_hw,
        stride=network.stride,
        margin=network.margin,
        output_stride=asked[0],
        slid=slid,
        coarse=coarse,
        fine=fine,
        slid_s=slid_s,
        coarse_s=coarse_s,
        fine_s=fine_s,
        finer_s=asked[1],
        coarse_vs_crops=compare(slid, coarse),
        coarse_vs_head=heads,
        fine_vs_coarse=compare(coarse, fine[:, :: steps[0], :: steps[1]]),
    )


def counts(size_hw: Pair, window_hw: Pair, stride: Pair) -> Pair:
    """Returns how many windows, in rows and in columns, lie within an image."""
    rows, columns = ((n - window) // step + 1 for n, window, step in zip(size_hw, window_hw, stride, strict=True))
    return rows, columns


def compare(expected: Tensor, scores: Tensor) -> Compared:
    """Compares `scores` with `expected` (N, H', W') at positions where all expected scores are finite."""
    is_known = expected.isfinite().all(0)
    a, b = expected[:, is_known].double(), scores[:, is_known].double()
    relative_error = float((a - b).abs().max() / a.abs().max().clamp(min=1e-300))
    same_class = int((a.argmax(0) == b.argmax(0)).sum())
    return Compared(relative_error=relative_error, same_class=same_class, positions=a.shape[1])


def _slid(
    classifier: nn.Module, image: Tensor, network: FullyConvolutional, size: Pair, patience_s: float
) -> tuple[Tensor, float]:
    """Returns the scores of the crops, NaN for those left out, and the seconds of all, partly estimated."""
    (height, width), step = network.size_hw, network.stride
    starts = [(i * step[0], j * step[1]) for i in range(size[0]) for j in range(size[1])]
    scores: list[Tensor] = []
    classifier(image[:, :, :height, :width])  # the first call is slower than all others
    done, started = 0, time.perf_counter()
    while done < len(starts) and (not done or time.perf_counter() - started < patience_s):
        crops = [image[:, :, y : y + height, x : x + width] for y, x in starts[done : done + BATCH]]
        scores.append(classifier(torch.cat(crops)).cpu())
        done += len(crops)
    wall_s = time.perf_counter() - started
    computed = torch.cat(scores)
    missing = computed.new_full((len(starts) - done, computed.shape[1]), torch.nan)
    return torch.cat([computed, missing]).T.unflatten(1, size), wall_s * len(starts) / done


def _timed(network: nn.Module, image: Tensor) -> tuple[Tensor, float]:
    """Returns the output and the seconds of the faster of two calls, or of one that took 5 seconds or more."""
    times = []
    result = image
    while not times or (len(times) < 2 and times[0] < 5):
        started = time.perf_counter()
        result = network(image).cpu()  # waits for an accelerator
        times.append(time.perf_counter() - started)
    return result, min(times)


def _dilated(network: FullyConvolutional, image: Tensor, output_stride: int) -> nn.Module:
    if output_stride >= max(network.stride):
        return network
    sides = [
        min(n, window + step + 1)
        for n, window, step in zip(image.shape[2:], network.size_hw, network.stride, strict=True)
    ]
    return dilate(network, output_stride=output_stride, image=image[:, :, : sides[0], : sides[1]])


def _finest(network: nn.Module, image: Tensor, coarse_s: float, patience_s: float) -> tuple[int, float | None]:
    """Returns the finest output stride within patience, and the estimated seconds of the next finer one."""
    stride: int = max(network.stride)  # pyright: ignore[reportArgumentType, reportCallIssue]
    layers = _layers(network, image)
    area = image.shape[2] * image.shape[3]

    def factor(values: int, finer: int) -> float:
        return max(1.0, area / values / finer**2)

    now = sum(work for _, work, _ in layers)
    strides = [n for n in FINER if n < stride and not stride % n]
    seconds = {n: coarse_s * sum(work * factor(size, n) for size, work, _ in layers) / now for n in strides}
    fits = [
        n
        for n in strides
        if seconds[n] <= patience_s and max(values * factor(size, n) for size, _, values in layers) <= LARGEST_MAP
    ]
    chosen = min(fits, default=max(strides, default=stride))
    return chosen, next((seconds[a] for a, b in pairwise(strides) if b == chosen), None)


def _layers(network: nn.Module, image: Tensor) -> list[tuple[int, int, int]]:
    """Of each convolution: positions of its map, multiply-adds, values of its map."""
    layers = []
    for call in record(network, image):
        if isinstance(call.module, nn.Conv2d):
            _, channels, rows, columns = call.outputs[0]
            values = channels * rows * columns
            layers.append((rows * columns, values * call.module.weight[0].numel(), values))
    return layers


def _against_heads(
    classifier: nn.Module, network: FullyConvolutional, image: Tensor, scores: Tensor
) -> Compared | None:
    """Scores, at some positions, against those of the classifier's own head on windows of the whole image's maps."""
    every = [(i, j) for i in range(scores.shape[1]) for j in range(scores.shape[2])]
    starts = every[:: -(-len(every) // HEADS)]
    head = network.changes[0].layer if network.changes else ""
    expected = scores_of_head(classifier, head, image, size_hw=network.size_hw, starts=starts)
    if expected is None:
        return None
    chosen = torch.stack([scores[:, i, j] for i, j in starts], 1)
    return compare(expected.cpu()[:, None], chosen[:, None])
