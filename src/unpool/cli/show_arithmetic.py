"""`unpool show arithmetic`: which inputs each output of a convolution reads, as a moving picture and a matrix."""

from argparse import ArgumentTypeError, Namespace

from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, finish
from unpool.cli.parser import Parser
from unpool.errors import quoted

ABOUT = "which inputs each output of a convolution reads, and its matrix"
EXAMPLES = """Each number is one for both axes, or two as 3x5: height, then width. The page shows the filter move over
the input; a path that ends in .svg gets the drawing alone.
examples: unpool show arithmetic --kernel 3 --stride 2 --padding 1
          unpool show arithmetic --kernel 3 --stride 2 --padding 1 --size 3 --transposed -o up.svg"""
LARGEST = 99


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show arithmetic", ABOUT, details=EXAMPLES)
    verb.add_argument("--kernel", type=_sides, default=(3, 3), metavar="N|HxW", help="sides of the filter; 3")
    verb.add_argument("--size", type=_sides, default=(5, 5), metavar="N|HxW", help="sides of the input; 5")
    verb.add_argument("--stride", type=_sides, default=(1, 1), metavar="N|HxW", help="step of the filter; 1")
    verb.add_argument("--padding", type=_sides, default=(0, 0), metavar="N|HxW", help="zeros on either side; 0")
    verb.add_argument("--dilation", type=_sides, default=(1, 1), metavar="N|HxW", help="distance of the taps; 1")
    verb.add_argument(
        "--output_padding", type=_sides, default=(0, 0), metavar="N|HxW", help="of a transposed convolution; 0"
    )
    verb.add_argument("--transposed", action="store_true", help="a transposed convolution")
    add_output(verb, "where to write arithmetic.html, or a .svg")
    return verb


def run(values: Namespace) -> int:
    """Writes the page or the drawing, prints the sizes and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.arithmetic import show_arithmetic
    from unpool.predictor.files import save_view

    view = show_arithmetic(
        values.kernel,
        size=values.size,
        stride=values.stride,
        padding=values.padding,
        dilation=values.dilation,
        output_padding=values.output_padding,
        transposed=values.transposed,
    )
    path = save_view(view, values.out, "arithmetic")
    rows = [(name.replace("_", " "), str(value)) for name, value in view.values.items()]
    return finish(values, view.to_json(), path, rows, kind="page")


def _sides(text: str) -> tuple[int, int]:
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and int(side[:9]) <= LARGEST for side in sides):
        raise ArgumentTypeError(f"{quoted(text)} is no whole number up to {LARGEST}, nor two as 3x5")
    return int(sides[0]), int(sides[-1])
