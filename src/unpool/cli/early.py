"""Refuses before torch is imported what needs no torch: paths that do not exist, misspelt keys, wrong values.

The verbs check all of it again, for callers from Python.
"""

import os
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from unpool import __version__
from unpool.cli.environment import is_restarted
from unpool.data.root import require_root
from unpool.errors import DataError, shortened
from unpool.launched import STORE, environment
from unpool.network_names import not_a_run
from unpool.streams import write_message

_ROOT = "data.root="
_LISTED = 5


def start_training(recipe: str, overrides: Sequence[str], *, verb: str = "training") -> None:
    """Says what is done (`verb`) by which recipe on what; the folder is checked before, the recipe's values after.

    Raises:
        DataError: the folder of the data set does not exist.
        RecipeError: there is no such recipe, or one of its values is wrong.
    """
    if is_restarted():
        return
    texts = [text.removeprefix(_ROOT) for text in overrides if text.startswith(_ROOT)]
    roots = [Path(text).expanduser() for text in texts if text]
    for root in roots[-1:]:
        require_root(root)
    on = f" on {roots[-1]}" if roots else ""
    _say(f"{verb} {recipe}{on}")
    from unpool.recipe import early_recipe

    settings = early_recipe(recipe, overrides)
    if settings.data.root is not None:
        require_root(Path(settings.data.root))


def start_resuming(run: Path) -> None:
    """Says which run is resumed; raises as `start_answering`."""
    if not is_restarted():
        _require_run(run)
        _say(f"resuming {run}")


def start_answering(verb: str, run: Path, *, is_published: bool, images: Iterable[Path] = ()) -> None:
    """Says what a run, or a published network, is asked.

    Args:
        verb: what it does, such as "predicting with".
        run: its directory, or the network's name.
        is_published: whether `run` is a name.
        images: files, folders or patterns; one at least must exist.

    Raises:
        ModelFileError, RecipeError: there is no such run.
        DataError: none of the images exists.
    """
    if is_restarted():
        return
    if not is_published:
        _require_run(run)
    asked = list(images)
    if asked and not any(path.exists() or _fits(path) for path in asked):
        more = f" and {len(asked) - _LISTED} more" if len(asked) > _LISTED else ""
        names = ", ".join(shortened(str(path)) for path in asked[:_LISTED])
        raise DataError(f"no image can be read: there is no file, folder or match of {names}{more}")
    _say(f"{verb} {run}")


def _fits(pattern: Path) -> bool:
    return bool(glob(str(pattern), recursive=True))  # noqa: PTH207, may be absolute


def _require_run(run: Path) -> None:
    if not run.is_dir():
        raise not_a_run(run)


def _say(text: str) -> None:
    if environment().rank == 0 and STORE not in os.environ:
        write_message(f"unpool {__version__}: {shortened(text)}; importing torch")
