"""`unpool show WHAT ...`: runs the view of that name."""

from argparse import Namespace
from collections.abc import Sequence
from types import ModuleType

from unpool.cli import (
    show_anchors,
    show_arithmetic,
    show_attribution,
    show_augment,
    show_deconvnet,
    show_dense,
    show_dream,
    show_errors,
    show_features,
    show_field,
    show_filters,
    show_init,
    show_lesion,
    show_story,
    show_upsampling,
)
from unpool.cli.parser import Parser
from unpool.errors import RecipeError, quoted

ABOUT = "show how it works; alone, it lists what there is to show"
SHOWN: dict[str, ModuleType] = {
    "anchors": show_anchors,
    "arithmetic": show_arithmetic,
    "attribution": show_attribution,
    "augment": show_augment,
    "deconvnet": show_deconvnet,
    "dense": show_dense,
    "dream": show_dream,
    "errors": show_errors,
    "features": show_features,
    "field": show_field,
    "filters": show_filters,
    "init": show_init,
    "lesion": show_lesion,
    "story": show_story,
    "upsampling": show_upsampling,
}


class _Chooser(Parser):
    """Parses the first argument, the name of a view, and the rest with the parser of that view."""

    def read(self, arguments: Sequence[str]) -> Namespace:
        words = [word for word in arguments if word != "--debug"]
        if not words or words[0] in ("-h", "--help"):
            return super().read(words or ["--help"])
        what, *rest = words
        if what not in SHOWN:
            from unpool.recipe.mistakes import nearest

            raise RecipeError(f"there is nothing called {quoted(what)} to show{nearest(what, SHOWN)}")
        values = SHOWN[what].parser().read(rest)
        values.what = what
        return values


def parser() -> Parser:
    """Returns the parser of the arguments."""
    lines = [f"  {name:10} {module.ABOUT}" for name, module in SHOWN.items()]
    details = "\n".join(["what there is to show:", *lines, "", "`unpool show WHAT --help` shows its arguments."])
    verb = _Chooser("show", ABOUT, details=details)
    verb.add_argument("what", metavar="WHAT", choices=list(SHOWN), help="one of the names below, then its arguments")
    return verb


def run(values: Namespace) -> int:
    """Runs `unpool show WHAT` on parsed arguments and returns the exit code."""
    return SHOWN[values.what].run(values)
