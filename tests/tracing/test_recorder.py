import pytest
import torch
from torch import nn

from unpool.tracing.recorder import Recorder, evaluating, record, tensors_of, without_values


class Twice(nn.Module):
    """One convolution used two times, and a scale that belongs to the block itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, image):
        return self.conv(self.conv(image)) * self.scale


def test_record_notes_every_call_with_shapes_and_counts_parameters_once():
    calls = record(Twice(), torch.zeros(2, 3, 8, 6))
    assert [(call.name, call.is_first, call.params) for call in calls] == [
        ("conv", True, 84),
        ("conv", False, 0),
        ("", True, 3),
    ]
    assert calls[0].inputs == calls[0].outputs == ((2, 3, 8, 6),)
    assert [call.is_leaf for call in calls] == [True, True, False]


def test_record_counts_weights_without_biases_and_scales():
    conv, norm, _ = record(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.zeros(1, 3, 8, 8))
    assert (conv.weights, conv.params, norm.weights, norm.params) == (108, 112, 0, 8)


def test_record_counts_a_parameter_shared_by_two_layers_once():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    calls = record(nn.Sequential(first, second), torch.zeros(1, 4))
    assert [call.params for call in calls] == [20, 4, 0]


def test_record_leaves_modes_and_hooks_as_found():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())
    model.train()
    model[1].eval()
    before = model[0].running_mean.clone()
    record(model, torch.randn(2, 3, 4, 4))
    assert [module.training for module in model.modules()] == [True, True, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(before, model[0].running_mean)


def test_a_network_that_fails_is_left_without_hooks_and_in_its_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(RuntimeError, match="channels"):
        record(model, torch.zeros(1, 5, 8, 8))
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_recorder_names_the_module_that_runs():
    names = []

    class Spy(nn.Module):
        def forward(self, x):
            names.append(recorder.running)
            return x

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Spy()

        def forward(self, x):
            x = self.inner(x)
            names.append(recorder.running)
            return x

    model = nn.Sequential(Around(), Spy())
    with Recorder(model) as recorder:
        model(torch.zeros(1))
    assert names == ["0.inner", "0", "1"]
    assert recorder.running == ""


def test_tensors_of_finds_them_in_tuples_lists_and_dictionaries():
    one, two, three = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [len(x) for x in tensors_of(({"a": one, "b": [two, "text"]}, three, 5))] == [1, 2, 3]


def test_evaluating_restores_modes_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"), evaluating(model):
        model(torch.zeros(1, 4))
    assert [module.training for module in model.modules()] == [True, True, True]


def test_without_values_copies_shapes_ties_and_buffers_but_no_memory():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[1].weight = model[0].weight
    shell = without_values(model)
    assert all(value.is_meta for value in shell.state_dict().values())
    assert shell[0].weight is shell[1].weight
    assert not any(value.is_meta for value in model.state_dict().values())
