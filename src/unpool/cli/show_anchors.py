"""`unpool show anchors`: which boxes of a training set no anchor of a detector reaches, and anchors that would."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "which boxes of a set no anchor reaches, and anchors that would"
EXAMPLES = """Boxes and anchors are compared where they stand on the network's input. Train with model.anchors=planned
to use the planned ones where they reach more; recipe.yaml of the run has their numbers.
examples: unpool show anchors voc_fasterrcnn data.root=DIR
          unpool show anchors scenes_ssd --json"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show anchors", ABOUT, details=EXAMPLES)
    verb.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a file")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="such as data.root=DIR")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the shares of boxes that anchors reach and the boxes they do not, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.assemble.anchors import show_anchors

    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        report = show_anchors(values.recipe, values.overrides, progress=progress)
    if values.json:
        write_json(report.to_json())
    else:
        write_result(report.to_text())
    return 0
