"""`unpool show anchors`: which boxes of a training set no anchor of a detector reaches, and anchors that would."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.environment import prepare
from unpool.cli.looking import add_json, add_recipe
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
    add_recipe(verb)
    add_json(verb)
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
