"""`unpool VERB ...` as a program: signals and streams first, since imports take seconds, then the verb."""

import sys
from collections.abc import Sequence

from unpool.cli import signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the words of the command line after `unpool`; None for those of this process, which then is the
            program: it handles signals, and outlasts its terminal and the readers of its output.

    Returns:
        The exit code: 0 done; 1 a count is not the published one; 2 the command line or recipe was wrong; 3 data or a
        model file; 4 the environment; 5 diverged; 75 stopped at a time limit; 129, 130 and 143 stopped by SIGHUP,
        SIGINT and SIGTERM.
    """
    if arguments is not None:
        return _run(list(arguments), from_shell=False)
    signals.end_at_once()
    code = _run(sys.argv[1:], from_shell=True)
    signals.exit_with(code)
    return code


def _run(words: Sequence[str], *, from_shell: bool) -> int:
    from unpool.cli.console import escape_unencodable, outlast_readers
    from unpool.cli.outcome import guarded
    from unpool.cli.verbs import run_verb

    escape_unencodable()
    if from_shell:
        outlast_readers()
    return guarded(lambda: run_verb(words, from_shell=from_shell), debug="--debug" in words)
