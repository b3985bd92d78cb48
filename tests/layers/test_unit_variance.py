"""Layers scaled by what a batch makes of them (LSUV)."""

import torch
from torch import nn

from unpool.layers.initializations import LSUV
from unpool.layers.unit_variance import scale_to_unit_variance, unscaled


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Tanh(),
        nn.Dropout(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 4, 1),
    )


IMAGE = 7 * torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)) + 2


def outputs_of(model, image):
    seen = []
    hooks = [m.register_forward_hook(lambda m, x, y: seen.append(y)) for m in model if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        model(image)
    for hook in hooks:
        hook.remove()
    return seen


def test_every_output_has_variance_one_on_the_batch():
    model = network().eval()
    LSUV()(model)
    before = {name: value.clone() for name, value in model.named_buffers()}
    variances = scale_to_unit_variance(model, lambda: model(IMAGE), tolerance=0.01)
    assert list(variances) == ["0", "4", "6"]
    assert all(abs(value - 1) <= 0.01 for value in variances.values())
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    model.train()
    model[3].eval()
    assert all(abs(float(y.var(correction=0)) - 1) <= 0.011 for y in outputs_of(model, IMAGE))


def test_layers_that_do_not_run_or_give_one_value_keep_their_weights():
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "zero": nn.Linear(4, 2), "other": nn.Linear(4, 4)})
    nn.init.zeros_(model["zero"].weight)
    nn.init.zeros_(model["zero"].bias)
    other = model["other"].weight.clone()
    variances = scale_to_unit_variance(model, lambda: model["zero"](model["used"](torch.randn(50, 4))))
    assert variances["zero"] == 0
    assert unscaled(model, variances) == ["other"]
    assert torch.equal(model["other"].weight, other)
    assert not model["zero"].weight.any()


def test_layers_that_interpolate_keep_their_filters():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 4, stride=2), nn.Conv2d(4, 4, 3))
    LSUV(bilinear=True)(network)
    filters = network[1].weight.clone()
    x = torch.randn(4, 3, 16, 16)
    assert list(scale_to_unit_variance(network, lambda: network(x))) == ["0", "2"]
    assert torch.equal(network[1].weight, filters)


def test_layer_within_the_tolerance_is_left_as_it_is():
    layer = nn.Linear(4, 4, bias=False)
    x = torch.randn(1000, 4)
    scale_to_unit_variance(layer, lambda: layer(x), tolerance=0.001)
    layer.weight.data *= 1.04**0.5
    weight = layer.weight.clone()
    scale_to_unit_variance(layer, lambda: layer(x), tolerance=0.1)
    assert torch.equal(layer.weight, weight)
