"""Parameters and statistics of a task are those of the run, as the network's are."""

import torch
from torch import nn

from tests.training.toy_run import CLASSES, Loader, Task, make_job, network, prepare, same_bits
from unpool.training.loop import fit
from unpool.training.optim import build_optimizer
from unpool.training.preflight import dry_run
from unpool.training.speed import choose
from unpool.training.state import final_state, use_final


class Scaled(Task):
    """Logits normalised over the batch and shifted, both by the task."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(CLASSES)
        self.shift = nn.Parameter(torch.zeros(CLASSES))

    def forward(self, model, inputs):
        return self.norm(model(inputs["image"])) + self.shift


def scaled_job(**settings):
    job = make_job(task=Scaled(), **settings)
    job.optimizer = build_optimizer(job.learned, name="sgd", lr=0.1)
    return job


def state(task):
    return {name: value.clone() for name, value in task.state_dict().items()}


def batch_of(job):
    return next(job.loader.stream(0, 0, 1))


def test_preflight_leaves_the_statistics_of_a_task_alone():
    job = scaled_job()
    before = state(job.task)
    dry_run(job, batch_of(job), smallest=2)
    assert same_bits(state(job.task), before)


def test_choosing_a_precision_leaves_a_task_alone():
    model, task = network(), Scaled()
    before = state(task)
    batch = next(Loader().stream(0, 0, 1))
    choose(model, task, batch, prepare=prepare, precisions=("float32",), memory_formats=("contiguous",))
    assert same_bits(state(task), before)
    assert all(weight.grad is None for weight in task.parameters())


def test_accumulated_steps_train_a_task():
    job = scaled_job(accumulate=2, epochs=1)
    fit(job)
    assert job.task.shift.abs().sum() > 0


def test_evaluation_is_of_the_averages_of_a_task():
    job = scaled_job(ema=0.5, epochs=1)
    fit(job)
    with job.averaging.applied(job.learned):
        inside = job.task.shift.clone()
    assert not torch.equal(inside, job.task.shift)
    assert torch.equal(inside, final_state(job)["task/shift"])


def test_final_weights_of_a_task_are_put_into_it():
    job = scaled_job(ema=0.5, epochs=1)
    fit(job)
    weights = final_state(job)
    use_final(job, weights)
    assert torch.equal(job.task.shift, weights["task/shift"])
