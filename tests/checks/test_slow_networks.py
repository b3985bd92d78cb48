"""A large network gets fewer batches and steps, and what it costs is not taken from the time for reading."""

import time

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.checks.small_runs import batches, images, net, run
from unpool.checks import first_batch, source
from unpool.checks.budget import Budget
from unpool.checks.learning import TRIED, look_overfit
from unpool.checks.looking import look
from unpool.checks.norm_statistics import look_gap
from unpool.checks.scorers import Scorer
from unpool.checks.setup import FEW
from unpool.checks.source import Source


class Slow(nn.Module):
    """A small network that takes some hundredths of a second, and notes how many samples it gets at a time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.net, self.seconds = net(), seconds
        self.sizes: list[int] = []

    def forward(self, x):
        self.sizes.append(len(x))
        time.sleep(self.seconds)
        return self.net(x)


def slow_run(seconds, *, minutes, **changes):
    setup = run(model=Slow(seconds), **changes)
    setup.budget = Budget(minutes)  # whose time begins now
    return setup


def test_samples_are_read_however_long_the_network_takes_to_show_its_outputs():
    setup = slow_run(0.5, minutes=0.08, train=TensorDataset(*images(20)))
    assert len(setup.seen) == 20
    assert setup.model.sizes == [FEW, 16]  # which show the form of its outputs, and what the loss takes them for


def test_first_pass_ends_with_its_share_of_the_time():
    slow, quick = slow_run(0.05, minutes=0.01), slow_run(0.0, minutes=2)
    assert (slow.first_pass.samples, quick.first_pass.samples) == (8, 32)


def test_both_modes_are_compared_where_there_is_time_for_it():
    slow, quick = slow_run(0.05, minutes=0.02), slow_run(0.0, minutes=2)
    assert "more minutes" in look_gap(slow).about
    assert look_gap(quick).verdict == "pass"


def test_samples_are_not_learned_by_heart_where_time_is_known_to_be_too_short():
    setup = slow_run(0.02, minutes=0.02)
    assert look_overfit(setup).verdict == "not applicable"
    assert len(setup.model.sizes) == 2 + TRIED + 1  # the first two for the form of the outputs


def test_batches_of_a_slow_network_are_cut_and_others_are_not():
    setup = slow_run(0.0, minutes=2)
    assert len(setup.batches(1)[0][0]) == 8
    setup.sample_s = 0.15
    assert [len(inputs) for inputs, _ in setup.batches(3)] == [5, 5, 5]
    pairs = slow_run(0.0, minutes=2, form="vector", sample_s=0.15)  # each may need the others of its batch
    assert len(pairs.batches(1)[0][0]) == 8


def test_report_says_to_how_many_samples_batches_were_cut():
    report = look(slow_run(0.2, minutes=0.05), "x", checks=first_batch.CHECKS)
    assert any("batches were cut to 4 samples" in text for text in report.cut)
    report = look(slow_run(0.0, minutes=2), "x", checks=first_batch.CHECKS)
    assert not any("batches were cut" in text for text in report.cut)


def test_first_batch_of_a_very_slow_network_is_cut_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(first_batch, "LONGEST_S", 0.5)
    for seconds, largest in ((0.4, FEW), (0.0, 8)):
        setup = slow_run(seconds, minutes=2)
        assert [one.verdict for one in first_batch.look_first_batch(setup)] == ["pass", "pass"]
        assert setup.model.sizes[-1] == largest


def test_fewer_answers_of_a_slow_network_are_scored():
    setup = slow_run(0.0, minutes=0.1, evaluate=lambda model, val: 0.0)
    assert len(Scorer(setup)) == 32
    setup.sample_s = 0.05
    assert 8 <= len(Scorer(setup)) <= 12


class Watched(DataLoader):
    """Gives ready batches, and notes with how many workers it is opened."""

    opened = 0

    def __iter__(self):
        self.opened = self.num_workers
        return iter(batches(2))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_loader_is_opened_with_as_many_workers_as_processors_and_keeps_its_own(monkeypatch):
    monkeypatch.setattr(source.os, "cpu_count", lambda: 3)
    loader = Watched(TensorDataset(torch.zeros(16)), num_workers=64)
    assert len(Source(loader, name="train").batches(9)) == 2
    assert (loader.opened, loader.num_workers) == (3, 64)
