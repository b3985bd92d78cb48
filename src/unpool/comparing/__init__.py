"""Compares networks, or runs: what each costs, what it reaches, and whether a difference is more than chance."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from unpool.comparing.networks import compare_networks
from unpool.comparing.runs import compare_runs
from unpool.errors import RecipeError, quoted
from unpool.pages.view import View
from unpool.recipe import Overrides

Source = str | Path | nn.Module


def compare(  # noqa: PLR0913, a public verb
    *sources: Source,
    overrides: Overrides = (),
    metric: str | None = None,
    split: str = "val",
    weights: str = "last",
    input_shape: tuple[int, ...] | None = None,
    batch: int = 1,
    seconds: float = 1.0,
    replicates: int = 1000,
    seed: int = 0,
    names: Mapping[int, str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> View:
    """Compares networks by name or as modules, or finished runs of one task on one validation set.

    Of networks: parameters, multiply-adds, activations and images a second here; their published scores against
    operations, where their publisher states one. Of runs: scores with the difference to the first run, and its 95 %
    interval by a paired bootstrap over the images; curves, settings that differ, and the images on which they differ
    most.

    Args:
        sources: two or more names of networks or modules; or two or more run directories, the first of which the others
            are compared with.
        overrides: of runs, such as data.root, as in `evaluate`.
        metric: of runs, that is compared; None takes the one that chose the best weights.
        split: of runs, "train", "val" or "test".
        weights: of runs, "last" or "best".
        input_shape: (C, H, W) of networks; None takes the published ones of networks by name.
        batch: images of a forward pass that is timed.
        seconds: how long each network is timed; 0 leaves it out.
        replicates: draws of the bootstrap.
        seed: of the bootstrap.
        names: of networks, by their position; None takes the names or classes.
        progress: called with a line of text before each part.

    Raises:
        RecipeError: fewer than two, networks and runs together, or runs that cannot be compared: of other tasks, other
            validation sets, or with parts of your own.
        DataError, ModelFileError: as in `evaluate`.

    Example:
        >>> one = nn.Conv2d(64, 64, 7, padding=3, bias=False)
        >>> three = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1, bias=False) for _ in range(3)))
        >>> view = compare(one, three, input_shape=(64, 56, 56), seconds=0)
        >>> [network["params"] // 64**2 for network in view.values["networks"]]
        [49, 27]
    """
    if len(sources) < 2:
        raise RecipeError("one alone cannot be compared: name two or more networks, or two or more runs")
    runs = [source for source in sources if not isinstance(source, nn.Module) and Path(source).is_dir()]
    if not runs:
        shown = [(names or {}).get(number, "") for number in range(len(sources))]
        return compare_networks(
            list(zip(shown, sources, strict=True)),
            input_shape=input_shape,
            batch=batch,
            seconds=seconds,
            progress=progress,
        )
    if len(runs) < len(sources):
        other = next(source for source in sources if source not in runs)
        what = other if isinstance(other, str | Path) else type(other).__name__
        raise RecipeError(f"{quoted(str(what))} is a network and {runs[0]} a run: compare networks, or runs")
    return compare_runs(
        [Path(str(run)) for run in sources],
        overrides,
        metric=metric,
        split=split,
        weights=weights,
        replicates=replicates,
        seed=seed,
        progress=progress,
    )
