"""`unpool show lesion`: what a trained network loses without single blocks, without several, and in another order."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_run
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "what a network loses without blocks, or with them in another order"
EXAMPLES = """Each residual block is deleted by itself (its shortcut stays), then several at random, then pairs of
blocks of one shape trade places; of a network without residual blocks, each layer that keeps the shape is left out. The
page also has the gradient by path length (Veit et al. 2016, arXiv:1605.06431).
examples: unpool show lesion runs/cifar10_resnet56-1
          unpool show lesion runs/cifar10_vgg11-1 --split test --images 5000 -o vgg.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show lesion", ABOUT, details=EXAMPLES)
    add_run(verb)
    verb.add_argument("--images", type=int, default=1000, metavar="N", help="to measure on at most; 1000")
    verb.add_argument("--draws", type=int, default=3, metavar="N", help="of several blocks and of pairs; 3")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws; 0")
    add_output(verb, "the page, a .html; lesion.html", out=Path("lesion.html"), metavar="FILE")
    return verb


def run(values: Namespace) -> int:
    """Writes the page, prints the error without each part and the page's path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.lesioning import show_lesion

    with library_output_to_stderr(), log_to_stderr(), ReadingBar("measuring lesions on") as progress:
        view = show_lesion(
            values.run,
            values.overrides,
            split=values.split,
            weights=values.weights,
            images=values.images,
            draws=values.draws,
            seed=values.seed,
            progress=progress,
        )
        path = view.save(values.out)
    if values.json:
        write_json({**view.to_json(), "page": str(path)})
        return 0
    shown = view.values
    single = [(one["name"], f"{one['error']:.4f}") for one in shown["blocks"] or shown["layers"]]
    drawn = [
        (f"{one['size']} {what}", f"{sum(one['errors']) / len(one['errors']):.4f}")
        for key, what in (("several", "blocks deleted"), ("shuffled", "pairs moved"))
        for one in shown[key]
    ]
    write_table([("without", "error"), ("nothing", f"{shown['error']:.4f}"), *single, *drawn])
    if shown["effective"] is not None:
        effective = shown["effective"]
        write_result(f"95 % of the gradient: paths of {effective['shortest']} to {effective['longest']} blocks")
    write_result(str(path))
    return 0
