"""`unpool summary`: lists output, parameters, operations, memory and receptive field of every layer."""

import shutil
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from unpool.cli.console import is_terminal, library_output_to_stderr, write_json, write_result
from unpool.cli.parser import Parser
from unpool.errors import RecipeError, quoted

if TYPE_CHECKING:
    from unpool.inspection.layer_table import Summary

ABOUT = "show output, parameters, MACs, memory, receptive field by layer"
DETAILS = """A terminal gets as many columns as fit; a pipe and --json get all.
examples: unpool summary resnet50 --size 224
          unpool summary unet backbone=resnet34 --size 360 480 --depth 3"""
LARGEST_SIDE = 65_536
DEEPEST = 100


class _SizeParser(Parser):
    """Takes `--size 224` and `--size 360 480` before or after the other arguments."""

    def read(self, arguments: Sequence[str]) -> Namespace:
        words: list[str] = []
        for word in arguments:
            if words[-2:-1] == ["--size"] and word.isdigit() and words[-1].isdigit():
                words[-1] = f"{words[-1]}x{word}"
            else:
                words.append(word)
        return super().read(words)


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = _SizeParser("summary", ABOUT, details=DETAILS)
    verb.add_argument("model", metavar="MODEL", help="a name that `unpool models` lists")
    verb.add_argument(
        "options", nargs="*", default=[], metavar="key=value", help="backbone, num_classes, in_channels, its options"
    )
    verb.add_argument("--size", type=_size, metavar="H [W]", help="height and width of the input, or one for both")
    verb.add_argument("--depth", type=_depth, metavar="N", help="one row for all layers of a part, N names deep")
    verb.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the layers of the network and returns 0."""
    from unpool.recipe import parse_options

    with library_output_to_stderr():
        result = _summary(values.model, parse_options(values.options), values.size)
    result = result if values.depth is None else result.at_depth(values.depth)
    if values.json:
        write_json(result.to_json())
    else:
        write_result(result.to_text(shutil.get_terminal_size().columns if is_terminal() else None))
    return 0


def _summary(name: str, options: dict[str, Any], size_hw: tuple[int, int] | None) -> "Summary":
    from unpool.inspection.layer_table import summary
    from unpool.inspection.shapes import without_drawing
    from unpool.models import build, row_of
    from unpool.recipe import check_network

    check_network(name, {key: value for key, value in options.items() if key not in ("num_classes", "in_channels")})
    row = row_of(name)
    with without_drawing():  # shapes only: even the largest network needs no memory
        network = build(name, **options)
    shape = (options.get("in_channels") or row.input[0], *(size_hw or row.input[1:]))
    try:
        return replace(summary(network, shape), network=" ".join([name, *(f"{k}={v}" for k, v in options.items())]))
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot take an image of {shape} (C, H, W): {error}") from error


def _size(text: str) -> tuple[int, int]:
    sides = [_whole(side, "a number of pixels", LARGEST_SIDE) for side in text.split("x")]
    if len(sides) > 2:
        raise ArgumentTypeError(f"{quoted(text)} has {len(sides)} sides; expected a height and a width")
    return sides[0], sides[-1]


def _depth(text: str) -> int:
    return _whole(text, "a depth", DEEPEST)


def _whole(text: str, what: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise ArgumentTypeError(f"{quoted(text)} is not {what} from 1 to {most}")
    return int(text)
