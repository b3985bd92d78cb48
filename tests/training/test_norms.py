import pytest
import torch
from torch import nn

from tests.training.toy_run import Loader, Task, make_job, network, prepare, same_bits, weights
from unpool.errors import RecipeError, Stopped
from unpool.layers.transfer import freeze
from unpool.training.averaging import EqualAveraging
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load
from unpool.training.evaluation import Evaluate, evaluate
from unpool.training.loop import fit
from unpool.training.norms import precise_statistics, require_norms, set_momentum
from unpool.training.saving import Save
from unpool.training.state import final_state, job_state, restore


def batches():
    return [prepare(batch)["image"] for batch in Loader().stream(0, 0, 1)]


def deep():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 4, 3)]
    return nn.Sequential(*layers, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


def test_precise_statistics_are_those_of_all_values_each_norm_sees_in_training_mode():
    job = make_job(model=deep())
    fit(job)
    before, modes = weights(job), [module.training for module in job.model.modules()]
    statistics = precise_statistics(job)
    inputs = {1: [], 5: []}
    with torch.no_grad():
        for image in batches():  # 22 images, of which the last batch has 2
            value = image
            for position, layer in enumerate(job.model[:6]):
                if isinstance(layer, nn.BatchNorm2d):
                    inputs[position].append(value.double().transpose(0, 1).flatten(1))
                    value = nn.functional.batch_norm(value, None, None, layer.weight, layer.bias, training=True)
                elif not isinstance(layer, nn.Dropout):
                    value = layer(value)
    for position, values in inputs.items():
        every = torch.cat(values, 1)
        name = f"model.{position}.running_"
        torch.testing.assert_close(statistics[f"{name}mean"].double(), every.mean(1), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(statistics[f"{name}var"].double(), every.var(1, correction=0), rtol=1e-5, atol=1e-6)
    assert same_bits(weights(job), before)
    assert [module.training for module in job.model.modules()] == modes


@pytest.mark.parametrize("settings", [{}, {"ema": 0.9}, {"swa": (6, 12)}], ids=str)
def test_last_weights_are_measured_and_kept_with_precise_statistics_and_the_state_without(settings):
    plain, job = make_job(**settings), make_job(**settings)
    measured, measure = Evaluate(Loader()), Evaluate(Loader(), is_precise=True)
    fit(plain, [measured])
    fit(job, [measure])
    kept = network()
    kept.load_state_dict(final_state(job))
    assert evaluate(kept, Task(), Loader(), prepare=prepare)["loss"] == measure.history[-1]["loss"]
    assert measure.history[-1]["loss"] != measured.history[-1]["loss"]
    assert measure.history[:-1] == measured.history[:-1]
    assert [line["epoch"] for line in measure.history] == [1, 2]
    assert same_bits(job_state(job)[0], job_state(plain)[0])
    state = final_state(job)
    mean = nn.functional.conv2d(torch.cat(batches()), state["0.weight"], state["0.bias"]).mean((0, 2, 3))
    torch.testing.assert_close(state["1.running_mean"], mean)


def test_signal_while_statistics_are_computed_stops_and_the_state_is_saved():
    job = make_job()
    job.stop.number = 15
    with pytest.raises(Stopped):
        precise_statistics(job)

    class Stopping(Evaluate):
        def end(self, job):
            job.stop.number = 15
            super().end(job)

        def stopped(self, job):
            self.was_saved = True

    measure = Stopping(Loader(), is_precise=True)
    with pytest.raises(Stopped):
        fit(make_job(), [measure])
    assert measure.was_saved


def test_stop_while_statistics_are_computed_loses_nothing_of_what_the_end_changes(tmp_path):
    class StopsAtTheEnd(Callback):
        rank = -1

        def end(self, job):
            job.stop.number = 15

    job, measure = make_job(), Evaluate(Loader(), is_precise=True)
    with pytest.raises(Stopped):
        fit(job, [measure, StopsAtTheEnd(), Save(tmp_path, callbacks=[measure])])
    tensors, meta = load(tmp_path)
    job, measure = make_job(), Evaluate(Loader(), is_precise=True)
    restore(job, [measure], tensors=tensors, meta=meta)
    fit(job, [measure, Save(tmp_path, callbacks=[measure])])
    before, after = (one["callbacks"]["Evaluate"]["history"] for one in (meta, load(tmp_path)[1]))
    assert after == measure.history != before


def test_true_average_weighs_all_batches_equally_and_forgets_those_of_loaded_weights():
    norm = nn.BatchNorm2d(1)
    for _ in range(7):
        norm(torch.randn(4, 1, 2, 2))
    set_momentum(norm, None)
    images = [torch.full((2, 1, 1, 1), float(value)) for value in (1, 2, 6)]
    for image in images:
        norm(image)
    assert norm.running_mean.item() == pytest.approx(3.0)
    set_momentum(norm, 0.25)
    norm(torch.full((2, 1, 1, 1), 7.0))
    assert norm.running_mean.item() == pytest.approx(4.0)


def test_network_without_batch_norm_has_no_statistics_to_set():
    for change in (lambda net: set_momentum(net, 0.1), lambda net: require_norms(net, "train.norm_momentum")):
        with pytest.raises(RecipeError, match=r"train\.norm_momentum is set and the network has no batch norm"):
            change(nn.Linear(2, 2))


def test_norms_of_frozen_parts_have_no_statistics_to_set():
    model = nn.ModuleDict({"body": nn.BatchNorm2d(2), "head": nn.BatchNorm2d(3)}).eval()
    freeze(model, ["body"])
    assert require_norms(model, "train.precise_norms") == [model["head"]]
    assert not model.training
    freeze(model, ["head"])
    with pytest.raises(RecipeError, match=r"train\.precise_norms is set and every batch norm of the network is frozen"):
        require_norms(model, "train.precise_norms")


def test_evaluation_before_there_is_an_equal_average_leaves_the_trained_network_alone():
    plain, job = make_job(epochs=1, swa=(12,)), make_job(epochs=1, swa=(12,))
    fit(plain, [Evaluate(Loader())])
    fit(job, [Evaluate(Loader(), calibrating=lambda epoch: Loader().stream(epoch, 0, epoch + 1))])
    assert same_bits(weights(job), weights(plain))


def test_equal_average_is_measured_with_statistics_of_its_own_weights_at_any_step(monkeypatch):
    monkeypatch.setattr("unpool.training.calibration.YOUNG", 0.1)
    job = make_job(epochs=3, swa=(12, 18))
    measure = Evaluate(Loader(), calibrating=lambda epoch: list(Loader().stream(epoch, 0, epoch + 1)))
    fit(job, [measure])
    assert isinstance(job.averaging, EqualAveraging)
    state = {name.removeprefix("model."): value for name, value in job.averaging.averages.items()}
    means = [nn.functional.conv2d(image, state["0.weight"], state["0.bias"]).mean((0, 2, 3)) for image in batches()]
    torch.testing.assert_close(state["1.running_mean"], torch.stack(means).mean(0))
    assert not torch.allclose(job.model[1].running_mean, state["1.running_mean"])
