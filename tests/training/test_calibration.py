import pytest
import torch
from torch import nn

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits, weights
from unpool.training import calibration
from unpool.training.calibration import recalibrate, warn_of_statistics
from unpool.training.evaluation import Evaluate, evaluate
from unpool.training.loop import fit
from unpool.training.state import final_state


@pytest.fixture(autouse=True)
def _epochs(monkeypatch):
    """As many as a run reads, which other tests spare themselves."""
    monkeypatch.setattr(calibration, "EPOCHS", 10)


def batches(epoch=0):
    return list(Loader().stream(epoch, 0, epoch + 1))


def one_batch(epoch):
    return batches(epoch)[:1]


def pooled():
    """The norm at 4 sees one value of a channel in an image."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8)),
        *(nn.Upsample(size=(6, 6)), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 3)),
    )


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
    recalibrate(job, batches)
    state = {name.removeprefix("model."): value for name, value in job.averaging.averages.items()}
    mean, variance = by_hand(state)
    torch.testing.assert_close(state["1.running_mean"], mean)
    torch.testing.assert_close(state["1.running_var"], variance)
    again = {name: value.clone() for name, value in job.averaging.averages.items()}
    recalibrate(job, batches)
    assert same_bits(job.averaging.averages, again)


def trained(model):
    """A job whose network is trained for an epoch and averaged, and the averages."""
    job = make_job(epochs=1, ema=0.9, model=model)
    fit(job)
    return job, {name.removeprefix("model."): value for name, value in job.averaging.averages.items()}


def test_norm_that_sees_one_value_in_an_image_reads_on_through_further_epochs():
    (job, state), asked = trained(pooled()), []
    assert recalibrate(job, lambda epoch: asked.append(epoch) or batches(epoch)) == []
    assert asked == [0, 1, 2, 3, 4]  # of 22 images each
    means = []
    for batch in [batch for epoch in asked for batch in batches(epoch)][:27]:
        map_ = nn.functional.conv2d(batch["image"].float() / 255, state["0.weight"], state["0.bias"])
        normal = nn.functional.batch_norm(map_, None, None, state["1.weight"], state["1.bias"], training=True)
        means.append(normal.relu().mean((0, 2, 3)))
    torch.testing.assert_close(state["4.running_mean"], torch.stack(means).mean(0))


def test_norm_that_sees_too_few_values_keeps_its_average_and_the_others_see_what_it_answers():
    job, state = trained(pooled())
    before = {name: value.clone() for name, value in state.items()}
    warnings = recalibrate(job, one_batch)  # of 4 images
    assert len(warnings) == 1
    assert "in 10 epochs of the training set batch norm sees 40 values of a channel at 4 (1 such)" in warnings[0]
    assert torch.equal(state["4.running_var"], before["4.running_var"])
    assert not torch.equal(state["1.running_var"], before["1.running_var"])
    with torch.no_grad(), job.averaging.applied(job.learned):
        job.model.eval()
        job.model[1].train()
        answers = [job.model[:6](batch["image"] / 255) for epoch in range(6) for batch in one_batch(epoch)]
    mean = torch.stack([map_.mean((0, 2, 3)) for map_ in answers]).mean(0)
    torch.testing.assert_close(state["6.running_mean"], mean)


def test_statistics_that_cannot_be_computed_are_warned_of_once(caplog):
    measure = Evaluate(Loader(), calibrating=one_batch)
    fit(make_job(epochs=3, ema=0.9, model=pooled()), [measure])
    assert caplog.text.count("trust neither validation loss nor averaged weights before: train on more") == 1


def test_norm_that_is_not_used_keeps_the_statistics_of_no_other_from_being_computed():
    model = network()
    model[5].unused = nn.BatchNorm2d(8)
    job, state = trained(model)
    assert recalibrate(job, batches) == []
    torch.testing.assert_close(state["1.running_mean"], by_hand(state)[0])
    assert torch.equal(state["5.unused.running_mean"], torch.zeros(8))


def test_trained_weights_statistics_modes_and_generators_are_left_alone():
    job = make_job(epochs=2, ema=0.9)
    fit(job)
    job.model[4].eval()
    before, state, momentum = weights(job), torch.get_rng_state(), job.model[1].momentum
    recalibrate(job, batches)
    assert same_bits(weights(job), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert job.model[1].momentum == momentum
    assert [module.training for module in job.model] == [True, True, True, True, False, True]


def test_norm_that_does_not_train_keeps_its_average():
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    job.model[1].eval()
    before = job.averaging.averages["model.1.running_mean"].clone()
    recalibrate(job, batches)
    assert torch.equal(job.averaging.averages["model.1.running_mean"], before)


def test_older_run_keeps_the_average_of_its_running_statistics(monkeypatch):
    job = make_job(epochs=1, ema=0.9)
    fit(job)
    monkeypatch.setattr(calibration, "YOUNG", 0.6)
    before = job.averaging.averages["model.1.running_mean"].clone()
    recalibrate(job, batches)
    assert torch.equal(job.averaging.averages["model.1.running_mean"], before)


def test_young_averaged_network_is_measured_and_kept_with_statistics_of_its_weights():
    job, measure = make_job(epochs=1, ema=0.9), Evaluate(Loader(), calibrating=batches)
    fit(job, [measure])
    state = final_state(job)
    torch.testing.assert_close(state["1.running_mean"], by_hand(state)[0])
    kept = network()
    kept.load_state_dict(state)
    assert evaluate(kept, Task(), Loader(), prepare=prepare)["loss"] == measure.history[-1]["loss"]


def test_statistics_that_follow_slowly_are_computed_anew_for_longer():
    job = make_job(epochs=17, ema=0.9)  # of 102 steps
    fit(job)
    for momentum in (0.1, None):
        job.model[1].momentum = momentum
        before = job.averaging.averages["model.1.running_mean"].clone()
        recalibrate(job, batches)
        assert torch.equal(job.averaging.averages["model.1.running_mean"], before)
    job.model[1].momentum = 0.09
    recalibrate(job, batches)
    assert not torch.equal(job.averaging.averages["model.1.running_mean"], before)


def test_run_is_warned_of_the_slowest_norm_that_moves_unless_its_statistics_are_precise():
    job = make_job(epochs=17)
    job.model[1].momentum = 0.01
    job.model[3].still = nn.BatchNorm1d(2, momentum=0.0)
    (warning,) = warn_of_statistics(job)
    assert "the run takes 102 steps" in warning
    assert "for about 1000: the validation loss" in warning
    assert warn_of_statistics(job, is_precise=True) == []


@pytest.mark.parametrize(("epochs", "ema", "warned"), [(2, None, True), (2, 0.9, False), (17, None, False)])
def test_short_run_without_averages_says_what_its_validation_loss_may_be(epochs, ema, warned):
    warnings = warn_of_statistics(make_job(epochs=epochs, ema=ema))
    assert len(warnings) == warned
    assert all("the run takes 12 steps" in text and "train.ema=0.9" in text for text in warnings)


def test_network_without_batch_norm_has_no_statistics_to_warn_of():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert warn_of_statistics(make_job(model=model)) == []
