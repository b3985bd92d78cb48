"""Trains residual networks and a VGG on CIFAR-10, takes parts out of them, and measures how long their paths are.

What Veit et al. 2016 (arXiv:1605.06431) and the lecture say stands beside what is measured. Each network is trained by
`unpool train` as a process of its own on 499,200 images (ten epochs, jpeg copies of CIFAR-10), three seeds of ResNet-56
and one of the others; the published ones learned from 8 million. Last, ResNet-56 is trained with the effective paths
alone: in each step as many blocks as give paths of the length that carried the gradient. A call goes on where the one
before was stopped.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import unpool
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, shown, trained

Values = Mapping[str, Any]
IMAGES, DRAWS, EPOCHS = 2000, 5, 10


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network to train.

    Attributes:
        recipe: shipped recipe.
        changed: its overrides.
        seeds: number of runs.
    """

    recipe: str
    changed: tuple[str, ...] = ()
    seeds: int = 1


NETWORKS = {
    "resnet56": Network(recipe="cifar10_resnet56", seeds=3),
    "resnet110": Network(recipe="cifar10_resnet56", changed=("model.name=cifar_resnet110", "train.lr=0.1")),
    "vgg16": Network(recipe="cifar10_vgg11", changed=("model.name=vgg16_bn",)),
    "effective": Network(recipe="cifar10_resnet56", seeds=3),
}


def lesions(run: Ended, data: Path, *, images: int, draws: int) -> Values | None:
    """What `show_lesion` measures of a run on its test images, kept beside it; None of one that diverged."""
    if run.metrics is None:
        return None
    kept = run.run.with_name(f"{run.run.name}-lesions-{images}-{draws}.json")
    if not kept.is_file():
        view = unpool.show_lesion(run.run, {"data.root": str(data)}, images=images, draws=draws)
        kept.with_suffix(".html").write_text(view.to_page(), encoding="utf-8")
        kept.write_text(json.dumps(view.to_json(), indent=1) + "\n", encoding="utf-8")
    values: Values = json.loads(kept.read_text(encoding="utf-8"))
    return values


def rise(values: Values) -> list[float]:
    """How much larger the error is without each block or layer that keeps the shape."""
    single = values["blocks"] or values["layers"]
    return [one["error"] - values["error"] for one in single if one["keeps_shape"]]


def kept_blocks(measured: Sequence[Values]) -> int:
    """Blocks to keep in a step so that the mean path is as long as those that carried the gradient: twice that."""
    mean = fmean(values["effective"]["mean"] for values in measured)
    return max(1, min(round(2 * mean), len(measured[0]["blocks"])))


def rows_of(name: str, measured: Sequence[Values]) -> list[Row]:
    """What lesions of a network's runs cost, and what was said of them."""
    count, whole = len(measured), fmean(values["error"] for values in measured)
    rises = [one for values in measured for one in rise(values)]
    runs = f"{name}, {count} seed{'s' if count > 1 else ''}"
    single = (
        f"median {100 * median(rises):+.1f}, most {100 * max(rises):+.1f} points on an error of {100 * whole:.1f} %"
    )
    if not measured[0]["blocks"]:
        said = "any layer of VGG deleted: about 90 %, chance"
        least = f"least {100 * min(rises):+.1f}, {single}"
        return [Row(what=f"{runs}: error without one layer that keeps the shape", figure=least, reference=said)]
    first = [
        100 * (one["error"] - values["error"])
        for values in measured
        for one in values["blocks"]
        if not one["keeps_shape"]
    ]
    return [
        Row(
            what=f"{runs}: error without one block that keeps the shape",
            figure=single,
            reference="one block deleted hardly hurts",
        ),
        Row(
            what=f"{runs}: error without a block that changes the shape",
            figure=", ".join(f"{one:+.1f}" for one in first) + " points",
            reference="down-sampling blocks hurt more",
        ),
        Row(what=f"{runs}: several blocks deleted", figure=_series(measured, "several"), reference="rises smoothly"),
        Row(
            what=f"{runs}: pairs of blocks that traded places",
            figure=_series(measured, "shuffled"),
            reference="rises smoothly with Kendall's tau",
        ),
        _paths_row(runs, measured),
    ]


def _series(measured: Sequence[Values], kind: str) -> str:
    parts = []
    for same in zip(*(values[kind] for values in measured), strict=True):
        error = 100 * fmean(error for one in same for error in one["errors"])
        order = f" (tau {fmean(one['order'] for one in same):.2f})" if kind == "shuffled" else ""
        parts.append(f"{same[0]['size']}: {error:.1f} %{order}")
    return ", ".join(parts)


def _paths_row(runs: str, measured: Sequence[Values]) -> Row:
    spans = [values["effective"] for values in measured]
    each = [f"{one['shortest']} to {one['longest']} ({100 * one['paths']:.3g} % of all paths)" for one in spans]
    count = len(measured[0]["blocks"])
    return Row(
        what=f"{runs}: blocks on the paths that carry 95 % of the gradient, of {count}",
        figure=f"{'; '.join(each)}, mean {fmean(one['mean'] for one in spans):.1f}",
        reference="5 to 17 of 54 (0.45 % of all paths)",
    )


def effective_row(whole: Sequence[Ended], effective: Sequence[Ended], kept: int, blocks: int) -> Row:
    """The error of ResNet-56 with a few blocks in each step, and with all."""
    errors = [[1 - run.score("top1") for run in runs] for runs in (effective, whole)]
    return Row(
        what=f"resnet56 trained with {kept} of {blocks} blocks in each step, {len(effective)} seeds: error",
        figure=f"{shown(errors[0])}, with all {shown(errors[1])}",
        reference="5.96 % with 23 of 54, with all 6.10 % (110 layers)",
    )


def curves(measured: Sequence[Values]) -> dict[str, Any]:
    """The curves of each run, for the file."""
    keys = ("error", "images", "blocks", "layers", "several", "shuffled", "lengths", "effective")
    return {f"seed {seed}": {key: values[key] for key in keys} for seed, values in enumerate(measured)}


def measure(options: argparse.Namespace, tell: Callable[[str], None]) -> list[Row]:
    """Trains and measures what the command line names, and writes the file after each network."""
    data, runs = options.data.absolute(), options.runs.absolute()
    rows: list[Row] = []
    details: dict[str, Any] = {}
    known: dict[str, list[Ended]] = {}
    measured: dict[str, list[Values]] = {}
    spent_s = 0.0
    for name in options.networks:
        network, changed = NETWORKS[name], []
        if name == "effective":
            if not measured.get("resnet56"):
                tell("effective: needs resnet56, whose path lengths say how many blocks to keep")
                continue
            changed = [f"model.kept_blocks={kept_blocks(measured['resnet56'])}"]
        given = [f"train.epochs={EPOCHS}", *network.changed, *changed, *options.set]
        seeds = range(min(network.seeds, options.seeds))
        known[name] = [trained(network.recipe, given, root=data, runs=runs, seed=seed) for seed in seeds]
        found = [lesions(run, data, images=options.images, draws=options.draws) for run in known[name]]
        measured[name] = [values for values in found if values is not None]
        spent_s += sum(run.metrics["training"]["time_s"] for run in known[name] if run.metrics is not None)
        if not measured[name]:
            rows.append(Row(what=name, figure="diverged"))
            continue
        new = rows_of(name, measured[name])
        if name == "effective":
            kept, blocks = kept_blocks(measured["resnet56"]), len(measured["resnet56"][0]["blocks"])
            new = [effective_row(known["resnet56"], known[name], kept, blocks), new[0]]
        for row in new:
            tell(f"{row.what}: {row.figure}")
        rows += new
        details[name] = curves(measured[name])
        is_whole = options.networks == list(NETWORKS) and not options.set
        result = (RESULTS if is_whole else runs) / "lesions.json"
        command = "python -m benchmarks.lesions --data DATA --runs RUNS"
        write_result(result, rows, command=command, seed=None, wall_s=spent_s, details=details)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.lesions", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "cifar10_jpeg")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "lesions", help="where the runs are kept")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=3, help="at most, of each network")
    parser.add_argument("--images", type=int, default=IMAGES, help="test images that lesions are measured on")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of several blocks, and of pairs")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every training")
    measure(parser.parse_args(arguments), lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
