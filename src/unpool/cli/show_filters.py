"""`unpool show filters`: the filters of a network's first convolution as a sheet."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr
from unpool.streams import write_message

ABOUT = "the filters of a network's first convolution as a sheet"
EXAMPLES = """All filters are on one scale, grey is 0. Without --weights a network's filters are random.
examples: unpool show filters runs/cifar10_resnet20-1
          unpool show filters resnet18 --weights imagenet -o filters.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show filters", ABOUT, details=EXAMPLES)
    verb.add_argument("source", metavar="RUN|NETWORK", help="a run directory, or a network's name")
    verb.add_argument(
        "--weights", metavar="NAME|FILE", help="of a run last (default) or best; of a network imagenet or a file"
    )
    verb.add_argument("--layer", metavar="NAME", help="another convolution than the first")
    verb.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR|FILE",
        help="where to write SOURCE_filters.png, or a .png or .html",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Writes the sheet, prints what it shows and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.filters import show_filters
    from unpool.predictor.files import save_view
    from unpool.predictor.trained_network import open_network

    with library_output_to_stderr(), log_to_stderr():
        network = open_network(values.source, values.weights)
        view = show_filters(network.model, values.layer, order=network.order, name=network.name)
        path = save_view(view, values.out, f"{Path(values.source).name}_filters", suffix=".png")
    if network.is_random:
        write_message("warning: the weights are random: --weights sets others")
    if values.json:
        write_json({**view.to_json(), "picture": str(path)})
    else:
        rows = [(name.replace("_", " "), str(value)) for name, value in view.values.items() if name != "sizes"]
        write_table(rows)
        write_result(str(path))
    return 0
