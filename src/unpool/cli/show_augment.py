"""`unpool show augment`: a sheet of training images before and after augmentation, with their targets."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_recipe, finish
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "training images before and after augmentation, with their targets"
EXAMPLES = """A row for each of six images: as it is read, then as the network sees it in the first four epochs.
examples: unpool show augment cifar10_resnet20 data.root=DIR
          unpool show augment scenes_unet "data.augment=[flip, {rotate: {degrees: 30}}]" -o sheet.png"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show augment", ABOUT, details=EXAMPLES)
    add_recipe(verb)
    add_output(verb, "where to write RECIPE_augment.png, or a .png")
    return verb


def run(values: Namespace) -> int:
    """Writes the sheet, prints its path and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.assemble.augmented import show_augment
    from unpool.predictor.files import picture_path, write_picture
    from unpool.recipe import recipe_name

    path = picture_path(values.out, f"{recipe_name(values.recipe)}_augment")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        shown = show_augment(values.recipe, values.overrides, progress=progress)
        write_picture(shown.picture, path)
    return finish(values, {"images": list(shown.images), "steps": list(shown.steps)}, path)
