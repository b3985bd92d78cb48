"""Every kind of network learns four images by heart, and every module has one that does."""

import pytest
from torch import nn

from benchmarks import overfit, overfit_detectors
from benchmarks.overfit import CASES, Case, build, learn
from unpool.models import (
    backbones,
    captions,
    classifiers,
    denoising,
    detection,
    embedding,
    localization,
    pose,
    reading,
    segmentation,
)

MODULES = [
    *backbones.FAMILIES,
    *(
        module
        for package in (captions, classifiers, denoising, embedding, localization, pose, reading, segmentation)
        for module in package.MODULES
    ),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_module_has_a_network_among_the_cases(module):
    names = sorted(module.VARIANTS)
    assert {case.name for case in CASES} & set(names), f"add a Case for one of {names} to benchmarks/overfit.py"


@pytest.mark.parametrize("module", detection.MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_module_of_detectors_has_a_row_that_learns_scenes(module):
    names = sorted(module.VARIANTS)
    assert set(overfit_detectors.ROWS) & set(names), f"add one of {names} to benchmarks/overfit_detectors.py"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_network_learns_four_images_by_heart(case):
    learned = learn(case)
    assert learned.passes, learned


def test_network_that_learns_by_heart_passes_and_one_that_does_not_see_fails(monkeypatch):
    assert learn(Case("lenet5")).passes
    blind = build(Case("lenet5"))
    nn.init.zeros_(blind.features.conv1.weight)
    blind.features.conv1.requires_grad_(requires_grad=False)
    monkeypatch.setattr(overfit, "build", lambda case: blind)
    assert 0.5 < learn(Case("lenet5"), steps=40).left < 1.5


def test_parameter_without_gradient_is_named(monkeypatch):
    network = build(Case("lenet5"))
    network.spare = nn.Linear(2, 2)
    monkeypatch.setattr(overfit, "build", lambda case: network)
    learned = learn(Case("lenet5"))
    assert (learned.dead, learned.passes) == (("spare.weight", "spare.bias"), False)
