import math
import weakref
from functools import partial

import pytest
import torch

from tests.training.toy_run import Loader, Task, make_job, network, prepare
from unpool.errors import DataError
from unpool.task import Description
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate, _LossTotal, evaluate
from unpool.training.files import write_tensors
from unpool.training.loop import fit
from unpool.training.state import final_state
from unpool.types import Term


@pytest.mark.parametrize("batch", [1, 7, 22])
def test_evaluation_does_not_depend_on_the_batch(batch):
    model = network().train()
    found = evaluate(model, Task(), Loader(batch=batch, shuffle=False), prepare=prepare)
    whole = prepare(next(Loader(batch=22, shuffle=False).stream(0, 0, 1)))
    logits = model.eval()(whole["image"]).detach()
    assert found["images"] == 22
    assert found["top1"] == pytest.approx(float((logits.argmax(1) == whole["label"]).float().mean()))
    assert found["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, whole["label"])), abs=1e-6)


def test_evaluation_puts_every_mode_back():
    model = network().train()
    model[1].eval()
    evaluate(model, Task(), Loader(), prepare=prepare)
    assert [module.training for module in model] == [True, False, True, True, True, True]


def test_evaluation_moves_no_statistics():
    model = network()
    before = model[1].running_mean.clone()
    evaluate(model, Task(), Loader(), prepare=prepare)
    assert torch.equal(model[1].running_mean, before)


def test_output_and_prediction_of_a_batch_are_gone_before_the_next_is_made():
    held = []

    class Watching(Task):
        def forward(self, model, inputs):
            assert [value() for value in held] == [None] * len(held)
            output = super().forward(model, inputs)
            held.append(weakref.ref(output))
            return output

        def decode(self, output, inputs):
            prediction = super().decode(output, inputs)
            held.extend(weakref.ref(value) for value in prediction.values())
            return prediction

    evaluate(network(), Watching(), Loader(), prepare=prepare)
    assert len(held) == 12


def test_loss_of_an_evaluation_that_is_not_finite_is_logged(caplog):
    model = network()
    evaluate(model, Task(), Loader(), prepare=prepare)
    assert caplog.text == ""
    with torch.no_grad():
        next(model.parameters()).fill_(math.inf)
    metrics = evaluate(model, Task(), Loader(), prepare=prepare)
    assert not math.isfinite(metrics["loss"])
    assert "the loss of this evaluation is not finite (nan)" in caplog.text


def test_loss_that_counted_nothing_is_not_called_0():
    total = _LossTotal()
    total.add({"first": Term(torch.tensor(0.0), torch.tensor(0.0))})
    assert total.value() is None
    total.add({"second": Term(torch.tensor(3.0), torch.tensor(2.0))})
    assert total.value() == 1.5


def test_empty_set_to_evaluate_is_refused():
    with pytest.raises(DataError, match="set to evaluate is empty"):
        evaluate(network(), Task(), Loader(count=0), prepare=prepare)


def test_evaluate_measures_every_n_epochs_and_at_the_end():
    measure = Evaluate(Loader(shuffle=False), every=2)
    fit(make_job(epochs=5), [measure])
    assert [entry["epoch"] for entry in measure.history] == [2, 4, 5]
    assert [entry["step"] for entry in measure.history] == [12, 24, 30]
    assert measure.loader.closed


class Scripted(Task):
    """Metrics that follow a script."""

    def __init__(self, values):
        super().__init__()
        self.values = list(values)

    def metric(self):
        metric = super().metric()
        value = self.values.pop(0)
        metric.compute = lambda: {"top1": value}
        return metric


def test_history_keeps_a_confusion_matrix_of_the_last_evaluation_only():
    task, matrix = Task(), [[1, 2], [3, 4]]
    metric = task.metric()
    metric.compute = lambda: {"top1": 0.5, "confusion": matrix, "class_accuracy": [0.1, 0.2]}
    task.metric = lambda: metric
    measure = Evaluate(Loader())
    fit(make_job(epochs=3, task=task), [measure])
    assert ["confusion" in line for line in measure.history] == [False, False, True]
    assert all("class_accuracy" in line for line in measure.history)


class Snapshots(Callback):
    def __init__(self):
        self.states = []

    def after_evaluation(self, job, metrics):
        self.states.append(final_state(job))


def test_best_file_holds_the_weights_of_the_best_value_and_no_nan_replaces_it(tmp_path):
    from safetensors.torch import load_file

    best = tmp_path / "best.safetensors"
    measure, snapshots = Evaluate(Loader(), best=partial(write_tensors, best)), Snapshots()
    job = make_job(epochs=5, task=Scripted([float("nan"), 0.4, None, 0.9, 0.9]), ema=0.5)
    fit(job, [measure, snapshots])
    assert (measure.best_value, measure.best_step) == (0.9, 24)
    saved = load_file(best)
    assert all(torch.equal(saved[name], value) for name, value in snapshots.states[3].items())
    assert not torch.equal(saved["5.weight"], snapshots.states[4]["5.weight"])


def test_best_weights_are_those_of_the_lowest_value_where_lower_is_better(tmp_path):
    task = Scripted([0.4, 0.1, 0.9])
    task.described = {"top1": Description("error", higher_is_better=False)}
    measure = Evaluate(Loader(), best=partial(write_tensors, tmp_path / "best.safetensors"))
    fit(make_job(epochs=3, task=task), [measure])
    assert (measure.best_value, measure.best_step) == (0.1, 12)


def test_best_weights_by_the_loss_are_those_of_the_lowest(tmp_path):
    task = Task()
    task.best = "loss"
    measure = Evaluate(Loader(), best=partial(write_tensors, tmp_path / "best.safetensors"))
    fit(make_job(epochs=4, task=task), [measure])
    assert measure.best_value == min(line["loss"] for line in measure.history)
    assert len({line["loss"] for line in measure.history}) > 1


def test_no_best_file_is_made_of_nan(tmp_path):
    measure = Evaluate(Loader(), best=partial(write_tensors, tmp_path / "best.safetensors"))
    fit(make_job(epochs=1, task=Scripted([math.nan])), [measure])
    assert not (tmp_path / "best.safetensors").exists()
    assert measure.best_value is None


def test_averaged_weights_are_measured_and_the_own_ones_stay():
    seen = {}

    class Watching(Task):
        def decode(self, output, inputs):
            seen["weight"] = job.model[5].weight.detach().clone()
            return super().decode(output, inputs)

    job = make_job(epochs=1, ema=0.9, task=Watching())
    fit(job, [Evaluate(Loader())])
    assert torch.equal(seen["weight"], job.averaging.averages["model.5.weight"])
    assert torch.equal(final_state(job)["5.weight"], job.averaging.averages["model.5.weight"])
    assert not torch.equal(seen["weight"], job.model[5].weight)
