"""`unpool show deconvnet`: the patches that excite units most, each beside what the unit sends back to it."""

from argparse import Namespace

from unpool.cli.console import library_output_to_stderr
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, count, finish_view, pair, view_path
from unpool.cli.parser import Parser
from unpool.screen import ReadingBar, log_to_stderr

ABOUT = "the patches that excite a unit most, and what it sends back"
EXAMPLES = """All images go through the network up to the layer; of each unit, the nine in
which it is largest are kept. deconvnet (arXiv:1311.2901), guided
(arXiv:1412.6806) and gradient differ in what passes back through a ReLU.
examples: unpool show deconvnet vgg16 DIR --layer backbone.stages.3.2 --unit 344
          unpool show deconvnet RUN DIR --layer backbone.stages.2 -o units.html"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show deconvnet", ABOUT, details=EXAMPLES)
    add_source(verb)
    add_size(verb)
    verb.add_argument("images", nargs="+", metavar="IMAGES", help="image files, folders of them, or patterns")
    verb.add_argument(
        "--layer", required=True, metavar="NAME", help="a module of the network, such as backbone.stages.2"
    )
    verb.add_argument(
        "--unit",
        action="append",
        default=[],
        type=count,
        metavar="N",
        help="a map of it; repeatable; by default four drawn",
    )
    verb.add_argument(
        "--by",
        action="append",
        choices=("deconvnet", "guided", "gradient"),
        default=[],
        help="the way back; repeatable; by default all three",
    )
    verb.add_argument("--count", type=count, default=9, metavar="N", help="patches of a unit, by default 9")
    verb.add_argument("--seed", type=count, default=0, metavar="N", help="of the units that are drawn, by default 0")
    add_output(verb, "where to write LAYER_deconvnet.png; or a file, .png, .jpg or .html")
    return verb


def run(values: Namespace) -> int:
    """Writes the sheet of patches, prints their activations and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.inspection.backward_rules import RULES
    from unpool.predictor.reconstructions import show_deconvnet

    path = view_path(values.out, f"{values.layer}_deconvnet")
    with library_output_to_stderr(), log_to_stderr(), ReadingBar() as progress:
        view = show_deconvnet(
            values.source,
            values.images,
            layer=values.layer,
            units=values.unit,
            rules=values.by or RULES,
            count=values.count,
            seed=values.seed,
            weights=values.weights,
            size_hw=pair(values.size),
            progress=progress,
        )
    rows = [
        (str(one["unit"]), patch["image"], f"{patch['activation']:.4g}", ", ".join(map(str, patch["sees"])))
        for one in view.values["units"]
        for patch in one["patches"]
    ]
    return finish_view(view, path, values, [("unit", "image", "activation", "sees x, y, width, height"), *rows])
