"""`unpool VERB ...`: finds the verb, runs it, returns its exit code. Nothing here imports torch."""

import sys
from collections.abc import Sequence
from types import ModuleType

from unpool import __version__
from unpool.cli import evaluate, models, predict, recipes, show, summary, train
from unpool.cli.console import escape_unencodable, write_result
from unpool.cli.outcome import guarded
from unpool.errors import RecipeError, quoted
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

    Args:
        arguments: the words of the command line after `unpool`; None for those of this process.

    Returns:
        The exit code: 0 done; 2 the command line or recipe was wrong; 3 data or a model file; 4 the environment; 5
        diverged; 75 stopped at a time limit; 130 and 143 stopped by a signal.
    """
    escape_unencodable()
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(words, from_shell=arguments is None), debug="--debug" in words)


def _run(words: Sequence[str], *, from_shell: bool) -> int:
    verb, *rest = _without_debug(words) or ["--help"]
    if verb in ("-h", "--help"):
        write_result(_help())
        return 0
    if verb == "--version":
        write_result(f"unpool {__version__}")
        return 0
    if verb not in VERBS:
        raise RecipeError(f"there is no verb {quoted(verb)}{nearest(verb, VERBS)}")
    try:
        values = VERBS[verb].parser().read(rest)
    except SystemExit:  # argparse has printed the help
        return 0
    values.from_shell = from_shell
    return VERBS[verb].run(values)


def _without_debug(words: Sequence[str]) -> list[str]:
    """The words without a `--debug` before the verb."""
    return list(words[1:] if words and words[0] == "--debug" else words)


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
