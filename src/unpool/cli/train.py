"""`unpool train`: trains a recipe, or resumes a run."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from unpool.cli.console import library_output_to_stderr, write_result
from unpool.cli.early import start_resuming, start_training
from unpool.cli.environment import prepare
from unpool.cli.metrics import write_metrics
from unpool.cli.parser import Parser
from unpool.cli.starting import more_processes, start_processes
from unpool.errors import RecipeError, Stopped, TimeLimit, quoted
from unpool.launched import environment
from unpool.screen import ReadingBar, log_to_stderr
from unpool.streams import write_message

ABOUT = "train a recipe, or resume a run"
_DETAILS = """examples:
  unpool train scenes_unet
  unpool train camvid_unet data.root=DIR train.epochs=5 --run runs/short
  unpool train --resume runs/short train.epochs=10"""


def parser() -> Parser:
    """Returns the parser of the arguments."""
    verb = Parser("train", ABOUT, details=_DETAILS)
    verb.add_argument(
        "items", nargs="*", default=[], metavar="RECIPE key=value", help="name or file of a recipe, then overrides"
    )
    verb.add_argument(
        *("--run", "--run-dir"),  # the former is short for an option of torchrun, which refuses it
        type=Path,
        metavar="DIR",
        help="the run directory; by default runs/RECIPE-N",
    )
    verb.add_argument("--resume", type=Path, metavar="RUN", help="resume this run")
    verb.add_argument(
        "--no-check", action="store_true", help="train also where a quick check before the first step fails"
    )
    verb.add_argument("--verbose", action="store_true", help="show more: every parameter, how long each setting took")
    return verb


def run(values: Namespace) -> int:
    """Trains a recipe, or resumes a run, prints its metrics and directory, and returns 0."""
    if values.resume is None:
        recipe, overrides = recipe_of(values.items)
        if values.from_shell:
            start_training(recipe, overrides)
            if processes := more_processes(recipe, overrides):
                return start_processes(processes)
        prepare(from_shell=values.from_shell)
        return _start(recipe, overrides, values)
    if values.no_check:
        raise RecipeError("--no-check is of a new run; a run that is resumed has passed, or was begun with it")
    if values.run is not None:
        raise RecipeError("--resume writes to the directory of the run; leave --run out")
    overrides = _only_overrides(values.items)
    if values.from_shell:
        start_resuming(values.resume)
        recipe = values.resume / "recipe.yaml"
        if recipe.is_file() and (processes := more_processes(recipe, overrides)):
            return start_processes(processes)
    prepare(from_shell=values.from_shell)
    return _resume(values.resume, overrides, verbose=values.verbose)


def _start(recipe: str, overrides: Sequence[str], values: Namespace) -> int:
    from unpool.run import train

    started: list[Path] = []
    with (
        _resumable(started),
        library_output_to_stderr(),
        log_to_stderr(verbose=values.verbose),
        ReadingBar() as progress,
    ):
        metrics = train(
            recipe,
            overrides,
            check=not values.no_check,
            run=values.run,
            progress=progress,
            on_start=started.append,
        )
    return _finish(metrics)


def _resume(run: Path, overrides: Sequence[str], *, verbose: bool) -> int:
    from unpool.run import resume

    with _resumable([run]), library_output_to_stderr(), log_to_stderr(verbose=verbose), ReadingBar() as progress:
        metrics = resume(run, overrides, progress=progress)
    if metrics.get("already_complete"):
        write_message("this run is complete; nothing was done")
    return _finish(metrics)


def _finish(metrics: Mapping[str, Any]) -> int:
    from unpool.run_directory import shown_path

    if environment().rank:
        return 0
    write_metrics(metrics)
    run = Path(metrics["run"])
    write_result(f"report: {shown_path(run / 'report.html')}")
    write_result(shown_path(run))
    return 0


@contextmanager
def _resumable(runs: Sequence[Path]) -> Iterator[None]:
    """Adds to a stop the command that resumes; the first of `runs`, added once it exists, is the run directory."""
    try:
        yield
    except (Stopped, TimeLimit, KeyboardInterrupt) as error:
        if runs and (runs[0] / "last").is_dir():
            from unpool.run_directory import shown_path

            error.add_note(f"resume with: unpool train --resume {quote(shown_path(runs[0]))}")
        raise


def recipe_of(items: Sequence[str]) -> tuple[str, list[str]]:
    """The recipe and the overrides among the words of a command line."""
    if not items:
        raise RecipeError("give a recipe's name or file, or --resume RUN; `unpool recipes` lists the names")
    recipe, *overrides = items
    if "=" in recipe and not Path(recipe).is_file():
        raise RecipeError(f"the recipe's name or file comes before {quoted(recipe)}")
    return recipe, _only_overrides(overrides)


def _only_overrides(items: Sequence[str]) -> list[str]:
    for item in items:
        if "=" not in item:
            if Path(item).is_dir():
                raise RecipeError(f"{quoted(item)} is a folder; of the data set, write data.root={quote(item)}")
            raise RecipeError(f"{quoted(item)} is no section.key=value; give one recipe or one run, then overrides")
    return list(items)
