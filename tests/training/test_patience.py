import math

import pytest

from tests.training.test_evaluation import Scripted
from tests.training.toy_run import Loader, make_job
from unpool.task import Description
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.loop import fit
from unpool.training.patience import Patience, stalls


class Rates(Callback):
    """The rate of each epoch over that of its schedule."""

    def __init__(self):
        self.factors = []

    def after_step(self, job, record):
        if (record.step - 1) % job.steps_per_epoch == 0:
            self.factors.append(record.lr / job.schedule(record.step - 1))


def trained(values, *, epochs=12, higher_is_better=True, is_precise=False, **settings):
    """A run whose metric follows a script: the job, its patience, and its rates by epoch."""
    task, rates = Scripted(values), Rates()
    task.described = {"top1": Description("accuracy", higher_is_better=higher_is_better)}
    job = make_job(epochs=epochs, task=task, loader=Loader(batch=22))
    measure = Evaluate(Loader(batch=22), is_precise=is_precise)
    patience = Patience(**settings)
    fit(job, [measure, patience, rates])
    return job, patience, rates.factors


def test_rate_falls_after_as_many_evaluations_without_improvement_and_then_the_run_ends():
    values = [0.5, 0.6, 0.6, 0.4, 0.7, 0.6, 0.6, 0.7, 0.7, 0.7, 0.9, 0.9]
    job, patience, factors = trained(values, patience=2, drops=2)
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])  # ends after the ninth
    assert job.counters.epoch == 9
    assert job.counters.is_ended
    assert [epoch for epoch, _ in patience.watched] == list(range(1, 10))


def test_figure_that_is_to_fall_improves_where_it_falls():
    job, *_ = trained([0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.5], epochs=7, higher_is_better=False, patience=2)
    assert not job.counters.is_ended
    job, *_ = trained([0.5, 0.6, 0.7, 0.8], epochs=4, higher_is_better=False, patience=2)
    assert job.counters.epoch == 3


def test_what_is_no_number_is_no_improvement():
    assert stalls([math.nan, None, 0.5, math.nan, 0.6, 0.55, 0.7], patience=2, higher_is_better=True) == [1]


def test_run_says_what_was_chosen_on_the_validation_images(caplog):
    caplog.set_level("INFO")
    job, patience, _ = trained([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], patience=2, drops=1)
    said = patience.selection(job)
    assert said is not None
    assert said.startswith(
        "Chosen on the validation images: the learning rate was lowered after epoch 3 and the run ended after epoch 5 "
        "of 12, when top1 had not improved in 2 evaluations."
    )
    assert "one to publish is measured on others" in said
    assert "the learning rate is multiplied by 0.1" in caplog.text
    assert "the run ends after epoch 5" in caplog.text


def test_figures_of_precise_statistics_change_nothing_that_was_chosen():
    values = [0.5, 0.5, 0.5, 0.9]  # the last one is that of the precise statistics
    job, patience, _ = trained(values, patience=2, is_precise=True)
    assert job.counters.is_ended
    assert "the run ended after epoch 3 of 12" in (patience.selection(job) or "")
    again = Patience(patience=2)
    again.load_state_dict(patience.state_dict())
    assert again.selection(job) == patience.selection(job)


def test_stall_at_the_last_planned_epoch_chose_nothing(caplog):
    caplog.set_level("INFO")
    job, patience, _ = trained([0.5, 0.5, 0.5], epochs=3, patience=2)
    assert patience.selection(job) is None
    assert "the run ends" not in caplog.text


def test_run_that_went_on_improving_says_nothing():
    job, patience, _ = trained([0.1 * number for number in range(12)], patience=2, drops=1)
    assert patience.selection(job) is None
    assert job.counters.epoch == 12
