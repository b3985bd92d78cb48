"""Tries the three conversions on architectures that nobody looked at before, and compares at sizes that are no probe.

Each of 60 drawn architectures is folded, made fully convolutional and dilated; what was converted runs beside the
network before it, in float64, at five sizes drawn by the seed among those that the network takes (a network of one size
takes that alone, and gets other noise than the conversion). Maps of a dilated network are compared at every s-th
position. Scores of a fully convolutional one are compared with the head of the classifier on each window of its maps,
which is what is promised where layers pad.

Verdicts: exact (within 1e-5 of the largest value), refused (NotConvertible), wrong, crashed (any other error).
"""

import argparse
import json
import random
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import conversion_networks as networks
from benchmarks.conversion_networks import SEED, noise, takes
from benchmarks.dilation import difference
from benchmarks.record import Row, write_result
from unpool.convert import FullyConvolutional, dilate, fold_batch_norm, fully_convolutional
from unpool.convert.dilation.conversion import PROBES
from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code
from unpool.tracing.outputs import difference as difference_of_parts
from unpool.tracing.outputs import outputs_of
from unpool.tracing.probes import SIZES as MORE_PROBES

TOLERANCE, NUM_SIZES, TRIES = 1e-5, 5, 40
RANGE = (64, 200)  # rows and columns of the sizes drawn
BEYOND = 96  # at most so many more rows and columns than the classifier's input size
Check = Callable[[Tensor], float]  # an image to the largest difference, relative to the largest value


def fold(name: str) -> dict[str, Any]:
    """Folds the batch norms of a classifier and compares its whole output."""
    network = networks.classifier(name)
    channels, *size = networks.published_size(network)
    is_free = takes(network, noise((channels, 64, 96), SEED))
    folded = fold_batch_norm(network, image=None if is_free else noise((channels, *size), SEED))

    def check(image: Tensor) -> float:
        with torch.no_grad():
            pairs = zip(outputs_of(network, image), outputs_of(folded.network, image), strict=True)
            return max(difference_of_parts(a, b) for a, b in pairs)

    sizes = _sizes(name, network, RANGE) if is_free else iter([tuple(size)])
    reasons = Counter(kind_of(reason) for _, reason in folded.left)
    return {"folded": len(folded.changes), "left": dict(reasons), **_compare(channels, sizes, check)}


def slide(name: str) -> dict[str, Any]:
    """Makes a classifier fully convolutional and compares every score with its head on the window of its maps."""
    network: Any = networks.classifier(name)
    image = networks.smallest_image(network)
    sliding = fully_convolutional(network, image=image)
    channels, *size = image.shape[1:]

    def check(image: Tensor) -> float:
        with torch.no_grad():
            return difference(_slid_head(network, sliding, image), sliding(image))

    sizes = _sizes(name, network, (max(size) + 1, max(size) + BEYOND))
    return {"size": size, **_compare(channels, sizes, check)}


def _slid_head(network: Any, sliding: FullyConvolutional, image: Tensor) -> Tensor:
    """Scores (1, K, H', W') of the classifier's head on the windows of its maps of an image."""
    maps, window = network.forward_features(image), image[:, :, : sliding.size_hw[0], : sliding.size_hw[1]]
    first = 1 if maps.shape[-1] == network.num_features else 2  # the axis of rows: (1, H, W, C) or (1, C, H, W)
    size = network.forward_features(window).shape[first : first + 2]
    rows, columns = (n - m + 1 for n, m in zip(maps.shape[first : first + 2], size, strict=True))
    parts = [maps.narrow(first, i, size[0]).narrow(first + 1, j, size[1]) for i in range(rows) for j in range(columns)]
    return torch.cat([network.forward_head(part) for part in parts]).T.view(1, -1, rows, columns)


def dilate_to(name: str, output_stride: int | None) -> dict[str, Any]:
    """Dilates a network to a stride, None being half of its coarsest, and compares every s-th position of its maps."""
    network: Any = networks.feature_maps(name)
    strides = network.feature_info.reduction() if network is not None else ()
    network = network if network is not None else networks.classifier(name)
    output_stride = output_stride or max(max(strides, default=32) // 2, 1)
    channels, *size = networks.published_size(network)
    is_free = takes(network, noise((channels, *PROBES[0]), SEED))
    dilated = dilate(network, output_stride=output_stride, image=None if is_free else noise((channels, *size), SEED))
    steps = [max(1, stride // output_stride) for stride in strides]

    def check(image: Tensor) -> float:
        with torch.no_grad():
            old, new = outputs_of(network, image), outputs_of(dilated, image)
        if steps:
            return max(
                _map_difference(*maps) for maps in zip(old, new, steps, network.feature_info.channels(), strict=True)
            )
        return max(difference_of_parts(a, b) for a, b in zip(old, new, strict=True))

    probes = dilated.meta.get("compared_at", ())
    sizes = _sizes(name, network, RANGE, probes) if is_free else iter([tuple(size)])
    return {"output_stride": output_stride, "strides": list(strides), **_compare(channels, sizes, check)}


def _map_difference(old: Tensor, new: Tensor, step: int, channels: int) -> float:
    """Of a map and every `step`-th position of the new one; both (1, C, H, W), or (1, H, W, C) as some of timm's."""
    if old.shape[1] != channels:
        old, new = (x.permute(0, 3, 1, 2) for x in (old, new))
    return difference(old, new[:, :, ::step, ::step])


def _sizes(
    name: str, network: nn.Module, limits: tuple[int, int], probes: Sequence[tuple[int, int]] = ()
) -> Iterator[tuple[int, ...]]:
    """Five sizes (H, W) that the network takes and that no conversion probes with; fewer where it takes few."""
    generator, channels = random.Random(f"{SEED} {name}"), networks.published_size(network)[0]
    seen, left = {*PROBES, *MORE_PROBES, *probes}, NUM_SIZES
    for number in range(TRIES):
        step = 1 if number < TRIES // 2 else 32  # networks that take multiples of 32 alone
        first, last = -(-limits[0] // step), limits[1] // step
        size = (step * generator.randint(first, last), step * generator.randint(first, last))
        if left and size not in seen and takes(network, noise((channels, *size), number)):
            yield size
            left -= 1
        seen.add(size)


def _compare(channels: int, sizes: Iterator[tuple[int, ...]], check: Check) -> dict[str, Any]:
    """The verdict over all sizes, with the difference at each; an error of the new network is wrong too."""
    differences: list[tuple[str, float | str]] = []
    for number, size in enumerate(sizes):
        off: float | str = ""
        with foreign_code() as failure:
            off = check(noise((channels, *size), SEED + 1 + number))
        differences.append(("x".join(map(str, size)), f"does not run: {failure}" if failure else off))
    is_exact = differences and all(isinstance(off, float) and off <= TOLERANCE for _, off in differences)
    return {"verdict": "exact" if is_exact else "wrong" if differences else "no size", "differences": differences}


def _full_verdict(line: Mapping[str, Any]) -> str:
    """The verdict, and whether it says less than most: nothing was there to convert, or the network takes one size."""
    if line["verdict"] != "exact":
        return line["verdict"]
    if line.get("folded") == 0:
        return "without a norm to fold"
    return "exact" if len(line["differences"]) > 1 else "exact at their one size"


CONVERSIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "fold_batch_norm": fold,
    "fully_convolutional": slide,
    "dilate to 8": lambda name: dilate_to(name, 8),
    "dilate to half": lambda name: dilate_to(name, None),
}


def examine(name: str, conversion: str) -> dict[str, Any]:
    """What became of one architecture in one conversion."""
    started, line = time.monotonic(), {}
    with foreign_code(passing=NotConvertible) as failure:
        try:
            line = CONVERSIONS[conversion](name)
        except NotConvertible as error:
            line = {"verdict": "refused", "reason": str(error), "kind": kind_of(str(error))}
    if failure:
        line = {"verdict": "crashed", "reason": f"{type(failure.error).__name__}: {failure}"}
    return {**line, "seconds": round(time.monotonic() - started, 1)}


def kind_of(reason: str) -> str:
    """A reason without the names, numbers and details that differ from network to network.

    >>> kind_of("stages.2:add cannot be dilated to stride 8: it joins maps of strides 9 and 14 (by 3): do so")
    'it joins maps of strides N and N'
    """
    head = r"^\S* cannot be (dilated to stride \d+|made convolutional|followed|folded|copied)[^:]*: "
    return re.sub(r"\d+(x\d+)*", "N", re.split(r"(?<!it gives) \(|: |, so ", re.sub(head, "", reason))[0])[:90]


def rows_of(lines: Mapping[str, Mapping[str, Any]], left_out: int) -> list[Row]:
    """One row of RESULTS.md for all, with the verdicts by conversion."""
    texts = []
    for conversion in CONVERSIONS:
        verdicts = Counter(_full_verdict(line[conversion]) for line in lines.values() if conversion in line)
        texts.append(f"{conversion}: {', '.join(f'{count} {verdict}' for verdict, count in sorted(verdicts.items()))}")
    families = len({networks.family_of(name) for name in lines})
    what = f"{len(lines)} drawn architectures of {families} families, {left_out} too large, at up to five sizes each"
    return [Row(what=what, figure="; ".join(texts), reference="0 wrong, 0 crashed")]


def table_of(lines: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """One line an architecture: the largest difference of each conversion, or why there is none."""
    head = ["architecture", "family", *CONVERSIONS]
    return [head, *([name, networks.family_of(name), *map(_cell, _answers(line))] for name, line in lines.items())]


def _answers(line: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [line.get(conversion, {"verdict": "not run"}) for conversion in CONVERSIONS]


def _cell(answer: Mapping[str, Any]) -> str:
    if "differences" not in answer:
        return f"{answer['verdict']}: {answer.get('kind', answer.get('reason', ''))}".removesuffix(": ")
    numbers = [off for _, off in answer["differences"] if isinstance(off, float)]
    return f"{answer['verdict']} {max(numbers, default=float('nan')):.0e}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.conversions", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="architectures whose name holds this")
    parser.add_argument("--conversions", nargs="+", default=list(CONVERSIONS), choices=list(CONVERSIONS))
    parser.add_argument("--json", type=Path, help="also write the verdicts here")
    parser.add_argument("--resume", action="store_true", help="keep what that file holds already")
    options = parser.parse_args(arguments)
    is_kept = options.resume and options.json.exists()
    kept = json.loads(options.json.read_text(encoding="utf-8"))["details"] if is_kept else {}
    drawing = kept.get("drawing") or vars(networks.draw())
    lines: dict[str, dict[str, Any]] = {name: {} for name in drawing["names"]} | kept.get("lines", {})
    for conversion in options.conversions:
        for name in (name for name in lines if options.only in name):
            if conversion not in lines[name]:
                lines[name][conversion] = examine(name, conversion)
                print(f"{conversion}, {name}: {_cell(lines[name][conversion])}", flush=True)
                if options.json:
                    _write(options.json, drawing, lines)
    answers = [answer for line in lines.values() for answer in line.values()]
    return int(any(answer["verdict"] in ("wrong", "crashed") for answer in answers))


def _write(path: Path, drawing: Mapping[str, Any], lines: Mapping[str, Mapping[str, Any]]) -> None:
    seconds = sum(answer["seconds"] for line in lines.values() for answer in line.values())
    write_result(
        path,
        rows_of(lines, len(drawing["left_out"])),
        command=shlex.join(["python", "-m", "benchmarks.conversions", "--json", str(path)]),
        seed=SEED,
        wall_s=seconds,
        details={"drawing": drawing, "lines": lines},
        table=table_of(lines),
    )


if __name__ == "__main__":
    sys.exit(main())
