"""Runs of one task, measured on the same images: which is better, by how much, and whether that is more than chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from unpool.assemble.data import as_sized, give_set_range
from unpool.assemble.proposals import with_proposals
from unpool.comparing.page import Run, runs_view
from unpool.comparing.scores import ImageScores, exhibit_of, score_images
from unpool.data.content_cache import ContentCache
from unpool.data.looking import Binding
from unpool.data.same_names import check_same_names
from unpool.data.store import scan
from unpool.errors import RecipeError, quoted
from unpool.inspection.cost import macs
from unpool.machine import cache_folder
from unpool.measuring import custom_parts, measured_on, warn_of_seen
from unpool.model_file import FILES
from unpool.ops.paired_differences import Difference, paired_bootstrap
from unpool.pages.images import Card, Picture
from unpool.pages.view import View
from unpool.predictor.loading import load
from unpool.predictor.predictor import Predictor
from unpool.recipe import Overrides, Recipe, load_run_recipe
from unpool.recipe.mistakes import nearest
from unpool.recipe.overrides import parse_overrides
from unpool.run_directory import DATA, METRICS, RunDirectory
from unpool.task import Exhibit, Task
from unpool.types import Samples

SHOWN = 4  # images on which the second is better, and as many on which the first is
MERGED_MOST = 200  # replicates where counts have to be merged


class _Set(NamedTuple):
    settings: Recipe
    samples: Samples


def compare_runs(  # noqa: PLR0913, keywords of a public verb
    runs: Sequence[Path],
    overrides: Overrides = (),
    *,
    metric: str | None = None,
    split: str = "val",
    weights: str = "last",
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> View:
    """Measures all runs on the validation set of the first; see `compare`."""
    directories = [RunDirectory.open(run) for run in runs]
    _check_words(split, weights)
    _require_one_task(directories)
    if split == "val" and "data.root" not in parse_overrides(overrides):
        _require_one_set(directories)
    trained = [load(one.path, cast(Literal["last", "best"], weights)) for one in directories]
    task = trained[0].task
    name = _metric(task, metric)
    for one, other in zip(trained[1:], directories[1:], strict=True):
        check_same_names(one.info, trained[0].info, reader=str(other.path))
    measured = _set_of(directories[0], overrides, split, trained)
    for one in directories if split != "train" else ():
        warn_of_seen(one, measured.samples, measured.settings)
    scores = []
    for one, directory in zip(trained, directories, strict=True):
        progress(f"{directory.path.name}: {len(measured.samples)} images")
        scores.append(score_images(one, measured.settings, measured.samples, name, progress=lambda done, total: None))
    differences = [_difference(scores[0], other, replicates, seed) for other in scores[1:]]
    shown = [
        Run(
            name=_name(directory, directories),
            score=score.whole,
            params=sum(p.numel() for p in one.model.parameters()),
            macs=_macs(one, measured.samples),
            recipe=load_run_recipe(directory.path),
            metrics=directory.read_json(METRICS) if (directory / METRICS).is_file() else {},
            log=directory / "log.jsonl",
        )
        for directory, one, score in zip(directories, trained, scores, strict=True)
    ]
    answered = [_Answered(run.name, one, score.values) for run, one, score in zip(shown, trained, scores, strict=True)]
    sign = 1 if task.description(name).higher_is_better else -1
    return runs_view(
        shown,
        differences,
        {one.name: _cards(answered[0], one, measured, sign) for one in answered[1:]},
        metric=name,
        described=task.described,
        images=len(measured.samples),
        split=split,
        units=scores[0].units,
    )


class _Answered(NamedTuple):
    name: str
    trained: Predictor
    values: NDArray[np.float64]


def _check_words(split: str, weights: str) -> None:
    for what, word, known in (("split", split, ("train", "val", "test")), ("weights", weights, tuple(FILES))):
        if word not in known:
            raise RecipeError(f"{what} is {quoted(word)}; it must be {' or '.join(known)}")


def _require_one_task(directories: Sequence[RunDirectory]) -> None:
    for one in directories:
        if parts := custom_parts(one):
            raise RecipeError(
                f"{one.path} was trained with {' and '.join(parts)} of your own, which nobody can make again here: "
                "measure it with unpool.evaluate(..., model=..., reader=...)"
            )
    first, *others = ((one.path, load_run_recipe(one.path).task.name) for one in directories)
    for path, task in others:
        if task != first[1]:
            raise RecipeError(f"{first[0]} was trained for {first[1]} and {path} for {task}: compare runs of one task")


def _require_one_set(directories: Sequence[RunDirectory]) -> None:
    """Raises RecipeError where the runs did not validate on the same images, by name and content."""
    first, *others = ((one.path, one.read_json(DATA)["val"]) for one in directories)
    for path, recorded in others:
        ours, theirs = set(first[1]["names"]), set(recorded["names"])
        advice = "compare runs of one validation set, or measure both on another: data.root=DIR"
        if ours != theirs:
            only = f"{len(ours - theirs)} images are of the first alone and {len(theirs - ours)} of the second"
            raise RecipeError(f"{first[0]} and {path} have other validation sets: {only}; {advice}")
        if changed := _other_content(first[1], recorded):
            raise RecipeError(
                f"{first[0]} and {path} have other validation sets: {len(changed)} files differ in content, such as "
                f"{changed[0]}; {advice}"
            )


def _other_content(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    ours, theirs = first.get("files") or {}, second.get("files") or {}
    return [
        path
        for path in ours
        if path in theirs and ours[path][2] and theirs[path][2] and ours[path][2] != theirs[path][2]
    ]


def _metric(task: Task, asked: str | None) -> str:
    """The metric to compare: one number, of the task's description."""
    known = [name for name, one in task.described.items() if not (one.each or one.is_matrix or one.is_curve)]
    if asked is None:
        return task.best if task.best in known else known[0]
    if asked not in known:
        raise RecipeError(f"there is no metric {quoted(asked)} of one number{nearest(asked, known)}")
    return asked


def _set_of(directory: RunDirectory, overrides: Overrides, split: str, trained: Sequence[Predictor]) -> _Set:
    """The samples of the first run, as `evaluate` reads them; and each predictor's preprocessing of them."""
    first = trained[0]
    known = cast(Literal["train", "val", "test"], split)
    settings, reader = measured_on(directory, overrides, known, reader=None, known=first.info)
    give_set_range(reader, first.preprocessing.set_range)
    for one in trained:
        one.task.measure_with(reader.info)
    memory = None if settings.data.memory == "auto" else settings.data.memory
    with ContentCache(cache_folder("contents")) as cache:
        result = scan(reader, memory=memory, binding=Binding(cache=cache))
        result = with_proposals(result, settings.data.proposals, reader, root=settings.data.root)
    for one in trained:
        sized = as_sized(one.preprocessing, reader, result.samples)
        one.preprocessing = replace(sized, proposals=settings.data.proposals)
    return _Set(settings, result.samples)


def _difference(first: ImageScores, second: ImageScores, replicates: int, seed: int) -> Difference | None:
    if first.is_mean != second.is_mean:  # the scores of one network are all alike
        return None
    drawn = replicates if first.is_mean else min(replicates, MERGED_MOST)
    return paired_bootstrap(first.of_units, second.of_units, first.units, replicates=drawn, seed=seed)


def _name(directory: RunDirectory, directories: Sequence[RunDirectory]) -> str:
    alike = [one for one in directories if one.path.name == directory.path.name]
    return directory.path.name if len(alike) == 1 else str(directory.path)


def _macs(trained: Predictor, samples: Samples) -> int | None:
    """Multiply-adds of one image at the size that the network sees."""
    size = trained.preprocessing.size_hw or samples.sizes_hw[0]
    channels = trained.preprocessing.channels * trained.task.frames + trained.task.added_channels
    try:
        return macs(trained.model, (channels, *size))
    except (RuntimeError, ValueError):  # a network that takes more than an image, or another size
        return None


def _cards(first: _Answered, second: _Answered, measured: _Set, sign: int) -> list[Card]:
    """The images on which the second is better by most, and those on which the first is."""
    gain = np.nan_to_num((second.values - first.values) * sign)
    order: list[int] = np.argsort(gain, kind="stable").tolist()
    better, worse = [i for i in reversed(order) if gain[i] > 0][:SHOWN], [i for i in order if gain[i] < 0][:SHOWN]
    cards = []
    for index in (*better, *worse):
        both = first, second
        exhibits = [exhibit_of(one.trained, measured.settings, measured.samples, index) for one in both]
        text = ", ".join(f"{one.name} {one.values[index]:.4g}" for one in both)
        cards.append(Card(measured.samples.names[index], text, _side_by_side(exhibits, (first.name, second.name))))
    return cards


def _side_by_side(exhibits: Sequence[Exhibit], names: tuple[str, str]) -> list[Picture]:
    """The pictures of both, those that are equal once."""
    first, second = (dict(one.pictures) for one in exhibits)
    pictures = []
    for label, image in first.items():
        other = second.get(label)
        if other is not None and image.shape == other.shape and bool((image == other).all()):
            pictures.append(Picture(label, image))
        else:
            pictures += [Picture(f"{label}, {names[0]}", image), Picture(f"{label}, {names[1]}", other)]
    return pictures + [Picture(f"{label}, {names[1]}", image) for label, image in second.items() if label not in first]
