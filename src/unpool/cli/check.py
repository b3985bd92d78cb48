"""`unpool check`: proves that a run is right before it is trained, or says what is wrong and how to mend it."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_json, write_result, write_table
from unpool.cli.early import start_training
from unpool.cli.environment import prepare
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "prove that a run is right before it is trained, or name its fault"
DETAILS = """Looks at data, augmentation, network, loss, optimiser, metric and prediction
of a recipe, as far as they can be tried in the time; nothing is written but
the page that is asked for. Exit code 0: no check failed; 1: one did.
examples: unpool check folder_resnet18 data.root=DIR
          unpool check camvid_unet data.root=DIR --minutes 5 -o check.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("check", ABOUT, details=DETAILS)
    verb.add_argument("recipe", metavar="RECIPE", help="a shipped recipe's name, or a file")
    verb.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="such as data.root=DIR")
    verb.add_argument("--minutes", type=float, default=2.0, metavar="M", help="that it may take; by default 2")
    verb.add_argument(
        "-o", "--out", type=Path, metavar="DIR|FILE", help="where to write RECIPE_check.html, or a .html file"
    )
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints each check and what is wrong, writes the page where one is asked for, and returns 0 or 1."""
    if values.from_shell:
        start_training(values.recipe, values.overrides, verb="checking")
    prepare(from_shell=values.from_shell)
    from unpool.checking import check
    from unpool.predictor.files import picture_path, write_page
    from unpool.recipe import recipe_name

    path = None
    if values.out is not None:
        path = picture_path(values.out, f"{recipe_name(values.recipe)}_check", suffix=".html")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        report = check(values.recipe, values.overrides, minutes=values.minutes, progress=progress)
        if path is not None:
            write_page(report.to_page(), path)
    if values.json:
        write_json({**report.to_json(), "page": None if path is None else str(path)})
    else:
        write_table(report.to_rows())
        if text := report.to_text():
            write_result(text)
        if path is not None:
            write_result(str(path))
    return 0 if report.is_right else 1
