"""`unpool probe`: fits a linear classifier on the fixed features of a network."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.early import start_training
from unpool.cli.environment import prepare
from unpool.cli.metrics import write_metrics
from unpool.cli.parser import Parser
from unpool.cli.train import recipe_of
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "fit a linear classifier on a network's fixed features"
EXAMPLES = """The run that it leaves is read by predict and evaluate as any other.
examples:
  unpool probe folder_resnet18 data.root=DIR model.weights=imagenet
  unpool probe cifar10_resnet20 data.root=DIR model.weights=FILE --by svm"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("probe", ABOUT, details=EXAMPLES)
    verb.add_argument("items", nargs="+", metavar="RECIPE key=value", help="name or file of a recipe, then overrides")
    verb.add_argument(
        "--by",
        choices=["ridge", "svm", "sgd"],
        default="ridge",
        help="least squares in closed form (default), a linear support vector machine, or stochastic gradient descent",
    )
    verb.add_argument("--run", type=Path, metavar="DIR", help="the run directory; by default runs/RECIPE-N")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Fits, prints the metrics and the run directory, and returns 0."""
    recipe, overrides = recipe_of(values.items)
    if values.from_shell:
        start_training(recipe, overrides, verb="probing")
    prepare(from_shell=values.from_shell)
    from unpool.probing import probe
    from unpool.run_directory import shown_path

    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        metrics = probe(recipe, overrides, by=values.by, run=values.run, progress=progress)
    if values.json:
        write_json(metrics)
        return 0
    write_metrics(metrics)
    write_result(shown_path(Path(metrics["run"])))
    return 0
