"""A run that is stopped after any step and resumed has the bits of one that never stopped, for pairs of options."""

import json
from itertools import combinations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.training.test_resume import Snapshots as AfterSteps
from tests.training.toy_run import Loader, Task, make_job, network, same_bits, weights
from unpool.layers.transfer import freeze
from unpool.ops.mixing import blend, partners
from unpool.training.evaluation import Evaluate
from unpool.training.loop import fit
from unpool.training.norms import set_momentum
from unpool.training.patience import Patience
from unpool.training.state import final_state, job_state, restore

EPOCHS = 3
STEPS = 3  # of an epoch, where nothing is accumulated
# what each sets of the job: a further option is one further line
OPTIONS = {
    "ema": {"ema": 0.8},
    "swa": {"swa": 1},
    "accumulated": {"accumulate": 2},
    "plateau": {"patience": {"patience": 1, "drops": 1}},
    "ends early": {"patience": {"patience": 1}},
    "averaged norms": {"norm_momentum": None},
    "precise norms": {"is_precise": True},
    "caffe_sgd": {"optimizer": "caffe_sgd"},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.01},
    "float16": {"precision": "float16"},
    "mixup": {"mixes": True},
    "frozen": {"frozen": ["0", "1"]},  # with the only norm
}
EXCLUDING = [
    {"ema", "swa"},
    {"swa", "plateau"},
    {"swa", "ends early"},
    {"plateau", "ends early"},
    {"caffe_sgd", "rmsprop"},
    {"frozen", "averaged norms"},
    {"frozen", "precise norms"},
]
PAIRS = [pair for pair in combinations(OPTIONS, 2) if set(pair) not in EXCLUDING]


class Mixing(Loader):
    """Batches of images mixed with their neighbours, by shares that depend on epoch and sample."""

    def stream(self, epoch, position, epochs):
        for number in range(epoch, epochs):
            for batch in super().stream(number, position if number == epoch else 0, number + 1):
                partner, mix = partners(len(batch["index"])), (batch["index"] * 7 + number * 3) % 5 / 4
                yield batch | {"image": blend(batch["image"], partner, mix), "partner": partner, "mix": mix}


class Mixed(Task):
    """The loss of an image by its label and that of its partner, where it has one."""

    def loss(self, output, batch):
        if "partner" not in batch:
            return super().loss(output, batch)
        each = [cross_entropy(output, batch["label"][at], reduction="none") for at in (slice(None), batch["partner"])]
        total = (batch["mix"] * each[0] + (1 - batch["mix"]) * each[1]).sum()
        return {"entropy": super().loss(output, batch)["entropy"]._replace(sum=total)}


class Snapshots(AfterSteps):
    """Also the state at the end; of a low rank, before others have changed theirs there."""

    def end(self, job):
        self.after_step(job, None)


def made(first, second, *, epochs=EPOCHS):
    """A job and the callbacks whose state is saved."""
    settings = {**OPTIONS[first], **OPTIONS[second]}
    patience, is_precise = settings.pop("patience", None), settings.pop("is_precise", False)
    if settings.pop("mixes", False):
        settings |= {"task": Mixed(), "loader": Mixing(batch=8)}
    model, momentum = network(), settings.pop("norm_momentum", 0.1)
    freeze(model, settings.pop("frozen", ()))
    if "swa" in settings:
        steps = -(-STEPS // settings.get("accumulate", 1))
        settings["swa"] = [steps * epoch for epoch in range(settings["swa"], EPOCHS + 1)]
    job = make_job(epochs=epochs, model=model, **{"loader": Loader(batch=8), **settings})
    if momentum is None:
        set_momentum(job.model, momentum)
    measure = Evaluate(
        Loader(batch=22, shuffle=False),
        calibrating=lambda epoch: Loader(batch=8).stream(epoch, 0, epoch + 1),
        is_precise=is_precise,
    )
    return job, [measure, *([] if patience is None else [Patience(measure, **patience)])]


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_run_resumed_after_any_step_has_the_bits_of_one_that_never_stopped(pair):
    whole, callbacks = made(*pair)
    before, after = Snapshots(callbacks), Snapshots(callbacks)
    before.rank = -1
    fit(whole, [*callbacks, before, after])
    assert len(after.states) == whole.counters.step + 1
    for tensors, meta in [*after.states, before.states[-1]]:
        resumed, again = made(*pair)
        torch.manual_seed(99)
        restore(resumed, again, tensors=tensors, meta=meta)
        fit(resumed, again)
        assert same_bits(job_state(resumed, again)[0], job_state(whole, callbacks)[0])
        assert json.dumps(job_state(resumed, again)[1]) == json.dumps(job_state(whole, callbacks)[1])
        assert same_bits(final_state(resumed), final_state(whole))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if "swa" not in pair], ids=" and ".join)
def test_finished_run_that_goes_on_for_more_epochs_has_the_bits_of_one_of_as_many(pair):
    def run(epochs, known=None):
        job, callbacks = made(*pair, epochs=epochs)
        job.schedule = lambda step: 0.05  # the others are stretched
        if known is not None:
            restore(job, callbacks, tensors=known[0], meta=known[1])
        fit(job, callbacks)
        tensors, meta = job_state(job, callbacks)
        return {name: value.clone() for name, value in tensors.items()}, json.loads(json.dumps(meta))

    (tensors, meta), (expected, whole) = run(EPOCHS, run(EPOCHS - 1)), run(EPOCHS)
    assert same_bits(tensors, expected)
    assert meta["counters"] == whole["counters"]
    assert meta["callbacks"].get("Patience") == whole["callbacks"].get("Patience")


def test_what_is_mixed_and_frozen_makes_another_run():
    ends = []
    for pair in [("ema", "accumulated"), ("ema", "mixup"), ("ema", "frozen")]:
        job, callbacks = made(*pair)
        fit(job, callbacks)
        ends.append(weights(job))
    assert not same_bits(ends[0], ends[1])
    assert all(torch.equal(ends[2][name], value) for name, value in network().state_dict().items() if name[0] in "01")


@pytest.mark.parametrize("name", ["plateau", "ends early"])
def test_what_is_watched_stalls_in_these_runs(name):
    job, callbacks = made(name, "ema")
    fit(job, callbacks)
    assert job.counters.rate_factor < 1 if name == "plateau" else job.counters.epoch < EPOCHS
