"""The output of one layer, and what does not run behind it."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.layer_maps import keeping_output, layer_output


class Behind(nn.Module):
    def forward(self, x):
        raise AssertionError("this layer must not run")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(2))


def test_layers_behind_do_not_run_nor_change_the_output():
    looked = nn.Sequential(*network()[:2], Behind())
    image = torch.randn(1, 3, 6, 6)
    output = layer_output(looked, image, "0")
    assert torch.equal(output, looked[0](image))
    assert output.min() < 0


def test_output_that_is_kept_is_not_changed_by_an_operation_in_place():
    looked = network()[:2]
    image = torch.randn(1, 3, 6, 6)
    with keeping_output(looked, "0") as outputs:
        result = looked(image)
    assert torch.equal(outputs[0], looked[0](image))
    assert torch.equal(result, outputs[0].relu())


@pytest.mark.parametrize(
    ("layer", "image", "message"),
    [
        ("2", (1, 3, 6, 6), "did you mean"),
        ("0", (1, 4, 6, 6), r"does not take an image of \(1, 4, 6, 6\)"),
        ("inner.unused", (1, 3, 6, 6), "did not run"),
        ("inner", (1, 3, 6, 6), r"gives \(1, 4, 4, 4\), \(1, 4, 4, 4\)"),
    ],
)
def test_what_gives_no_map_is_refused_by_name(layer, image, message):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.unused = nn.Conv2d(3, 4, 3), nn.ReLU()

        def forward(self, x):
            return self.conv(x), self.conv(x)

    class Looked(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Twice()
            self.add_module("0", nn.Identity())

        def forward(self, x):
            first, _ = self.inner(x)
            return first

    looked = Looked()
    with pytest.raises(RecipeError, match=message):
        layer_output(looked, torch.zeros(image), layer if layer != "0" else "inner.conv")
    assert not any(module._forward_hooks for module in looked.modules())
