"""Turns the strides of many networks into dilations, ours beside timm, segmentation_models.pytorch and torchvision.

Each dilated network is compared with the network that it was made from, on the same weights and images: every s-th
position of each map against the map before, s being the old stride over the new one, as the largest difference over the
largest value. All in float64, where an exact conversion leaves rounding alone; ours in float32 too.
"""

import argparse
import importlib
import importlib.metadata
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.dilation_networks import MODULES, NETWORKS, PEERS, Network, Pair, build
from benchmarks.record import RESULTS, Row, write_result
from unpool.convert import dilate
from unpool.errors import NotConvertible
from unpool.tracing.foreign import first_line
from unpool.tracing.recorder import tensors_of, without_values

SIZES = ((96, 128), (101, 135))  # (H, W); the second is left out where the network before takes no odd ones
SMALL = ((64, 96),)  # at output stride 1
TOLERANCE = 1e-5
REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
PACKAGES = ("torch", "torchvision", "timm", "segmentation_models_pytorch")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one network in one library: its error, or why there is none."""

    error: float | None = None
    note: str = ""

    @property
    def is_exact(self) -> bool:
        return self.error is not None and self.error <= TOLERANCE

    def __str__(self) -> str:
        return self.note if self.error is None else f"{self.error:.0e}" if self.error else "0"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One network at one output stride.

    Attributes:
        ours, ours_float32: the same conversion, run in float64 and in float32.
        peers: by library.
        build_s: what our conversion took.
    """

    network: Network
    output_stride: int
    ours: Answer
    ours_float32: Answer
    peers: dict[str, Answer]
    build_s: float


def examine(network: Network, output_stride: int) -> Line:
    """Everything about one network at one output stride."""
    started = time.monotonic()
    ours = ours_float32 = Answer(note="refused")
    build_s = 0.0
    try:
        before = build(network.ours)
        started = time.monotonic()
        after = dilate(before, output_stride=output_stride)
        build_s = time.monotonic() - started
        ours_float32 = error_of((before, after), output_stride, torch.float32)
        ours = error_of((before, after), output_stride, torch.float64)
    except NotConvertible as error:
        ours = Answer(note=f"refused: {error}")
    peers = {library: _peer(library, getattr(network, library), output_stride) for library in PEERS}
    return Line(
        network=network,
        output_stride=output_stride,
        ours=ours,
        ours_float32=ours_float32,
        peers=peers,
        build_s=round(build_s, 2),
    )


def _peer(library: str, name: str, output_stride: int) -> Answer:
    if not _is_installed(MODULES[library]):
        return Answer(note="not installed")
    return _answer(PEERS[library], name, output_stride) if name else Answer(note="-")


def _answer(dilated: Callable[[str, int], Pair], name: str, output_stride: int) -> Answer:
    """The error of a peer's network, or what it says instead."""
    torch.manual_seed(0)
    try:
        pair = dilated(name, output_stride)
    except REFUSALS as error:
        return Answer(note=f"refused: {first_line(error)[:100]}")
    return error_of(pair, output_stride, torch.float64)


def error_of(pair: Pair, output_stride: int, dtype: torch.dtype) -> Answer:
    """Largest relative difference over all maps and sizes of image."""
    before, after = (network.to(dtype) for network in pair)
    strides, worst = strides_of(before), 0.0
    for image in _images(before, SMALL if output_stride == 1 else SIZES, dtype):
        with torch.no_grad():
            old = [x.clone() for x in tensors_of(before(image.clone()))]
            try:
                new = list(tensors_of(after(image.clone())))
            except REFUSALS as error:
                return Answer(note=f"fails: {first_line(error)[:100]}")
        for a, b, stride in zip(old, new, strides, strict=True):
            step = max(1, stride // output_stride)
            if step > 1 and a.shape == b.shape:
                return Answer(note=f"left at stride {stride}")
            worst = max(worst, difference(a, b[:, :, ::step, ::step]))
    return Answer(error=worst)


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value, at positions that both have; infinite where sizes differ by more.

    Raises:
        ZeroDivisionError: the map is zero throughout, so that nothing would show.
    """
    if any(abs(m - n) > 1 for m, n in zip(a.shape, b.shape, strict=True)):
        return float("inf")
    if not a.any():
        raise ZeroDivisionError(f"a map of {tuple(a.shape)} is zero throughout: draw other weights")
    height, width = (min(m, n) for m, n in zip(a.shape[2:], b.shape[2:], strict=True))
    off = (a[:, :, :height, :width] - b[:, :, :height, :width]).abs().max() / a.abs().max()
    return float(off.nan_to_num(nan=torch.inf))


def strides_of(network: nn.Module) -> list[int]:
    """Of each map: by how much the image grows for one more row."""
    sizes, shell = [], without_values(network)
    for height in (128, 192):
        with torch.no_grad():
            image = torch.empty(1, 3, height, 160, device="meta", dtype=next(network.parameters()).dtype)
            sizes.append([x.shape[2] for x in tensors_of(shell(image))])
    return [64 // (more - fewer) for fewer, more in zip(*sizes, strict=True)]


def _images(network: nn.Module, sizes: Sequence[tuple[int, int]], dtype: torch.dtype) -> list[Tensor]:
    """Images of those sizes that the network takes."""
    generator, taken = torch.Generator().manual_seed(1), []
    for size in sizes:
        image = torch.randn(1, 3, *size, generator=generator, dtype=torch.float64).to(dtype)
        try:
            with torch.no_grad():
                network(image.clone())
        except REFUSALS:
            continue
        taken.append(image)
    return taken


def _is_installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def row_of(line: Line) -> Row:
    """The line as it is printed."""
    figure = str(line.ours) if line.ours.error is None else f"{line.ours} (float32: {line.ours_float32})"
    peers = [f"{library}: {answer}" for library, answer in line.peers.items() if answer.note != "-"]
    network = line.network
    what = f"{network.name} of {network.library} ({network.family}), output stride {line.output_stride}"
    return Row(what=what, figure=figure, reference="; ".join(peers))


def summary(lines: Sequence[Line]) -> list[Row]:
    """Versions, and how many are exact in each library."""
    networks = {line.network for line in lines}
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    worst = max((line.ours.error for line in lines if line.ours.error is not None), default=float("nan"))
    worst_32 = max((line.ours_float32.error or 0.0 for line in lines), default=float("nan"))
    count = f"{len(networks)} of {len({network.family for network in networks})} families, {len(lines)} conversions"
    refused = sum(line.ours.error is None for line in lines)
    rows = [
        Row(what="versions", figure=versions),
        Row(what="networks", figure=count, reference="at least 30 of 12"),
        Row(what="ours, worst relative error", figure=f"{worst:.0e} (float32: {worst_32:.0e})", reference="1e-5"),
        Row(what="ours, refused", figure=str(refused), reference="at most 3"),
    ]
    for library in PEERS:
        answers = [line.peers[library] for line in lines if line.peers[library].note not in ("-", "not installed")]
        exact, off = sum(a.is_exact for a in answers), sum(a.error is not None and not a.is_exact for a in answers)
        counts = f"{exact} exact, {off} off, {len(answers) - exact - off} refused or failing, of {len(answers)}"
        rows.append(Row(what=f"{library}, of the networks it has", figure=counts if answers else "not installed"))
    return rows


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.dilation", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="networks whose library/name holds this")
    parser.add_argument("--json", type=Path, default=RESULTS / "dilation.json")
    options = parser.parse_args(arguments)
    started, lines = time.monotonic(), []
    for network in (n for n in NETWORKS if options.only in n.ours):
        for output_stride in network.strides:
            lines.append(examine(network, output_stride))
            row = row_of(lines[-1])
            print(f"{row.what}: {row.figure} | {row.reference}", flush=True)
    rows = summary(lines)
    for row in rows:
        print(f"{row.what}: {row.figure} {row.reference and f'({row.reference})'}")
    command = shlex.join(["python", "-m", "benchmarks.dilation", *(sys.argv[1:] if arguments is None else arguments)])
    details = {"lines": [asdict(line) for line in lines]}
    write_result(options.json, rows, command=command, seed=0, wall_s=time.monotonic() - started, details=details)
    return int(any(line.ours.error is not None and not line.ours.is_exact for line in lines))


if __name__ == "__main__":
    sys.exit(main())
