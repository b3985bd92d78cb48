"""Finds the verb of a command line and runs it. Nothing here imports torch."""

from collections.abc import Sequence
from types import ModuleType

from unpool import __version__
from unpool.cli import (
    check,
    compare,
    completion,
    enroll,
    evaluate,
    find_lr,
    identify,
    models,
    predict,
    probe,
    recipes,
    show,
    summary,
    train,
    verify,
)
from unpool.cli.console import write_result
from unpool.errors import RecipeError, quoted

VERBS: dict[str, ModuleType] = {
    "recipes": recipes,
    "check": check,
    "train": train,
    "probe": probe,
    "evaluate": evaluate,
    "predict": predict,
    "enroll": enroll,
    "identify": identify,
    "verify": verify,
    "find-lr": find_lr,
    "models": models,
    "summary": summary,
    "compare": compare,
    "show": show,
    "completion": completion,
}


def run_verb(words: Sequence[str], *, from_shell: bool) -> int:
    """Runs the verb that a command line names.

    Args:
        words: the command line after `unpool`.
        from_shell: whether it came from a shell; only then the process may be restarted.

    Returns:
        The exit code.

    Raises:
        RecipeError: there is no such verb, or its arguments are wrong.
    """
    verb, *rest = _without_debug(words) or ["--help"]
    if verb in ("-h", "--help"):
        write_result(_help())
        return 0
    if verb == "--version":
        write_result(f"unpool {__version__}")
        return 0
    if verb not in VERBS:
        from unpool.recipe.mistakes import nearest

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
            "`unpool VERB --help` shows its arguments, `unpool --version` the version.",
            "--debug shows where in the code an error arose.",
        ]
    )
