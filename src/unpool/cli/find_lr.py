"""`unpool find-lr`: the learning-rate range test of a recipe."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.early import start_training
from unpool.cli.environment import prepare
from unpool.cli.looking import add_recipe
from unpool.cli.parser import Parser
from unpool.errors import RecipeError
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "propose a learning rate for a recipe, from a short test"
DETAILS = """The network is trained for some steps while the rate rises from 1e-6 to 10
(Smith 2017, arXiv:1506.01186). Proposed is a tenth of the rate at which the
loss is lowest. The recipe is not changed.
examples: unpool find-lr scenes_unet
          unpool find-lr folder_unet data.root=DIR -o curve.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("find-lr", ABOUT, details=DETAILS)
    add_recipe(verb)
    verb.add_argument("--steps", type=int, metavar="N", help="steps of the test; by default 120")
    verb.add_argument("-o", "--out", type=Path, metavar="FILE", help="where to write the curve, an .html file")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the curve and the proposal, writes the page where one is asked for, and returns 0."""
    if values.out is not None and (values.out.suffix != ".html" or values.out.exists()):
        raise RecipeError(f"{values.out} must end in .html, and no file is replaced; choose another path")
    if values.from_shell:
        start_training(values.recipe, values.overrides)
    prepare(from_shell=values.from_shell)
    from unpool.assemble.rate_range import find_lr
    from unpool.report.rates import rate_page
    from unpool.training.files import replace_file
    from unpool.training.rate_range import STEPS

    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        report = find_lr(
            values.recipe, values.overrides, steps=STEPS if values.steps is None else values.steps, progress=progress
        )
    if values.out is not None:
        page = rate_page(report, title=f"{Path(values.recipe).stem}: learning rate")
        replace_file(values.out, page.encode())
    if values.json:
        write_json(report.to_json())
    else:
        write_result(report.to_text())
        if values.out is not None:
            write_result(str(values.out))
    return 0
