import pytest
import torch
from torch import nn

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits, weights
from unpool.training import calibration
from unpool.training.calibration import recalibrate, warn_of_statistics
from unpool.training.evaluation import Evaluate, evaluate
from unpool.training.loop import fit
from unpool.training.state import final_state


def batches():
    return list(Loader().stream(0, 0, 1))[:4]


def by_hand(weight):
    """Mean over the batches of each batch's mean and variance behind the convolution."""
    means, variances = [], []
    for batch in batches():
        map_ = nn.functional.conv2d(batch["image"].float() / 255, weight["0.weight"], weight["0.bias"])
        means.append(map_.mean((0, 2, 3)))
        variances.append(map_.var((0, 2, 3)))
    return torch.stack(means).mean(0), torch.stack(variances).mean(0)


def test_averaged_network_has_the_mean_statistics_of_the_batches_with_its_weights():
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    recalibrate(job, batches())
    state = {name.removeprefix("model."): value for name, value in job.averaging.averages.items()}
    mean, variance = by_hand(state)
    torch.testing.assert_close(state["1.running_mean"], mean)
    torch.testing.assert_close(state["1.running_var"], variance)
    again = {name: value.clone() for name, value in job.averaging.averages.items()}
    recalibrate(job, batches())
    assert same_bits(job.averaging.averages, again)


def test_too_few_values_leave_the_average_as_it_was(caplog):
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    before = {name: value.clone() for name, value in job.averaging.averages.items()}
    few = [{key: value[:1] for key, value in batch.items()} for batch in batches()[:1]]
    few[0]["image"] = few[0]["image"][..., :6, :6]
    with caplog.at_level("INFO", logger="unpool"):
        recalibrate(job, few)
    assert "give none" in caplog.text
    assert same_bits(job.averaging.averages, before)


def test_trained_weights_statistics_modes_and_generators_are_left_alone():
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    job.model[4].eval()
    before, state, momentum = weights(job), torch.get_rng_state(), job.model[1].momentum
    recalibrate(job, batches())
    assert same_bits(weights(job), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert job.model[1].momentum == momentum
    assert [module.training for module in job.model] == [True, True, True, True, False, True]


def test_norm_that_does_not_train_keeps_its_average():
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    job.model[1].eval()
    before = job.averaging.averages["model.1.running_mean"].clone()
    recalibrate(job, batches())
    assert torch.equal(job.averaging.averages["model.1.running_mean"], before)


def test_older_run_keeps_the_average_of_its_running_statistics(monkeypatch):
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    monkeypatch.setattr(calibration, "YOUNG", 6)
    before = job.averaging.averages["model.1.running_mean"].clone()
    recalibrate(job, batches())
    assert torch.equal(job.averaging.averages["model.1.running_mean"], before)


def test_young_averaged_network_is_measured_and_kept_with_statistics_of_its_weights():
    job, measure = make_job(epochs=1, ema=0.9), Evaluate(Loader(), calibrating=batches)
    fit(job, [measure])
    state = final_state(job)
    torch.testing.assert_close(state["1.running_mean"], by_hand(state)[0])
    kept = network()
    kept.load_state_dict(state)
    assert evaluate(kept, Task(), Loader(), prepare=prepare)["loss"] == measure.history[-1]["loss"]


@pytest.mark.parametrize(("epochs", "ema", "warned"), [(2, None, True), (2, 0.9, False), (17, None, False)])
def test_short_run_without_averages_says_what_its_validation_loss_may_be(epochs, ema, warned):
    warnings = warn_of_statistics(make_job(epochs=epochs, ema=ema))
    assert len(warnings) == warned
    assert all("the run takes 12 steps" in text and "train.ema=0.9" in text for text in warnings)


def test_network_without_batch_norm_has_no_statistics_to_warn_of():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert warn_of_statistics(make_job(model=model)) == []
