"""`unpool summary`: lists output, parameters, operations, memory and receptive field of every layer."""

from argparse import ArgumentTypeError, Namespace
from typing import Any

from unpool.cli.console import library_output_to_stderr, write_json, write_result
from unpool.cli.parser import Parser
from unpool.errors import RecipeError, quoted
from unpool.recipe import check_network, parse_options

ABOUT = "show output, parameters, MACs, memory and receptive field of every layer"
LARGEST_SIDE = 65_536


def parser() -> Parser:
    """Returns the parser of the arguments."""
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
    """Prints the layers of the network and returns 0."""
    with library_output_to_stderr():
        result = _summary(values.model, parse_options(values.options), values.size)
    if values.json:
        write_json(result.to_json())
    else:
        write_result(result.to_text().rstrip("\n"))
    return 0


def _summary(name: str, options: dict[str, Any], size_hw: list[int] | None) -> Any:
    from unpool.inspection.layer_table import summary
    from unpool.inspection.shapes import without_drawing
    from unpool.models import build, row_of

    check_network(name, {key: value for key, value in options.items() if key not in ("num_classes", "in_channels")})
    row = row_of(name)
    with without_drawing():  # shapes only: even the largest network needs no memory
        network = build(name, **options)
    shape = (options.get("in_channels") or row.input[0], *(size_hw or row.input[1:]))
    try:
        return summary(network, shape)
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot take an image of {shape} (C, H, W): {error}") from error


def _side(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_SIDE:
        raise ArgumentTypeError(f"{quoted(text)} is no number of pixels from 1 to {LARGEST_SIDE}")
    return int(text)
