"""The lecture's order, layer by layer."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.inspection.layer_table import summary


def counts(model):
    return [n for m in model.modules() if not list(m.children()) and (n := sum(p.numel() for p in m.parameters()))]


def test_layers_have_the_papers_counts_but_for_the_full_connections():
    with torch.device("meta"):
        assert counts(models.build("lenet5")) == [156, 2_416, 48_120, 10_164, 850]


def test_layers_stand_in_the_lectures_order():
    model = models.build("lenet5")
    kinds = [type(m).__name__ for part in (model.features, model.head) for m in part]
    short = {"Conv2d": "CONV", "MaxPool2d": "POOL", "Tanh": "TANH", "Linear": "FC"}
    assert (
        "-".join(short[kind] for kind in kinds if kind in short) == "CONV-POOL-TANH-CONV-POOL-TANH-FC-TANH-FC-TANH-FC"
    )


def test_maximum_and_tanh_may_trade_places():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(nn.functional.max_pool2d(x.tanh(), 2), nn.functional.max_pool2d(x, 2).tanh())
    assert not torch.allclose(nn.functional.avg_pool2d(x.tanh(), 2), nn.functional.avg_pool2d(x, 2).tanh(), atol=0.1)


def test_row_for_28_pixels_is_the_other_on_the_image_with_a_border():
    torch.manual_seed(0)
    padded, whole = models.build("lenet5_28").eval(), models.build("lenet5").eval()
    whole.load_state_dict(padded.state_dict())
    image = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(padded(image), whole(nn.functional.pad(image, (2, 2, 2, 2))))


@pytest.mark.parametrize(("name", "size", "least"), [("lenet5", (28, 40), 32), ("lenet5_28", (28, 27), 28)])
def test_image_that_is_too_small_is_refused_with_the_row_that_pads(name, size, least):
    told = rf"\({size[0]}, {size[1]}\) \(H, W\) and this LeNet-5 needs {least} or more: .* lenet5_28"
    with pytest.raises(ValueError, match=told):
        models.build(name)(torch.rand(1, 1, *size))


def test_weights_start_with_variance_one_over_fan_in():
    torch.manual_seed(0)
    weight = models.build("lenet5").head.fc3.weight
    assert weight.var().item() == pytest.approx(1 / 400, rel=0.05)


def test_network_is_the_one_that_activates_before_it_pools():
    torch.manual_seed(0)
    model, image = models.build("lenet5").double(), torch.randn(3, 1, 32, 32, dtype=torch.float64)
    part = model.features
    x = part.pool1(part.act1(part.conv1(image)))
    x = part.pool2(part.act2(part.conv2(x)))
    torch.testing.assert_close(model.head(x), model(image), rtol=1e-12, atol=1e-12)


def test_maps_and_multiply_adds_are_the_papers():
    with torch.device("meta"):
        table = summary(models.build("lenet5"), (1, 32, 32))
    kept = [row.output for row in table.rows if row.activations]
    assert kept == [(1, 32, 32), (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]
    assert table.macs == 416_520
