"""`unpool show init`: how large activations and gradients are at each depth before the first step."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_recipe, finish
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "how large activations and gradients are at first, by depth"
EXAMPLES = """The first batch of the training order goes forwards and backwards once. Shown are the network's published
initial weights, those of model.init where the recipe sets it, and each of --init. Where deviations shrink or grow by
a factor from layer to layer, the network learns slowly or not at all.
examples: unpool show init mnist_convnet data.root=DIR --init lecun --init he
          unpool show init scenes_unet model.init=glorot -o init.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show init", ABOUT, details=EXAMPLES)
    add_recipe(verb)
    verb.add_argument(
        "--init", action="append", default=[], metavar="NAME", help="initial weights to compare, such as he; repeatable"
    )
    add_output(verb, "where to write RECIPE_init.html, or a .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the page, prints the deviations by depth and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.assemble.signals import show_init
    from unpool.predictor.files import picture_path, write_page
    from unpool.recipe import recipe_name

    path = picture_path(values.out, f"{recipe_name(values.recipe)}_init", suffix=".html")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        report = show_init(values.recipe, values.overrides, inits=values.init, progress=progress)
        write_page(report.to_page(), path)
    return finish(values, report.to_json(), path, report.to_rows(), kind="page")
