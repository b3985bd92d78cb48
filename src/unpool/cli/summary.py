"""`unpool summary`: output, parameters, operations, memory and receptive field of every layer."""

from argparse import ArgumentTypeError, Namespace
from typing import Any

from unpool.cli.console import only_results, say, say_json
from unpool.cli.parser import Parser
from unpool.errors import RecipeError
from unpool.recipe import check_network, parse_options

ABOUT = "show output, parameters, MACs, memory and receptive field of every layer"
LARGEST_SIDE = 65_536


def parser() -> Parser:
    example = "example: unpool summary unet backbone=resnet34 num_classes=11 --size 360 480"
    verb = Parser("summary", ABOUT, details=example)
    verb.add_argument("model", metavar="MODEL", help="a name that `unpool models` lists")
    verb.add_argument(
        "options", nargs="*", default=[], metavar="key=value", help="backbone, num_classes, in_channels, its options"
    )
    verb.add_argument("--size", nargs=2, type=_side, metavar=("H", "W"), help="height and width of the input")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    with only_results():
        result = _summary(values.model, parse_options(values.options), values.size)
    if values.json:
        say_json(result.to_json())
    else:
        say(result.to_text().rstrip("\n"))
    return 0


def _summary(name: str, options: dict[str, Any], size_hw: list[int] | None) -> Any:
    from unpool.inspection.layer_table import summary
    from unpool.inspection.shapes import without_drawing
    from unpool.models import build, row_of

    own = {key: value for key, value in options.items() if key not in ("num_classes", "in_channels")}
    check_network(name, own)
    row = row_of(name)
    with without_drawing():  # shapes only: the largest network takes no memory
        network = build(name, **options)
    shape = (options.get("in_channels") or row.input[0], *(size_hw or row.input[1:]))
    try:
        return summary(network, shape)
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot take an image of {shape} (C, H, W): {error}") from error


def _side(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_SIDE:
        raise ArgumentTypeError(f"{text!r} is no number of pixels from 1 to {LARGEST_SIDE}")
    return int(text)
