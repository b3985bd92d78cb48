"""`unpool show dense`: slides a classifier over a photograph, window by window, in one pass, and dilated."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_result
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, finish, pair, side
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr

ABOUT = "slide a classifier over a photograph, by windows and in one pass"
EXAMPLES = """examples: unpool show dense runs/mnist_convnet-1 page.png --window 28 28
          unpool show dense resnet18 photo.jpg --weights imagenet --class tabby"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show dense", ABOUT, details=EXAMPLES)
    add_source(verb)
    verb.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    verb.add_argument(
        "--class", dest="label", metavar="NAME|INDEX", help="of the heat maps; by default the likeliest on average"
    )
    add_size(verb, "resize the photograph")
    verb.add_argument(
        "--window",
        nargs=2,
        type=side,
        metavar=("H", "W"),
        help="the classifier's input size, if RUN lacks it",
    )
    verb.add_argument("--output_stride", type=side, metavar="N", help="of the dilated map; by default the finest")
    add_output(verb, "where to write IMAGE_dense.png, or a .png")
    return verb


def run(values: Namespace) -> int:
    """Writes the picture of the dense scores, prints its numbers and path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.predictor.dense import show_dense
    from unpool.predictor.files import picture_path, write_picture

    path = picture_path(values.out, f"{values.image.stem}_dense")
    with library_output_to_stderr(), log_to_stderr():
        shown = show_dense(
            values.source,
            values.image,
            weights=values.weights,
            label=values.label,
            size_hw=pair(values.size),
            window_hw=pair(values.window),
            output_stride=values.output_stride,
        )
        write_picture(shown.picture, path)
    if not values.json:
        write_result(shown.to_text())
    return finish(values, shown.to_json(), path, notes=shown.notes)
