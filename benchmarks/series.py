"""Short runs of recipes with some keys changed, with several seeds, in folders that are named after all their settings.

So a call after a stop goes on where the first was stopped, and a recipe that was changed since is trained anew.
"""

import hashlib
import json
import math
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import NamedTuple

from benchmarks.accuracy import Metrics, train
from unpool import load_recipe
from unpool.data.draws import permutation
from unpool.errors import Diverged


class Ended(NamedTuple):
    """One run: its folder, and its metrics with the last weights; None where the training diverged."""

    run: Path
    metrics: Metrics | None

    def score(self, metric: str) -> float:
        """A metric; NaN of a run that diverged."""
        value = None if self.metrics is None else self.metrics[metric]
        return math.nan if value is None else float(value)


def trained(recipe: str, overrides: Sequence[str], *, root: Path | None, runs: Path, seed: int = 0) -> Ended:
    """A run by `unpool train` as a process of its own, or what is left of it goes on; checks before it are left out."""
    changed = [*overrides, f"train.seed={seed}"]
    run = runs / f"{recipe}-{digest(recipe, changed)}"
    where = [] if root is None else [f"data.root={root}"]
    try:
        return Ended(run, train(recipe, [*where, *changed], run, is_checked=False))
    except subprocess.CalledProcessError as error:
        if error.returncode != Diverged.exit_code:
            raise
        return Ended(run, None)


def digest(recipe: str, overrides: Sequence[str]) -> str:
    """Eight characters that differ where a setting does; where the data and a file of weights lie is none."""
    settings = load_recipe(recipe, [*overrides, "data.root=data"]).model_dump(mode="json")
    settings["data"].pop("root")
    if (weights := settings["model"]["weights"]) is not None:
        settings["model"]["weights"] = "/".join(Path(weights).parts[-2:])
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def spread(groups: Sequence[Sequence[float]], *, of: int) -> float:
    """Twice the standard error of the difference of two means of `of` seeds, by the variance within all groups.

    Example:
        >>> round(spread([[1.0, 3.0], [5.0, 7.0]], of=2), 3)
        2.828
    """
    variances = [variance(group) for group in groups if len(group) > 1 and all(map(math.isfinite, group))]
    return 2 * math.sqrt(fmean(variances) * 2 / of) if variances else math.nan


def shown(values: Sequence[float], *, factor: float = 100, digits: int = 2, unit: str = " %") -> str:
    """Mean, and deviation where there are several.

    Example:
        >>> shown([0.5, 0.52]), shown([0.5]), shown([0.5, math.nan])
        ('51.00 ± 1.41 %', '50.00 %', 'diverged')
    """
    if not all(map(math.isfinite, values)):
        return "diverged"
    scaled = [factor * value for value in values]
    deviation = f" ± {stdev(scaled):.{digits}f}" if len(scaled) > 1 else ""
    return f"{fmean(scaled):.{digits}f}{deviation}{unit}"


def fewer_of_cifar(data: Path, folder: Path, images: int) -> Path:
    """A folder with the first training images of each class, `images` in all, and the whole test split."""
    done = folder / "train.tar.gz"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("test.tar.gz", "batches.meta.txt"):
            (folder / name).write_bytes((data / name).read_bytes())
        part = done.with_suffix(".part")
        with tarfile.open(data / "train.tar.gz") as whole, tarfile.open(part, "w:gz") as few:
            for member in _first_of_each(whole, images):
                few.addfile(member, whole.extractfile(member))
        part.replace(done)
    return folder


def _first_of_each(archive: tarfile.TarFile, images: int) -> Iterator[tarfile.TarInfo]:
    members = sorted((one for one in archive.getmembers() if one.isfile()), key=lambda one: one.name)
    classes = sorted({Path(one.name).parent for one in members})
    for name in classes:
        of_class = [one for one in members if Path(one.name).parent == name]
        yield from of_class[: images // len(classes)]


def drawn(labels: Sequence[int], each: int | None, draw: int) -> list[int]:
    """Positions of `each` images of every class, or of all: a draw of more holds that of fewer of the same number.

    Example:
        >>> labels = [0] * 9 + [1] * 9
        >>> len(drawn(labels, 2, 0)), set(drawn(labels, 2, 0)) < set(drawn(labels, 6, 0))
        (4, True)
    """
    order = permutation(draw, 0, len(labels)).tolist()
    return sorted(i for one in set(labels) for i in [j for j in order if labels[j] == one][:each])
