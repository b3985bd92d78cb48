"""`unpool show errors`: how many mistakes of each kind a detector makes, and the average precision lost to them."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_table
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.errors import RecipeError
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "what kind of mistakes a detector makes, and what each kind costs"
EXAMPLES = """class: right place, wrong class. place: right class, overlap of 0.1 to 0.5. both: neither. twice: a thing
that a better box has. background: nothing is there. missed: no box for a thing. Beside each kind: how many there are,
and the AP at IoU 0.5 that would be gained without them (TIDE, arXiv:2008.08115).
examples: unpool show errors runs/voc_fasterrcnn-1
          unpool show errors runs/bccd_fasterrcnn-1 data.root=DIR --split test --json"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show errors", ABOUT, details=EXAMPLES)
    verb.add_argument("run", type=Path, metavar="RUN", help="the run directory of a detector")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="such as data.root=DIR")
    verb.add_argument("--split", choices=("train", "val", "test"), default="val", help="by default val")
    verb.add_argument("--weights", choices=["last", "best"], default="last", help="by default last")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Evaluates the run, prints its mistakes by kind and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.recipe import load_run_recipe
    from unpool.run import evaluate
    from unpool.tasks import TASKS

    task = load_run_recipe(values.run).task.name
    if not (names := TASKS[task].mistakes):
        raise RecipeError(
            f"{values.run} was trained for {task}, whose mistakes have no kinds; give a run of a detector"
        )
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        metrics = evaluate(values.run, values.overrides, split=values.split, weights=values.weights, progress=progress)
    counts, costs = (metrics[name] for name in names)
    if values.json:
        write_json({name: metrics[name] for name in names})
        return 0
    rows = [
        (kind, f"{count:,}", "n/a" if costs[kind] is None else f"{costs[kind]:.4f}") for kind, count in counts.items()
    ]
    write_table([("mistake", "number", "AP50 lost"), *rows])
    return 0
