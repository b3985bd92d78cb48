"""Several processes train as one does: the same losses, weights and metrics, whatever the number of processes."""

import signal

import pytest
import torch
from torch import nn

from tests.training.ranks import by_ranks
from tests.training.toy_run import CLASSES, Loader, make_job, network, prepare, same_bits, weights
from unpool import conduct
from unpool.data.order import ByRank, Sequential
from unpool.errors import RecipeError, Stopped
from unpool.launched import environment
from unpool.recipe import load_recipe
from unpool.training import gradients, processes
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate, evaluate, evaluate_together
from unpool.training.loop import fit
from unpool.training.preflight import dry_run
from unpool.types import Part


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


class Sometimes(nn.Module):
    """A layer that one coin a step decides on, as LayerDrop does."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(8, 8, 1)

    def forward(self, value):
        return value if self.training and torch.rand(()) < 0.5 else value + self.layer(value)


def sometimes_used():
    model = network()
    model[1] = nn.Sequential(model[1], Sometimes())
    return model


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
        (2, {"model": unused_part}),
        (2, {"model": sometimes_used}),
    ],
)
def test_processes_learn_what_one_learns(world_size, settings):
    alone = train(**settings)
    for losses, metrics, trained in by_ranks(world_size, lambda rank: train(rank, **settings)):
        for ours, theirs in zip(losses, alone[0], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4)
        assert metrics == pytest.approx(alone[1], rel=1e-4)
        assert all(torch.allclose(trained[name], value, atol=1e-4) for name, value in alone[2].items())


def test_dry_run_sees_the_values_of_all_processes_and_says_the_doubts():
    class Depth(nn.Module):
        def forward(self, value):
            return value * torch.empty(len(value), 1).bernoulli_(0.9)

    def work(rank):
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES), nn.BatchNorm1d(CLASSES), Depth())
        job = make_job(model=model, synchronizes_norms=True)
        batch = {"image": torch.rand(1, 1, 6, 6), "label": torch.zeros(1, dtype=torch.int64)}
        part = Part(rank, 1, 2)
        return dry_run(job, batch, smallest=1, parts=(part, part))

    for doubts in by_ranks(2, work):
        assert len(doubts) == 1
        assert "draws one number in a process that has one sample" in doubts[0]


def test_other_settings_in_another_process_are_named():
    def work(rank):
        recipe = load_recipe("scenes_unet", {"train.seed": rank, "train.threads": 1 + rank})
        with pytest.raises(RecipeError, match=r"other settings than one another, train\.seed: give every process"):
            conduct._require_same_start(recipe, None, None)

    by_ranks(2, work)


def test_losses_of_other_names_are_not_added_up():
    def work(rank):
        losses = {("a", "b")[rank]: torch.ones(())}
        with pytest.raises(RecipeError, match="losses of other names"):
            gradients._over_all(losses, losses)

    by_ranks(2, work)


def test_values_are_gathered_where_any_process_has_one():
    assert by_ranks(2, lambda rank: processes.gathered_where_any([])) == [[[]], [[]]]
    assert by_ranks(2, lambda rank: processes.gathered_where_any([7] * rank)) == [[[], [7]]] * 2


def test_every_kind_of_number_is_shared():
    def work(rank):
        tensors = [torch.full((2, 3, 2, 2), rank, dtype=dtype) for dtype in (torch.int16, torch.bool, torch.float64)]
        tensors += [torch.tensor(rank), torch.full((2, 3, 2, 2), float(rank)).to(memory_format=torch.channels_last)]
        processes.share(tensors)
        return [bool(value.any()) for value in tensors]

    assert by_ranks(2, work) == [[False] * 5] * 2


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
