"""Folds the batch norms of every network of the catalogue and of many of timm's, and sets both answers side by side.

Scale, shift and statistics of every norm are drawn. Errors are of the answer in float32, in units of its largest value;
beside them stands by how much the network's own answer in float32 is off from its own in float64. Times are medians of
runs that alternate, one image of the published size each.
"""

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.record import RESULTS, Row, write_result
from unpool import models
from unpool.convert import Folded, fold_batch_norm
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import tensors_of

SEED, TOLERANCE = 0, 1e-4
SIDES = (32, 64, 128, 224)
TIMM = (
    *("resnet18", "resnet50d", "resnext50_32x4d", "seresnet50", "skresnet18", "res2net50_26w_4s", "wide_resnet50_2"),
    *("efficientnet_b0", "tf_efficientnetv2_b0", "mobilenetv2_100", "mobilenetv3_large_100", "mnasnet_100"),
    *("regnetx_008", "regnety_008", "densenet121", "dpn68", "dla34", "hrnet_w18_small", "ghostnet_100", "rexnet_100"),
    *("repvgg_a0", "mobileone_s0", "levit_128s", "inception_v3", "cspresnet50", "ese_vovnet19b_dw", "mixnet_s"),
    *("hardcorenas_a", "lcnet_100", "xception41", "vgg11_bn", "selecsls42b", "efficientvit_b0", "fastvit_t8"),
)
TIMED = (
    *("resnet18", "resnet50", "vgg16_bn", "googlenet_bn", "preresnet50", "cifar_resnet56"),
    *("simple_baselines", "timm/mobilenetv3_large_100", "timm/efficientnet_b0", "timm/densenet121"),
)


@dataclass(frozen=True)
class Fold:
    """What folding one network showed.

    Attributes:
        size: (H, W) of the image that both were compared on.
        error: largest difference as a share of the largest value, over the parts of the answer.
        own_error: that of the network before, from its answer in float64.
        reasons: why norms stayed, with the number of each.
    """

    name: str
    size: tuple[int, ...]
    folded: int
    left: int
    error: float
    own_error: float
    reasons: dict[str, int]
    fault: str = ""

    @property
    def passes(self) -> bool:
        return not self.fault and self.error <= TOLERANCE


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one image before and after."""

    name: str
    size: tuple[int, ...]
    before_ms: float
    after_ms: float
    repeats: int

    @property
    def saved(self) -> float:
        """Fraction of the time that folding saves."""
        return 1 - self.after_ms / self.before_ms


def build(name: str) -> tuple[nn.Module, tuple[int, int, int]] | None:
    """The published network and the size of its image; None where it has no batch norm."""
    torch.manual_seed(SEED)
    network, size = models.build(name), models.row_of(name).input
    return (network, size) if any(isinstance(module, _BatchNorm) for module in network.modules()) else None


def examine(name: str) -> Fold | None:
    """Folds one network on the smallest image that it takes; None where it has no batch norm."""
    with foreign_code() as failure:
        built = build(name)
        if built is None:
            return None
        network, image = built[0].eval(), smallest(*built)
        draw(network)
        folded = fold_batch_norm(network, image=image)
        with torch.no_grad():
            before = network(image)
            error = largest_difference(before, folded.network(image))
            own = largest_difference(before, network.double()(image.double()))
        size = tuple(image.shape[-2:])
        return Fold(name, size, len(folded.changes), len(folded.left), error, own, reasons_of(folded))
    fault = f"{type(failure.error).__name__}: {str(failure)[:200]}"
    return Fold(name, (), 0, 0, float("inf"), 0.0, {}, fault)


def smallest(network: nn.Module, size_chw: tuple[int, int, int]) -> Tensor:
    """An image of the smallest size that the network takes."""
    channels, height, width = size_chw
    sizes = [(side, side) for side in SIDES if side < min(height, width)]
    for size in sizes:
        image = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(SEED))
        with foreign_code(), torch.no_grad():
            network.eval()(image)
            return image
    return torch.randn(1, *size_chw, generator=torch.Generator().manual_seed(SEED))


@torch.no_grad()
def draw(network: nn.Module) -> None:
    """Draws scale, shift and statistics of every norm; scales are smaller the more there are, lest answers overflow."""
    generator = torch.Generator().manual_seed(SEED)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    factor = min(1.0, (50 / len(norms)) ** 0.5)
    for norm in norms:
        if norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.normal_(std=0.1, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
        if norm.weight is not None:
            norm.weight.uniform_(0.5 * factor, 1.5 * factor, generator=generator)
        if norm.bias is not None:
            norm.bias.normal_(std=0.1, generator=generator)


def largest_difference(before: object, after: object) -> float:
    """As a share of the largest value, over the parts of an answer; infinite where one is not finite."""
    pairs = list(zip(tensors_of(before), tensors_of(after), strict=True))
    if not all(x.isfinite().all() for pair in pairs for x in pair):
        return float("inf")
    return max(float((a.double() - b.double()).abs().max() / a.double().abs().max()) for a, b in pairs)


def reasons_of(folded: Folded) -> dict[str, int]:
    """Reasons without the names of layers, each with its number, the commonest first."""
    short = [" ".join(reason.partition(" in ")[0].split()[:6]) for _, reason in folded.left]
    return {reason: short.count(reason) for reason in sorted(set(short), key=short.count, reverse=True)}


def measure(name: str, budget_s: float) -> Timing:
    """Times a network and its folded one by turns, as often as the time allows."""
    built = build(name)
    if built is None:
        raise ValueError(f"{name} has no batch norm; time one that has")
    network, size = built
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(SEED))
    pair = (network.eval(), fold_batch_norm(network, image=image).network)
    with torch.no_grad():
        for one in pair * 2:
            one(image)
        times: tuple[list[float], list[float]] = ([], [])
        started = time.perf_counter()
        while len(times[0]) < 5 or time.perf_counter() - started < budget_s:
            for one, noted in zip(pair, times, strict=True):
                start = time.perf_counter()
                one(image)
                noted.append(time.perf_counter() - start)
    before, after = (1000 * statistics.median(noted) for noted in times)
    return Timing(name, size[1:], before, after, len(times[0]))


def fold_row(fold: Fold) -> Row:
    why = "; ".join(f"{count} because {reason}" for reason, count in fold.reasons.items())
    stay = f", {fold.left} stay ({why})" if fold.left else ""
    figure = fold.fault or f"{fold.folded} folded{stay}, off by {fold.error:.0e} (float32 itself {fold.own_error:.0e})"
    return Row(what=f"{fold.name}, {'x'.join(map(str, fold.size))}", figure=figure, reference="at most 1e-4")


def timing_row(timing: Timing) -> Row:
    figure = f"{timing.before_ms:.1f} ms to {timing.after_ms:.1f} ms, {timing.saved:.0%} saved"
    return Row(what=f"time of {timing.name}, one image of {'x'.join(map(str, timing.size))}", figure=figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fold_batch_norm", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names with * and ?; timm's begin with timm/")
    parser.add_argument("--timed", nargs="*", default=list(TIMED), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=4, help="a timed network gets")
    parser.add_argument("--json", type=Path, default=RESULTS / "fold_batch_norm.json")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    timings = [measure(name, options.seconds) for name in options.timed]
    for timing in timings:
        print(timing_row(timing).what, timing_row(timing).figure, sep=": ", flush=True)
    folds = []
    for name in (*models.names(), *(f"timm/{name}" for name in TIMM)):
        if fnmatch(name, options.only) and (fold := examine(name)):
            folds.append(fold)
            print(f"{'pass' if fold.passes else 'FAIL'}  {fold_row(fold).what}: {fold_row(fold).figure}", flush=True)
    passed = sum(fold.passes for fold in folds)
    worst = max((fold.error for fold in folds), default=0.0)
    rows = [
        Row(what="networks whose answer is kept", figure=f"{passed} of {len(folds)}", reference="all"),
        Row(what="largest error", figure=f"{worst:.0e}", reference="1e-4"),
        Row(what="time saved of one image, by network", figure=", ".join(f"{t.name} {t.saved:.0%}" for t in timings)),
    ]
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "benchmarks.fold_batch_norm", *words])
    details = {"networks": [asdict(fold) for fold in folds], "times": [asdict(timing) for timing in timings]}
    write_result(options.json, rows, command=command, seed=SEED, wall_s=time.monotonic() - started, details=details)
    print(f"{passed} of {len(folds)} pass, the largest error is {worst:.1e}")
    return int(passed < len(folds))


if __name__ == "__main__":
    sys.exit(main())
