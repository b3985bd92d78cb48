"""`unpool show upsampling`: whether the output of a network that upsamples is a checkerboard, and why."""

from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_source, finish
from unpool.cli.parser import Parser
from unpool.errors import quoted
from unpool.screen import log_to_stderr

ABOUT = "whether a network's output is a checkerboard, and by which layer"
EXAMPLES = """score: by structure, all weights the same; 0 is even, at most 1. decoder score: the same from the coarsest
map on. trained score: of flat images, with the weights as they are.
examples: unpool show upsampling runs/camvid_unet-1
          unpool show upsampling segnet --size 128 -o segnet.html"""
LARGEST = 2048


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show upsampling", ABOUT, details=EXAMPLES)
    add_source(verb)
    verb.add_argument("--size", type=_side, default=192, metavar="N", help="sides of the image; by default 192")
    verb.add_argument("--layer", metavar="NAME", help="that gives the coarsest map; by default the smallest map's last")
    add_output(verb, "where to write SOURCE_upsampling.html, or a .html or .png")
    return verb


def run(values: Namespace) -> int:
    """Writes the page, prints the scores and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.upsampling_view import show_upsampling
    from unpool.predictor.files import save_view
    from unpool.predictor.sources import open_source

    with library_output_to_stderr(), log_to_stderr():
        opened = open_source(values.source, weights=values.weights, device="cpu")
        shape = (opened.in_channels, values.size, values.size)
        view = show_upsampling(opened.network, shape, layer=values.layer, name=opened.title)
        path = save_view(view, values.out, f"{Path(values.source).name}_upsampling")
    shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in view.values.items()}
    rows = [(name.replace("_", " "), str(value)) for name, value in shown.items()]
    return finish(values, view.to_json(), path, rows, kind="page")


def _side(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 8 <= int(text[:9]) <= LARGEST:
        raise ArgumentTypeError(f"{quoted(text)} is no number of pixels from 8 to {LARGEST}")
    return int(text)
