"""Parses the arguments of one verb: options and positional arguments in any order, errors in one line."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from unpool.errors import RecipeError, shortened

_DASHED = re.compile(r"unrecognized arguments: --([a-z]+\.[a-z_]+)")


class Parser(ArgumentParser):
    """An ArgumentParser that raises RecipeError, refuses abbreviated options and empty texts, and has `--debug`.

    Args:
        verb: name of the verb.
        about: one line that describes it.
        details: text at the end of the help, such as examples.
    """

    def __init__(self, verb: str, about: str, *, details: str = "") -> None:
        super().__init__(
            prog=f"unpool {verb}",
            description=about,
            epilog=details,
            allow_abbrev=False,
            formatter_class=RawDescriptionHelpFormatter,
        )
        self.register("type", None, _text)
        self.register("type", Path, lambda word: Path(_text(word)))
        self.add_argument("--debug", action="store_true", help="show where in the code an error arose")

    def read(self, arguments: Sequence[str]) -> Namespace:
        """Parses the words of a command line after the verb.

        Raises:
            RecipeError: an argument is unknown, missing or has an invalid value.
        """
        return self.parse_intermixed_args(list(arguments))

    def error(self, message: str) -> NoReturn:
        words = " ".join(shortened(word) for word in message.split(" "))  # argparse repeats what was typed
        dashed = _DASHED.search(words)
        advice = f"; settings have no dashes and one =: {dashed[1]}=VALUE" if dashed else ""
        raise RecipeError(f"{words}{advice}; see {self.prog} --help")


def add_views(verb: Parser) -> None:
    """Adds `--tta`."""
    verb.add_argument(
        "--tta",
        type=_views,
        default=(),
        metavar="NAME[,NAME...]",
        help="views of each image whose answers are averaged: flip, ten_crops, five_scales, colors (PCA colour "
        "variation), rotations (by quarter turns), as far as the task knows them. Of classes the probabilities are "
        "averaged, of boxes those of all views are joined",
    )


def _views(word: str) -> tuple[str, ...]:
    return tuple(_text(name) for name in word.split(","))


def _text(word: str) -> str:
    """The word; an empty one, such as a variable of the shell that is not set, would be the working directory."""
    if not word:
        raise ArgumentTypeError("it is empty; give a name or a path, or leave it out")
    return word
