"""How many processes make training batches, and whether this program may start any."""

import logging

from unpool import launched
from unpool.data.measure import MeasuringReader
from unpool.data.plain import drawing_of, is_iterated, is_random
from unpool.data.spawning import why_script_cannot, why_unsendable
from unpool.data.streamed import StreamedSamples
from unpool.errors import RecipeError
from unpool.recipe import Recipe
from unpool.training.processes import world_size
from unpool.types import Reader, Samples

_SMALL_PIXELS = 150e6  # of a whole run, which one thread augments in the time in which a process starts
_USUAL_SIDE = 256  # of images whose size the recipe leaves open
_log = logging.getLogger(__name__)


def check_processes(recipe: Recipe) -> None:
    """Raises RecipeError where processes were asked for that this script must not start."""
    if recipe.data.workers not in ("auto", 0) and (reason := why_script_cannot()):
        raise RecipeError(
            f"data.workers is {recipe.data.workers}, and {reason} each process would import the script and train too. "
            "Put what starts the training under that line, or set data.workers=0"
        )


def may_share(recipe: Recipe, reader: Reader) -> bool:
    """Whether processes may read the samples of a reader, so that those that are held lie in shared memory."""
    if recipe.data.workers != "auto":
        return recipe.data.workers > 0
    return not _is_small(recipe, len(reader)) and not why_script_cannot()


def num_workers(recipe: Recipe, samples: Samples) -> int:
    """Processes that make training batches.

    Where the recipe leaves it open: none for a small run, or where they could not be started, which the log says; else
    one for each core but one, at least one and at most eight.

    Raises:
        RecipeError: the recipe asks for processes, to which the samples cannot be sent.
    """
    asked, reader = recipe.data.workers, samples.reader if isinstance(samples, StreamedSamples) else None
    count = 0 if asked == 0 or is_iterated(reader) else _count(recipe, samples, reader)
    if not count and drawing_of(reader) == "shared":
        if world_size() > 1:
            raise RecipeError(
                "the data set draws random numbers, and a thread reads it: several processes would draw equal ones for "
                'different samples; set data.workers=1, and start the program behind `if __name__ == "__main__":`'
            )
        _log.warning("a thread reads a data set that draws random numbers: another run, or a resumed one, draws others")
    return count


def _count(recipe: Recipe, samples: Samples, reader: Reader | None) -> int:
    asked = recipe.data.workers
    reason = "" if reader is None or isinstance(reader, MeasuringReader) else why_unsendable(samples)
    if asked != "auto":
        if reason:
            raise RecipeError(f"data.workers is {asked}, and {reason}: set data.workers=0, or move it to a file")
        return int(asked)
    if _is_small(recipe, len(samples)) and not is_random(reader):
        return 0
    if reason := reason or why_script_cannot():
        _log.info("batches are made by a thread: %s", reason.removesuffix(":"))
        return 0
    return max(1, min(8, launched.cores() - 1))


def _is_small(recipe: Recipe, count: int) -> bool:
    data = recipe.data
    shortened = (data.shorter, data.longest) if data.shorter and data.longest else None
    height, width = data.train_size or data.size or shortened or (_USUAL_SIDE, _USUAL_SIDE)
    return count * recipe.train.epochs * recipe.data.repeat * height * width < _SMALL_PIXELS
