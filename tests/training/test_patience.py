import json
import math

import pytest

from tests.training.test_evaluation import Scripted
from tests.training.toy_run import Loader, make_job
from unpool.task import Description
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.loop import fit
from unpool.training.patience import Patience, stalls
from unpool.training.state import job_state, restore


class Rates(Callback):
    """The rate of each epoch over that of its schedule."""

    def __init__(self):
        self.factors = []

    def after_step(self, job, record):
        if (record.step - 1) % job.steps_per_epoch == 0:
            self.factors.append(record.lr / job.schedule(record.step - 1))


def made(values, *, epochs=12, higher_is_better=True, is_precise=False, **settings):
    """A run whose metric follows a script, its evaluation and its patience."""
    task = Scripted(values)
    task.described = {"top1": Description("accuracy", higher_is_better=higher_is_better)}
    measure = Evaluate(Loader(batch=22), is_precise=is_precise)
    return make_job(epochs=epochs, task=task, loader=Loader(batch=22)), measure, Patience(measure, **settings)


def trained(values, **settings):
    """The job of a whole run, its patience, and its rates by epoch."""
    (job, measure, patience), rates = made(values, **settings), Rates()
    fit(job, [measure, patience, rates])
    return job, patience, rates.factors


def test_rate_falls_after_as_many_evaluations_without_improvement_and_then_the_run_ends():
    values = [0.5, 0.6, 0.6, 0.4, 0.7, 0.6, 0.6, 0.7, 0.7, 0.7, 0.9, 0.9]
    job, patience, factors = trained(values, patience=2, drops=2)
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])  # ends after the ninth
    assert job.counters.epoch == 9
    assert job.counters.is_ended
    assert len(patience.evaluation.history) == 9


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


def test_run_that_went_on_improving_says_nothing():
    job, patience, _ = trained([0.1 * number for number in range(12)], patience=2, drops=1)
    assert patience.selection(job) is None
    assert job.counters.epoch == 12


def test_figure_with_precise_statistics_at_the_end_is_no_evaluation_that_is_waited_for():
    values = [0.5, 0.6, 0.6, 0.6, 0.9]  # the last of which are the precise ones
    job, patience, _ = trained(values, is_precise=True, patience=2)
    assert patience.evaluation.history[-1]["top1"] == 0.9
    assert job.counters.is_ended
    assert "the run ended after epoch 4 of 12" in patience.selection(job)


def test_rate_that_fell_stays_low_in_a_finished_run_that_goes_on(caplog):
    job, measure, patience = made([0.5, 0.5, 0.5, 0.9], epochs=3, is_precise=True, patience=1, drops=3)
    fit(job, [measure, patience])
    tensors, meta = job_state(job, [measure, patience])
    more, measure, patience = made([0.4, 0.4], epochs=4, is_precise=True, patience=1, drops=3)
    restore(more, [measure, patience], tensors=tensors, meta=json.loads(json.dumps(meta)))
    rates = Rates()
    fit(more, [measure, patience, rates])
    assert rates.factors == pytest.approx([0.01])
    assert patience.values == [0.5, 0.5, 0.5, 0.4]


@pytest.mark.parametrize("drops", [0, 1])
def test_stall_at_the_end_of_the_last_epoch_chooses_nothing(drops, caplog):
    caplog.set_level("INFO")
    job, patience, _ = trained([0.5, 0.6, 0.6, 0.6], epochs=4, patience=2, drops=drops)
    assert patience.selection(job) is None
    assert "has not improved" not in caplog.text


def test_figures_of_other_callbacks_are_not_watched():
    class Other(Callback):
        def after_epoch(self, job):
            return {"top1": 0.1 * job.counters.epoch}

    job, measure, patience = made([0.5] * 4, epochs=4, patience=2)
    fit(job, [measure, patience, Other()])
    assert patience.values == [0.5, 0.5, 0.5]
    assert job.counters.epoch == 3
