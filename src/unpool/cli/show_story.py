"""`unpool show story`: one photograph through the detectors of several runs, with the time of each phase."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_run_weights, finish
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr

ABOUT = "one photograph through several detectors, and where the time goes"
EXAMPLES = """The runs must know the same classes. Looked at are the proposals of two stages, else the anchors, or the
predictors of cells, that some class scores. Times are medians of warm passes: backbone, proposals, head, nms, rest.
examples: unpool show story photo.jpg runs/bccd_fasterrcnn-1 runs/bccd_ssd-1 runs/bccd_yolo-1
          unpool show story photo.jpg runs/a runs/b --weights best -o story.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show story", ABOUT, details=EXAMPLES)
    verb.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    verb.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories of detectors")
    add_run_weights(verb)
    add_output(verb, "where to write IMAGE_story.html, or a .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the page, prints the table and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.predictor.files import picture_path, write_page
    from unpool.predictor.story import show_story

    path = picture_path(values.out, f"{values.image.stem}_story", suffix=".html")
    with library_output_to_stderr(), log_to_stderr():
        story = show_story(values.image, values.runs, weights=values.weights)
        write_page(story.to_page(), path)
    return finish(values, story.to_json(), path, story.to_rows(), kind="page")
