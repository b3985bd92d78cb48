"""The tuning half of the planted mistakes: complete, known, and able to run."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
import torch

import unpool
from benchmarks.mistakes.case import Case, Folders, OfRecipe, Plain, causes
from benchmarks.mistakes.tuning import CASES

HEALTHY = {case.name: case for case in CASES if case.cause is None}
MISTAKES = [case for case in CASES if case.cause is not None]
PROBLEMS = ("classification", "segmentation", "denoising", "pose", "boxes", "embedding", "captions")
OF_PROBLEM = {
    "classification": "textures berries digits insects scarce stream cifar folder_of_textures folder_of_digits",
    "segmentation": "scenes streets membranes batches_of_two",
    "denoising": "leaves photographs_are_denoised folder_of_pairs",
    "pose": "figures",
    "boxes": "cell ellipse boxes",
    "embedding": "signs faces",
    "captions": "shapes photographs_are_described sentences",
}


def problem_of(healthy: str) -> str:
    """The problem of a healthy run, by a word of its name; empty where the name has none of these words."""
    return next((name for name in PROBLEMS if any(word in healthy for word in OF_PROBLEM[name].split())), "")


def first_loss(run: Plain) -> torch.Tensor:
    """The loss of the first batch, as its step or its forward and loss give it."""
    arguments = run.arguments
    batch = next(iter(arguments["train"]))
    if "step" in arguments:
        return arguments["step"](batch)
    outputs = (
        arguments["forward"](arguments["model"], batch) if "forward" in arguments else arguments["model"](batch[0])
    )
    value = arguments["loss"](outputs, batch if isinstance(batch, dict) else batch[1])
    return torch.stack(list(value.values())).sum() if isinstance(value, dict) else value


def require_run(run: Plain | OfRecipe) -> None:
    """Asserts that a recipe is read with its overrides, or that the first batch has a finite loss."""
    if isinstance(run, OfRecipe):
        assert unpool.load_recipe(run.recipe, run.overrides).train.epochs >= 1
    else:
        assert first_loss(run).isfinite()


def weights(model: torch.nn.Module) -> Iterable[Any]:
    """What two networks must share to be the same."""
    return [value.flatten()[:5].tolist() for value in model.state_dict().values()]


def test_names_are_unique():
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def test_causes_are_known_and_all_of_them_are_planted():
    named = {cause for case in MISTAKES for cause in (case.cause, *case.also)}
    assert named - set(causes()) == set()
    assert set(causes()) - {case.cause for case in MISTAKES} == set()


def test_every_mistake_is_a_change_of_a_healthy_run_and_says_why():
    assert {case.of for case in MISTAKES} - set(HEALTHY) == set()
    assert [case.name for case in CASES if not case.source] == []
    assert [case.name for case in HEALTHY.values() if case.of or case.also] == []


def test_half_has_fifty_mistakes_and_fifteen_healthy_runs_of_many_sets_and_networks():
    assert len(MISTAKES) >= 50
    assert len(HEALTHY) >= 15
    assert len({case.data for case in HEALTHY.values()}) >= 5
    assert len({case.network for case in HEALTHY.values()}) >= 6


def test_every_subject_has_four_mistakes():
    counts = Counter(case.subject for case in MISTAKES)
    assert [
        subject
        for subject in ("data", "augment", "network", "norm", "loss", "optim", "metric", "predict")
        if counts[subject] < 4
    ] == []


def test_every_problem_has_three_mistakes():
    counts = Counter(problem_of(case.of) for case in MISTAKES)
    assert [problem for problem in PROBLEMS if counts[problem] < 3] == []


def test_missing_public_set_is_named(tmp_path):
    case = next(case for case in CASES if case.needs == ("mnist",))
    with pytest.raises(FileNotFoundError, match="mnist: a folder with the public set"):
        case.make(Folders(tmp_path, None))


@pytest.mark.parametrize("case", [case for case in CASES if not case.needs], ids=lambda case: case.name)
@pytest.mark.slow
def test_run_is_made_and_has_a_loss(case: Case, tmp_path):
    require_run(case.make(Folders(tmp_path, None)))


@pytest.mark.parametrize("case", [case for case in CASES if case.needs], ids=lambda case: case.name)
@pytest.mark.slow
@pytest.mark.data
def test_run_on_a_public_set_is_made_and_has_a_loss(case: Case, tmp_path, shared_data):
    require_run(case.make(Folders(tmp_path, shared_data)))


def test_run_is_made_alike_each_time(tmp_path):
    case = HEALTHY["ellipse_is_located"]
    first, second = (case.make(Folders(tmp_path, None)) for _ in range(2))
    assert isinstance(first, Plain)
    assert isinstance(second, Plain)
    assert weights(first.arguments["model"]) == weights(second.arguments["model"])
    batches = [next(iter(run.arguments["train"]))["image"] for run in (first, second)]
    assert torch.equal(*batches)
