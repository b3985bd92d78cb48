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
Memory of training: weights, gradients, the optimiser's state, and the maps that
the backward pass needs, in float32.
examples: unpool summary resnet50 --size 224 --batch 32 --optimizer adamw
          unpool summary unet backbone=resnet34 --size 360 480 --depth 3
          unpool summary googlenet_lrn --csv > googlenet.csv"""
LARGEST_SIDE = 65_536
DEEPEST = 100
LARGEST_BATCH = 65_536


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
    verb.add_argument("--batch", type=_batch, default=1, metavar="N", help="images of the memory that is counted")
    verb.add_argument("--optimizer", default="sgd", metavar="NAME", help="of that memory; by default sgd")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print the rows as CSV")
    form.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    form.add_argument("--json", action="store_true", help="print one JSON object")
    return verb


def run(values: Namespace) -> int:
    """Prints the layers of the network and returns 0."""
    from unpool.recipe import parse_options

    with library_output_to_stderr():
        _check_optimizer(values.optimizer)
        memory = {"batch": values.batch, "optimizer": values.optimizer}
        result = _summary(values.model, parse_options(values.options), values.size, memory)
    result = result if values.depth is None else result.at_depth(values.depth)
    if values.json:
        write_json(result.to_json())
    elif values.csv:
        write_result(result.to_csv().rstrip("\n"))
    elif values.markdown:
        write_result(result.to_markdown())
    else:
        write_result(result.to_text(shutil.get_terminal_size().columns if is_terminal() else None))
    return 0


def _check_optimizer(name: str) -> None:
    from unpool.recipe.mistakes import nearest
    from unpool.training.optim import OPTIMIZERS

    if name not in OPTIMIZERS:
        raise RecipeError(f"there is no optimizer {quoted(name)}{nearest(name, OPTIMIZERS)}")


def _summary(name: str, options: dict[str, Any], size_hw: tuple[int, int] | None, memory: dict[str, Any]) -> "Summary":
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
        table = summary(network, shape, **memory)
    except (ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot take an image of {shape} (C, H, W): {error}") from error
    return replace(table, network=" ".join([name, *(f"{key}={value}" for key, value in options.items())]))


def _size(text: str) -> tuple[int, int]:
    sides = [_whole(side, "a number of pixels", LARGEST_SIDE) for side in text.split("x")]
    if len(sides) > 2:
        raise ArgumentTypeError(f"{quoted(text)} has {len(sides)} sides; expected a height and a width")
    return sides[0], sides[-1]


def _batch(text: str) -> int:
    return _whole(text, "a number of images", LARGEST_BATCH)


def _depth(text: str) -> int:
    return _whole(text, "a depth", DEEPEST)


def _whole(text: str, what: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= most:
        raise ArgumentTypeError(f"{quoted(text)} is not {what} from 1 to {most}")
    return int(text)
