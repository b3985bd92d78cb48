"""Arguments of one verb: options and positions in any order, faults in one line."""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from unpool.errors import RecipeError


class Parser(ArgumentParser):
    """argparse that raises RecipeError, takes no abbreviations and has `--debug`."""

    def __init__(self, verb: str, about: str, *, details: str = "") -> None:
        super().__init__(
            prog=f"unpool {verb}",
            description=about,
            epilog=details,
            allow_abbrev=False,
            formatter_class=RawDescriptionHelpFormatter,
        )
        self.add_argument("--debug", action="store_true", help="show where in the code an error arose")

    def read(self, arguments: Sequence[str]) -> Namespace:
        """The values of a command line.

        Raises:
            RecipeError: it does not fit.
        """
        return self.parse_intermixed_args(list(arguments))

    def error(self, message: str) -> NoReturn:
        raise RecipeError(f"{message}; see {self.prog} --help")
