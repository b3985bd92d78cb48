"""`unpool show augment`: a sheet of training images before and after augmentation, with their targets."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "training images before and after augmentation, with their targets"
EXAMPLES = """A row for each of six images: as it is read, then as the network sees it in the first four epochs.
examples: unpool show augment cifar10_resnet20 data.root=DIR
          unpool show augment scenes_unet "data.augment=[flip, {rotate: {degrees: 30}}]" -o sheet.png"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show augment", ABOUT, details=EXAMPLES)
    verb.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a file")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="such as data.root=DIR")
    verb.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path(),
        metavar="DIR|FILE",
        help="where to write RECIPE_augment.png, or a .png",
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")
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
    if values.json:
        write_json({"images": list(shown.images), "steps": list(shown.steps), "picture": str(path)})
    else:
        write_result(str(path))
    return 0
