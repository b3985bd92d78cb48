"""`unpool VERB ...`: finds the verb, runs it, returns its exit code. Nothing here imports torch."""

import sys
from collections.abc import Sequence
from types import ModuleType

from unpool import __version__
from unpool.cli import evaluate, models, predict, recipes, show, summary, train
from unpool.cli.console import accept_any_text, say
from unpool.cli.outcome import guarded
from unpool.errors import RecipeError
from unpool.recipe.mistakes import nearest

VERBS: dict[str, ModuleType] = {
    "recipes": recipes,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "models": models,
    "summary": summary,
    "show": show,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 done; 2 the command line or recipe was wrong; 3 data or a model file; 4 the environment; 5 diverged; 75
        stopped at a time limit; 130 and 143 stopped by a signal.
    """
    accept_any_text()
    given = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(given, from_shell=arguments is None), debug="--debug" in given)


def _run(given: Sequence[str], *, from_shell: bool) -> int:
    verb, *rest = _without_debug(given) or ["--help"]
    if verb in ("-h", "--help"):
        say(_help())
        return 0
    if verb == "--version":
        say(f"unpool {__version__}")
        return 0
    if verb not in VERBS:
        raise RecipeError(f"there is no verb {verb!r}{nearest(verb, VERBS)}")
    try:
        values = VERBS[verb].parser().read(rest)
    except SystemExit:  # argparse has printed the help
        return 0
    values.from_shell = from_shell
    return VERBS[verb].run(values)


def _without_debug(given: Sequence[str]) -> list[str]:
    """`--debug` may stand before the verb too."""
    return list(given[1:] if given and given[0] == "--debug" else given)


def _help() -> str:
    lines = [f"  {name:10} {module.ABOUT}" for name, module in VERBS.items()]
    return "\n".join(
        [
            "usage: unpool VERB ...",
            "",
            *lines,
            "",
            "`unpool VERB --help` shows the arguments of a verb, `unpool --version` the version.",
            "--debug shows where in the code an error arose.",
        ]
    )
