"""`unpool compare`: networks by name, or runs, side by side."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unpool.cli.console import library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr
from unpool.streams import write_message

ABOUT = "set networks side by side, or runs: costs, scores, differences"
DETAILS = """Networks: parameters, multiply-adds, activations, images a second here, and the
score published with their weights; with -o PAGE.html or .svg, score against
operations, the area of a bubble by parameters. Runs of one task and one
validation set: the difference of each to the first, with a 95 % interval over
the images; with -o PAGE.html curves, settings that differ, and the images on
which they differ most.
examples: unpool compare vgg16 googlenet_torchvision resnet50 -o networks.html
          unpool compare runs/scenes_unet-1 runs/scenes_unet-2 -o page.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("compare", ABOUT, details=DETAILS)
    verb.add_argument(
        "sources", nargs="+", metavar="NAME|RUN", help="two or more; of runs also key=value, such as data.root=DIR"
    )
    verb.add_argument("--metric", metavar="NAME", help="of runs; by default the one that chose the best weights")
    verb.add_argument("--split", default="val", metavar="PART", help="of runs: train, val or test; by default val")
    verb.add_argument("--weights", default="last", metavar="NAME", help="of runs: last or best; by default last")
    verb.add_argument("--replicates", type=int, default=1000, metavar="N", help="draws of images; by default 1000")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws; by default 0")
    verb.add_argument("--size", nargs=3, type=int, metavar=("C", "H", "W"), help="of a network's image")
    verb.add_argument("--batch", type=int, default=1, metavar="N", help="images of a pass that is timed; by default 1")
    verb.add_argument("--seconds", type=float, default=1.0, metavar="S", help="to time a network; 0 leaves it out")
    verb.add_argument("-o", "--out", type=Path, metavar="FILE", help="a page (.html), or the bubbles (.svg)")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the comparison, writes the page where one is asked for, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.comparing import compare

    overrides = [word for word in values.sources if "=" in word]
    with library_output_to_stderr(), log_to_stderr():
        view = compare(
            *(word for word in values.sources if "=" not in word),
            overrides=overrides,
            metric=values.metric,
            split=values.split,
            weights=values.weights,
            input_shape=None if values.size is None else tuple(values.size),
            batch=values.batch,
            seconds=values.seconds,
            replicates=values.replicates,
            seed=values.seed,
            progress=write_message,
        )
        saved = None if values.out is None else view.save(values.out)
    if values.json:
        write_json({**view.values, "page": None if saved is None else str(saved)})
        return 0
    write = _write_networks if "networks" in view.values else _write_runs
    write(view.values)
    if saved is not None:
        write_result(str(saved))
    return 0


def _write_networks(values: Mapping[str, Any]) -> None:
    heads = ("network", "parameters", "GMACs", "activations", "images/s", "published score")
    write_table([heads, *(_cells(one) for one in values["networks"])])


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    score = one["published"]
    speed = "-" if one["images_per_s"] is None else f"{one['images_per_s']:.1f}"
    text = "-" if score is None else f"{score['value']:.2f} % {score['metric']}, {score['dataset']}"
    macs = f"{one['macs'] / 1e9:.3f}{'+' if one['uncounted'] else ''}"
    return one["name"], f"{one['params']:,}", macs, f"{one['activations']:,}", speed, text


def _write_runs(values: Mapping[str, Any]) -> None:
    heads = ("run", values["metric"], "parameters", "GMACs")
    rows = [
        (
            one["name"],
            "n/a" if one["score"] is None else f"{one['score']:.4f}",
            f"{one['params']:,}",
            "-" if one["macs"] is None else f"{one['macs'] / 1e9:.3f}",
        )
        for one in values["runs"]
    ]
    write_table([heads, *rows])
    for one in values["differences"]:
        title = f"{one['second']} minus {one['first']}"
        if one["value"] is None:
            write_result(f"{title}: no score")
            continue
        interval = (
            f"95 % interval {one['low']:+.4f} to {one['high']:+.4f}, {one['replicates']} draws, seed {one['seed']}"
        )
        write_result(f"{title}: {one['value']:+.4f} ({interval}): {one['verdict']}")
    for key, settings in values["settings"].items():
        write_result(f"{key}: {', '.join(f'{run} {value}' for run, value in settings.items())}")
