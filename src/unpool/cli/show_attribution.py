"""`unpool show attribution`: which pixels of an image an answer depends on."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, count, finish_view, pair, side, view_path
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "which pixels of an image an answer depends on"
EXAMPLES = """Methods: Grad-CAM (arXiv:1610.02391), occlusion (arXiv:1311.2901), integrated
gradients (arXiv:1703.01365). The target is a class; a class and a box of the
image, road@10,40,90,80; a joint; or a detection, by its number in the answer or
by a class. `unpool show dense` draws the scores of a class over a photograph.
examples: unpool show attribution RUN photo.jpg --target bees
          unpool show attribution RUN street.jpg --target car --by occlusion"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show attribution", ABOUT, details=EXAMPLES)
    add_source(verb)
    add_size(verb)
    verb.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    verb.add_argument("--target", metavar="NAME|N", help="what is explained; by default what is answered first")
    verb.add_argument(
        "--by",
        action="append",
        choices=("gradcam", "occlusion", "integrated"),
        default=[],
        help="the method; repeatable; by default all three",
    )
    verb.add_argument("--layer", metavar="NAME", help="of gradcam; by default the last of the backbone's coarsest maps")
    verb.add_argument("--window", type=side, metavar="N", help="side of occlusion's window, by default an eighth")
    verb.add_argument("--stride", type=side, metavar="N", help="pixels between windows, by default half a window")
    verb.add_argument("--steps", type=count, default=50, metavar="N", help="of integrated gradients, by default 50")
    add_output(verb, "where to write IMAGE_attribution.png; or a file, .png, .jpg or .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the heat over the image, prints its numbers and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.predictor.attributions import METHODS, show_attribution

    path = view_path(values.out, f"{values.image.stem}_attribution")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar("computing") as progress:
        view = show_attribution(
            values.source,
            values.image,
            values.target,
            methods=values.by or METHODS,
            layer=values.layer,
            window=values.window,
            stride=values.stride,
            steps=values.steps,
            weights=values.weights,
            size_hw=pair(values.size),
            progress=progress,
        )
    shown = view.values
    score = f"{shown['score']:.4g} (of the mean colour {shown['score_of_mean_colour']:.4g})"
    rows = [("explained", shown["explained"], score, ""), ("method", "settings", "largest", "brightest x, y")]
    for row in shown["methods"]:
        x, y = row["brightest_xy"]
        rows.append((row["method"], row["settings"], f"{row['largest']:.4g}", f"{x}, {y}"))
    return finish_view(view, path, values, rows)
