import pytest
import torch
from torch import nn

from tests.training.toy_run import make_job
from unpool.training.averaging import Averaging, EqualAveraging
from unpool.training.loop import fit
from unpool.training.state import job_state, restore


def filled(value: float) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(2)
    fill(norm, value)
    return norm


def fill(norm: nn.BatchNorm1d, value: float) -> None:
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.fill_(value)


def test_average_follows_its_formula_with_a_warm_up_of_the_decay():
    norm, averaging = filled(1.0), Averaging(0.15)
    averaging.start(norm)
    expected = 1.0
    for count, value in enumerate((2.0, 3.0, 4.0)):
        fill(norm, value)
        averaging.update(norm)
        keep = min(0.15, (1 + count) / (10 + count))
        expected = keep * expected + (1 - keep) * value
    for name in ("weight", "bias", "running_mean", "running_var"):
        torch.testing.assert_close(averaging.averages[name], torch.full((2,), expected))


def test_applied_average_is_in_the_network_only_inside():
    norm, averaging = filled(1.0), Averaging(0.9)
    averaging.start(norm)
    fill(norm, 5.0)
    with averaging.applied(norm):
        assert norm.weight[0] == norm.running_var[0] == 1
    assert norm.weight[0] == norm.running_var[0] == 5
    assert averaging.averages["weight"][0] == 1


def test_applied_average_is_taken_out_when_the_inside_fails():
    norm, averaging = filled(1.0), Averaging(0.9)
    averaging.start(norm)
    fill(norm, 5.0)
    with pytest.raises(RuntimeError, match="inside"), averaging.applied(norm):
        raise RuntimeError("inside")
    assert norm.weight[0] == 5


def test_average_keeps_no_memory_of_the_network():
    norm, averaging = filled(1.0), Averaging(0.9)
    averaging.start(norm)
    fill(norm, 5.0)
    assert averaging.averages["bias"][0] == 1


def test_decay_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"is 1.0; it must lie in \[0, 1\)"):
        Averaging(1.0)


def test_average_begins_at_the_weights_of_its_first_update_and_then_keeps_two_elevenths():
    norm, averaging = filled(3.0), Averaging(0.999)
    averaging.update(norm)
    assert averaging.averages["weight"].tolist() == [3.0, 3.0]
    fill(norm, 14.0)
    averaging.update(norm)
    assert averaging.averages["weight"].tolist() == pytest.approx([12.0, 12.0])  # 3 * 2 / 11 + 14 * 9 / 11
    assert averaging.updates == 2


def test_first_update_of_an_average_that_was_started_keeps_a_tenth():
    norm, averaging = filled(1.0), Averaging(0.999)
    averaging.start(norm)
    fill(norm, 2.0)
    averaging.update(norm)
    assert averaging.averages["weight"].tolist() == pytest.approx([1.9, 1.9])


def test_equal_average_is_the_mean_of_the_weights_after_its_steps_taken_or_not():
    norm, averaging = filled(9.0), EqualAveraging([2, 4, 6])
    averaging.start(norm)
    assert averaging.averages == {}
    for step in range(1, 7):
        fill(norm, float(step))
        averaging.after_step(norm, step, taken=step != 4)
    assert averaging.averages["weight"].tolist() == pytest.approx([4.0, 4.0])
    assert averaging.updates == 3
    assert (averaging.due(7), averaging.due(5)) == ([2, 4, 6], [2, 4])


def test_exponential_average_leaves_out_steps_that_were_not_taken():
    norm, averaging = filled(1.0), Averaging(0.9)
    averaging.start(norm)
    fill(norm, 2.0)
    averaging.after_step(norm, 1, taken=False)
    assert averaging.averages["weight"].tolist() == [1.0, 1.0]


def test_equal_average_of_a_run_of_other_epochs_begins_anew(caplog):
    job = make_job(epochs=2, swa=(6, 12))
    fit(job)
    tensors, meta = job_state(job)
    longer, same = make_job(epochs=4, swa=(18, 24)), make_job(epochs=2, swa=(6, 12))
    restore(longer, tensors=tensors, meta=meta)
    assert (longer.averaging.updates, longer.averaging.averages) == (0, {})
    assert "averaged weights of train.swa begin anew" in caplog.text
    restore(same, tensors=tensors, meta=meta)
    assert same.averaging.updates == 2


def test_equal_average_of_as_many_other_epochs_begins_anew_once(caplog):
    job = make_job(epochs=2, swa=(3,))
    fit(job)
    longer, again = (make_job(epochs=4, swa=(6, 18)) for _ in range(2))
    tensors, meta = job_state(job)
    restore(longer, tensors=tensors, meta=meta)
    assert (longer.averaging.updates, longer.averaging.averages) == (0, {})
    fit(longer)
    assert longer.averaging.updates == 1
    caplog.clear()
    tensors, meta = job_state(longer)
    restore(again, tensors=tensors, meta=meta)
    assert again.averaging.updates == 1
    assert "begin anew" not in caplog.text


@pytest.mark.parametrize("kind", [lambda: Averaging(0.5), lambda: EqualAveraging([1, 2])])
def test_infinity_of_a_mask_stays_and_becomes_no_nan(kind):
    norm, averaging = filled(1.0), kind()
    norm.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    averaging.update(norm)
    fill(norm, 3.0)
    resumed = kind()
    resumed.load(norm, averaging.averages, updates=averaging.updates)
    for one in (averaging, resumed):
        one.update(norm)
        assert one.averages["mask"].tolist() == [0.0, -torch.inf]
        assert 1 < one.averages["weight"][0] < 3
