"""Several processes train as one does: the same losses, weights and metrics, whatever the number of processes."""

import signal

import pytest
import torch
from torch import nn

from tests.training.ranks import by_ranks
from tests.training.toy_run import Loader, make_job, network, prepare, same_bits, weights
from unpool.data.order import ByRank, Sequential
from unpool.errors import RecipeError, Stopped
from unpool.launched import environment
from unpool.training import processes
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate, evaluate, evaluate_together
from unpool.training.loop import fit


class PartOfLoader(Loader):
    """This process's part of each batch of a set."""

    def __init__(self, **options):
        super().__init__(**options)
        self.ranks = ByRank(
            Sequential(len(self.label), batch=self.batch), rank=processes.rank(), world_size=processes.world_size()
        )

    def part(self, epoch, position):
        return self.ranks.part(epoch, position) if processes.world_size() > 1 else None

    def stream(self, epoch, position, epochs):
        for number in range(epoch, epochs):
            batches = super().stream(number, position if number == epoch else 0, number + 1)
            for place, batch in enumerate(batches, start=position if number == epoch else 0):
                part = self.part(number, place)
                rows = slice(None) if part is None else slice(part.first, part.first + part.count)
                rows = rows if part is None or part.count else slice(0, 1)
                yield {key: value[rows] for key, value in batch.items()}


class Losses(Callback):
    def __init__(self):
        self.losses = []

    def after_step(self, job, record):
        self.losses.append((record.loss, record.images, record.gradient_norm))


def train(rank=0, *, model=None, **settings):
    """Losses, metrics and weights of a run; the last batch of an epoch has two samples."""
    torch.set_num_threads(1)
    loader, losses = PartOfLoader(), Losses()
    settings = {"synchronizes_norms": True, **settings}
    job = make_job(model=model and model(), loader=loader, part=loader.part, **settings)
    evaluation = Evaluate(WholeLoader(), prepare=prepare)
    fit(job, [losses, evaluation])
    return losses.losses, evaluation.history[-1], weights(job)


class WholeLoader(Loader):
    """Every `world_size`-th batch of a set in order; some processes may have none."""

    def __init__(self, count=9):
        super().__init__(count=count, batch=4, shuffle=False)

    @property
    def steps_per_epoch(self):
        return len(range(processes.rank(), super().steps_per_epoch, processes.world_size()))

    def stream(self, epoch, position, epochs):
        count = -(-len(self.label) // self.batch)
        for number in range(processes.rank(), count, processes.world_size()):
            rows = slice(number * self.batch, (number + 1) * self.batch)
            yield {"image": self.image[rows], "label": self.label[rows]}


def unused_part():
    model = network()
    model[1].spare = nn.Parameter(torch.ones(1))  # which the layer does not use
    return model


@pytest.mark.parametrize(
    ("world_size", "settings"),
    [
        (2, {}),
        (3, {"ema": 0.9}),
        (4, {"clip_norm": 0.1}),  # the last batch has two samples, so that two processes have none
        (3, {"accumulate": 2}),
        (2, {"model": unused_part, "has_unused_weights": True}),
    ],
)
def test_processes_learn_what_one_learns(world_size, settings):
    alone = train(**settings)
    for losses, metrics, trained in by_ranks(world_size, lambda rank: train(rank, **settings)):
        for ours, theirs in zip(losses, alone[0], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)
        assert metrics == pytest.approx(alone[1], rel=1e-4)
        assert all(torch.allclose(trained[name], value, atol=1e-4) for name, value in alone[2].items())


def test_without_synchronized_norms_each_process_normalizes_its_own_part():
    settings = {"synchronizes_norms": False}
    first, second = by_ranks(2, lambda rank: train(rank, **settings))
    assert same_bits(first[2], second[2])  # the leader's statistics are everybody's
    assert first[0] == second[0]
    assert first[0][0] != pytest.approx(train(**settings)[0][0], rel=1e-4)


def test_one_process_that_is_asked_to_stop_stops_all_at_one_step():
    class Asking(Callback):
        def after_step(self, job, record):
            if processes.rank() == 1 and record.step == 3:
                job.stop.number = signal.SIGTERM

    def work(rank):
        loader = PartOfLoader()
        job = make_job(loader=loader, part=loader.part)
        with pytest.raises(Stopped, match="SIGTERM"):
            fit(job, [Asking()])
        return job.counters.step

    assert by_ranks(2, work) == [3, 3]


def test_one_process_that_is_asked_to_stop_ends_the_evaluation_of_all():
    def work(rank):
        job = make_job()
        if rank == 1:
            job.stop.number = signal.SIGINT
        with pytest.raises(Stopped):
            evaluate_together(job, WholeLoader(), prepare=prepare)
        return True

    assert by_ranks(2, work) == [True, True]


def test_metrics_are_of_the_whole_set_also_where_a_process_has_no_batch():
    job = make_job()
    alone = evaluate(job.model, job.task, WholeLoader(), prepare=prepare)

    def work(rank):
        return evaluate_together(make_job(), WholeLoader(), prepare=prepare)

    for found in by_ranks(4, work):
        assert found == pytest.approx(alone)
        assert found["images"] == 9


def test_gradients_that_some_processes_do_not_have_are_added_to_their_own_weights():
    def work(rank):
        weights = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
        weights[rank].grad = torch.full((2,), 1.0 + rank)
        processes.add_up_gradients(weights)
        return [None if weight.grad is None else weight.grad.tolist() for weight in weights]

    assert by_ranks(2, work) == 2 * [[[1.0, 1.0], [2.0, 2.0], None]]


def test_error_of_the_leader_is_raised_by_all():
    def work(rank):
        def make():
            raise RecipeError("train.lr is wrong")

        with pytest.raises(RecipeError, match=r"train\.lr") as error:
            processes.by_leader(make)
        return error.value.is_of_all

    assert by_ranks(2, work) == [True, True]


def test_weights_that_differ_are_told():
    def work(rank):
        loader = PartOfLoader()
        job = make_job(loader=loader, part=loader.part, model=network(rank))
        with pytest.raises(processes.EnvironmentFault, match="weights of the processes differ"):
            fit(job, [Evaluate(WholeLoader(), prepare=prepare)])

    by_ranks(2, work)


def test_environment_of_another_program_is_refused_where_it_makes_no_sense(monkeypatch):
    assert environment().world_size == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(RecipeError, match="RANK is 2 and WORLD_SIZE 2"):
        environment()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(RecipeError, match="expected numbers"):
        environment()
