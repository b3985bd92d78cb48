"""`unpool show WHAT ...`: finds what is to be shown."""

from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType

from unpool.cli import show_dense
from unpool.cli.parser import Parser
from unpool.errors import RecipeError
from unpool.recipe.mistakes import nearest

ABOUT = "show how a network works, as figures and a picture: dense"
SHOWN: dict[str, ModuleType] = {
    "dense": show_dense,
}


class _Chooser(Parser):
    """Hands the arguments after the first to the parser of what it names."""

    def read(self, arguments: Sequence[str]) -> Namespace:
        given = [word for word in arguments if word != "--debug"]
        if not given or given[0] in ("-h", "--help"):
            return super().read(given or ["--help"])
        what, *rest = given
        if what not in SHOWN:
            raise RecipeError(f"there is nothing called {what!r} to show{nearest(what, SHOWN)}")
        values = SHOWN[what].parser().read(rest)
        values.what = what
        return values


def parser() -> Parser:
    lines = [f"  {name:10} {module.ABOUT}" for name, module in SHOWN.items()]
    details = "\n".join(["what there is to show:", *lines, "", "`unpool show WHAT --help` shows its arguments."])
    verb = _Chooser("show", ABOUT, details=details)
    verb.add_argument("what", metavar="WHAT", choices=list(SHOWN), help="one of the names below, then its arguments")
    return verb


def run(values: Namespace) -> int:
    return SHOWN[values.what].run(values)
