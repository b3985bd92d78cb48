import pytest
import torch
from torch import nn

from unpool.training.averaging import Averaging


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
