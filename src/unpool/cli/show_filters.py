"""`unpool show filters`: the filters of a network's first convolution as a sheet."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_source, finish
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr

ABOUT = "the filters of a network's first convolution as a sheet"
EXAMPLES = """All filters are on one scale, grey is 0. Without --weights a network's filters are random.
examples: unpool show filters runs/cifar10_resnet20-1
          unpool show filters resnet18 --weights imagenet -o filters.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show filters", ABOUT, details=EXAMPLES)
    add_source(verb)
    verb.add_argument("--layer", metavar="NAME", help="another convolution than the first")
    add_output(verb, "where to write SOURCE_filters.png, or a .png or .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the sheet, prints what it shows and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.filters import show_filters
    from unpool.predictor.files import save_view
    from unpool.predictor.sources import open_source

    with library_output_to_stderr(), log_to_stderr():
        opened = open_source(values.source, weights=values.weights, if_random="--weights sets others", device="cpu")
        view = show_filters(opened.network, values.layer, order=opened.preprocessing.order, name=opened.title)
        path = save_view(view, values.out, f"{Path(values.source).name}_filters", suffix=".png")
    rows = [(name.replace("_", " "), str(value)) for name, value in view.values.items() if name != "sizes"]
    return finish(values, view.to_json(), path, rows, notes=opened.notes)
