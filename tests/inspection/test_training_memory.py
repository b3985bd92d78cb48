"""Memory of inference and training, by hand and by torch's own tensors."""

import pytest
import torch
from torch import nn

import unpool
from unpool.inspection.training_memory import count_memory

FLOAT = 4


def test_inference_holds_input_and_output_of_the_largest_pair_of_layers():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
    counted = count_memory(model, (3, 10, 10), batch=2)
    image, first, second = (2 * channels * 100 * FLOAT for channels in (3, 8, 4))
    assert counted.maps == image + first + second  # the caller holds the image
    assert counted.weights == sum(p.numel() for p in model.parameters()) * FLOAT


def test_a_map_kept_for_a_later_sum_stays_in_memory():
    class Skip(nn.Module):
        def forward(self, image):
            return image.mean() + torch.exp(torch.exp(torch.exp(image) * 2.0)) + torch.cat([image, image])

    assert count_memory(Skip(), (1, 10, 10)).maps >= 4 * 100 * FLOAT


@pytest.mark.parametrize(("optimizer", "states"), [("sgd", 1), ("nesterov", 1), ("adam", 2), ("adamw", 2)])
def test_training_holds_gradients_and_state_of_trained_weights(optimizer, states):
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5))
    model[0].requires_grad_(requires_grad=False)
    counted = count_memory(model, (10,), optimizer=optimizer)
    trained = (20 * 5 + 5) * FLOAT
    assert (counted.gradients, counted.state) == (trained, states * trained)
    assert counted.training == counted.weights + counted.gradients + counted.state + counted.kept


def test_maps_kept_for_the_backward_pass_are_counted_once_and_weights_not_at_all():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1))
    counted = count_memory(model, (3, 10, 10), batch=4)
    assert counted.kept == 4 * (3 * 100 + 8 * 64) * FLOAT  # the input of each convolution, of which one is a rectified


@pytest.mark.parametrize("name", ["resnet18", "unet", "googlenet_bn"])
def test_counted_maps_are_those_that_autograd_keeps_of_a_real_step(name):
    model, kept = unpool.build(name), {}
    counted = count_memory(model, (3, 64, 64), batch=2)
    weights = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), (storage.nbytes(), storage))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.zeros(2, 3, 64, 64))
    real = sum(size for address, (size, _) in kept.items() if address not in weights)
    assert output.requires_grad
    assert counted.kept == pytest.approx(real, rel=1e-3)


def test_network_that_does_not_train_on_this_batch_is_answered_with_the_reason():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
    counted = count_memory(model, (3, 4, 4), batch=1)
    assert (counted.kept, counted.training) == (None, None)
    assert "training, batch 1: not counted: Expected more than 1 value per channel" in counted.to_lines()[1]
    assert count_memory(model, (3, 4, 4), batch=2).kept > 0


def test_counting_memory_changes_no_weight_mode_or_random_number():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.random.get_rng_state()
    count_memory(model, (3, 8, 8), batch=2, optimizer="adam")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_unknown_optimizer_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="optimizer is 'adm'; it must be one of sgd, nesterov"):
        unpool.summary("lenet5", optimizer="adm")
