"""`unpool evaluate`: the metrics of a run on one split."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json
from unpool.cli.early import start_answering
from unpool.cli.environment import prepare
from unpool.cli.metrics import write_metrics
from unpool.cli.parser import Parser, add_views
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "evaluate runs, or a published network, on a split of a data set"
EXAMPLES = """Several runs are averaged: classes are matched by name, the set is the first's.
examples: unpool evaluate runs/camvid_unet-1 data.root=DIR --split test
          unpool evaluate runs/camvid_unet-1 runs/camvid_unet-2 --tta flip
          unpool evaluate resnet50 data.root=DIR --weights imagenet
          unpool evaluate ssd300_vgg16 data.root=DIR --weights coco"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("evaluate", ABOUT, details=EXAMPLES)
    verb.add_argument("run", type=Path, metavar="RUN", help="a run directory, or a network's name")
    verb.add_argument(
        "words", nargs="*", default=[], metavar="RUN or key=value", help="further runs; overrides such as data.root=DIR"
    )
    verb.add_argument("--split", choices=("train", "val", "test"), default="val", help="by default val")
    verb.add_argument(
        "--weights",
        choices=["last", "best", "imagenet", "voc", "coco", "efficientnet_lite0"],
        metavar="NAME",
        default="last",
        help="of a run: last (default) or best; of a network: imagenet, voc or coco, or efficientnet_lite0 of a "
        "package",
    )
    add_views(verb)
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Evaluates the run on the split, prints its metrics and returns 0."""
    further = [word for word in values.words if "=" not in word or Path(word).is_dir()]  # also runs/lr=0.1
    runs = [values.run, *map(Path, further)]
    overrides = [word for word in values.words if word not in further]
    if values.from_shell:
        for one in runs:
            start_answering("evaluating", one, is_published=values.weights not in ("last", "best"))
    prepare(from_shell=values.from_shell)
    from unpool.run import evaluate

    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        metrics = evaluate(
            runs, overrides, split=values.split, weights=values.weights, tta=values.tta, progress=progress
        )
    if values.json:
        write_json(metrics)
    else:
        write_metrics(metrics)
    return 0
