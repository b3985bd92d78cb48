"""A run that is stopped after any step and resumed has the bits of one that never stopped, for pairs of options."""

import json
from itertools import combinations

import pytest
import torch

from tests.training.test_resume import Snapshots
from tests.training.toy_run import Loader, make_job, same_bits
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
}
EXCLUDING = [
    {"ema", "swa"},
    {"swa", "plateau"},
    {"swa", "ends early"},
    {"plateau", "ends early"},
    {"caffe_sgd", "rmsprop"},
]
PAIRS = [pair for pair in combinations(OPTIONS, 2) if set(pair) not in EXCLUDING]


def made(first, second):
    """A job and the callbacks whose state is saved."""
    settings = {**OPTIONS[first], **OPTIONS[second]}
    patience, is_precise = settings.pop("patience", None), settings.pop("is_precise", False)
    momentum = settings.pop("norm_momentum", 0.1)
    if "swa" in settings:
        steps = -(-STEPS // settings.get("accumulate", 1))
        settings["swa"] = [steps * epoch for epoch in range(settings["swa"], EPOCHS + 1)]
    job = make_job(epochs=EPOCHS, loader=Loader(batch=8), **settings)
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
    snapshots = Snapshots(callbacks)
    fit(whole, [*callbacks, snapshots])
    assert len(snapshots.states) == whole.counters.step
    for tensors, meta in snapshots.states:
        resumed, again = made(*pair)
        torch.manual_seed(99)
        restore(resumed, again, tensors=tensors, meta=meta)
        fit(resumed, again)
        assert same_bits(job_state(resumed, again)[0], job_state(whole, callbacks)[0])
        assert json.dumps(job_state(resumed, again)[1]) == json.dumps(job_state(whole, callbacks)[1])
        assert same_bits(final_state(resumed), final_state(whole))


@pytest.mark.parametrize("name", ["plateau", "ends early"])
def test_what_is_watched_stalls_in_these_runs(name):
    job, callbacks = made(name, "ema")
    fit(job, callbacks)
    assert job.counters.rate_factor < 1 if name == "plateau" else job.counters.epoch < EPOCHS
