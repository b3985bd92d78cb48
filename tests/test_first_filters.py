"""The first layer's filters before training are kept, also over a resume."""

from types import SimpleNamespace

import torch
from torch import nn

from unpool.assemble.first_filters import LARGEST, FirstFilters


def job_of(*layers):
    torch.manual_seed(0)
    return SimpleNamespace(model=nn.Sequential(*layers))


def test_filters_of_a_resumed_run_are_those_before_its_first_step():
    job, first, resumed = job_of(nn.Conv2d(3, 8, 5)), FirstFilters(), FirstFilters()
    first.start(job)
    (_, before), (_, same) = first.sheets("rgb")
    assert torch.equal(before, same)
    resumed.load_state_dict(first.state_dict())
    with torch.no_grad():
        job.model[0].weight.normal_(std=0.1)
    resumed.start(job)
    (label, kept), (_, after) = resumed.sheets("rgb")
    assert label == "before training"
    assert torch.equal(kept, before)
    assert not torch.equal(after, before)


def test_network_without_a_convolution_or_with_a_huge_one_has_no_sheets():
    for layer in (nn.Linear(2, 2), nn.Conv2d(LARGEST, 1, 2)):
        filters = FirstFilters()
        filters.start(job_of(layer))
        assert filters.sheets("rgb") == []
        assert filters.state_dict() == {}
