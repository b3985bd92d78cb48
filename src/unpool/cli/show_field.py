"""`unpool show field`: which pixels change the middle of a layer, beside the theoretical receptive field."""

from argparse import Namespace
from pathlib import Path

from unpool.cli.console import library_output_to_stderr, write_result
from unpool.cli.environment import prepare
from unpool.cli.looking import add_output, add_size, add_source, finish, pair
from unpool.cli.parser import Parser
from unpool.errors import RecipeError
from unpool.screen import log_to_stderr
from unpool.streams import write_message

ABOUT = "which pixels a layer sees, and how much"
EXAMPLES = """The effective receptive field (Luo et al. 2016): the gradient of the middle of a
layer's output, averaged over images. It falls off like a Gaussian, whose
deviations are fitted. `unpool summary` prints the theoretical field.
examples: unpool show field vgg16 photo.jpg --weights hed_vgg16
          unpool show field runs/scenes_unet-1 -o field.png"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("show field", ABOUT, details=EXAMPLES)
    add_source(verb)
    verb.add_argument("images", nargs="*", default=[], metavar="IMAGE", help="photographs; without one, noise")
    verb.add_argument("--layer", metavar="NAME", help="as `unpool summary` lists it; by default the last with a map")
    add_size(verb, "of the images")
    verb.add_argument("--samples", type=int, default=20, metavar="N", help="images of noise; by default 20")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of noise and random weights; by default 0")
    add_output(verb, "where to write MODEL_field.png, or a .png")
    return verb


def run(values: Namespace) -> int:
    """Writes the picture, prints what was measured and its path, and returns 0."""
    prepare(from_shell=values.from_shell)
    from unpool.predictor.effective import show_field
    from unpool.predictor.files import picture_path, write_picture

    path = picture_path(values.out, f"{Path(values.source).name}_field")
    with library_output_to_stderr(), log_to_stderr():
        try:
            view = show_field(
                values.source,
                values.images,
                weights=values.weights,
                layer=values.layer,
                size_hw=pair(values.size),
                samples=values.samples,
                seed=values.seed,
                progress=lambda done: write_message(f"{done} images") if done % 10 == 0 else None,
            )
        except ValueError as error:
            raise RecipeError(str(error)) from error
        if view.picture is not None:
            write_picture(view.picture, path)
    if not values.json:
        for name in ("layer", "theoretical", "sigma", "radius", "side", "images", "note"):
            value = view.values[name]
            text = " x ".join(map(_text, value)) if isinstance(value, list) else _text(value)
            write_result(f"{name:12} {text}")
    return finish(values, view.values, path)


def _text(value: object) -> str:
    return "-" if value in (None, "") else f"{value:.1f}" if isinstance(value, float) else str(value)
