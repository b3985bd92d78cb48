"""`unpool show features`: the maps that a layer of a network makes of a photograph."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, count, finish_view, pair, view_path
from unpool.cli.parser import Parser
from unpool.screen import log_to_stderr

ABOUT = "the maps that a layer makes of a photograph"
EXAMPLES = """Each map is drawn from its least value, dark, to its largest, pale; the largest
come first. `unpool summary NETWORK` lists the layers.
examples: unpool show features vgg16 photo.jpg --layer backbone.stages.2.2
          unpool show features RUN photo.jpg --layer backbone.stages.0 --unit 3"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show features", ABOUT, details=EXAMPLES)
    add_source(verb)
    add_size(verb)
    verb.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    verb.add_argument(
        "--layer", required=True, metavar="NAME", help="a module of the network, such as backbone.stages.2"
    )
    verb.add_argument("--unit", action="append", default=[], type=count, metavar="N", help="a map to draw; repeatable")
    verb.add_argument("--most", type=count, default=64, metavar="N", help="maps where no unit is named, by default 64")
    add_output(verb, "where to write IMAGE_features.png; or a file, .png, .jpg or .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the sheet of maps, prints their numbers and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.predictor.feature_maps import show_features

    path = view_path(values.out, f"{values.image.stem}_features")
    with library_output_to_stderr(), log_to_stderr():
        view = show_features(
            values.source,
            values.image,
            layer=values.layer,
            units=values.unit,
            most=values.most,
            weights=values.weights,
            size_hw=pair(values.size),
        )
    headings = ("unit", "largest", "mean", "above 0", "row, column")
    return finish_view(view, path, values, [headings, *(tuple(map(str, row.values())) for row in view.values["maps"])])
