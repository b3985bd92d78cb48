"""Where scores land, what is fixed, and what VGG's linear layers become."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.layers.upsample import bilinear_filter
from unpool.models.classification import vgg_head


class Ramp(nn.Module):
    """One class whose score is the row of the map, whatever the map holds."""

    def forward(self, x):
        return torch.arange(x.shape[2], dtype=x.dtype).view(1, 1, -1, 1).expand(x.shape[0], 1, -1, x.shape[3])


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros(x.shape[0], 1, *x.shape[2:])


def fcn(name, padding, num_classes=1):
    torch.manual_seed(0)
    return models.build(name, num_classes=num_classes, padding=padding, width=4).eval()


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize(("padding", "centre"), [("paper", 12.5), ("same", 15.5)])
def test_coarse_scores_land_on_the_same_pixels_in_one_step_and_in_three(name, padding, centre):
    """Bilinear steps keep a ramp exact inside; with the release's offsets row r of the scores lies at 32 r + 12.5."""
    model = fcn(name, padding)
    model.score = Ramp()
    model.skip_scores = nn.ModuleList(Zero() for _ in model.skip_scores)
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 224, 200))
    rows = torch.arange(224.0)
    torch.testing.assert_close(logits[0, 0, 64:160, 100], ((rows - centre) / 32)[64:160], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "place", "stride"), [("fcn16s", 0, 16), ("fcn8s", 0, 16), ("fcn8s", 1, 8)])
@pytest.mark.parametrize("padding", ["paper", "same"])
def test_finer_scores_land_within_a_pixel_of_where_they_were_seen(name, place, stride, padding):
    """Row r of a pooled map saw pixels r * stride to (r + 1) * stride - 1 of the padded image."""
    model = fcn(name, padding)
    model.score = Zero()
    model.skip_scores = nn.ModuleList(Ramp() if i == place else Zero() for i in range(len(model.skip_scores)))
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 224, 200))
    seen = (torch.arange(224.0) + (100 if padding == "paper" else 0) - (stride - 1) / 2) / stride
    assert (logits[0, 0, 64:160, 100] - seen[64:160]).abs().max() <= 1 / stride + 1e-4


def test_new_network_answers_zero_everywhere():
    assert not fcn("fcn8s", "same", 3)(torch.rand(1, 3, 40, 50)).any()


def test_last_upsampling_is_fixed_and_the_others_are_learned():
    model = fcn("fcn8s", "paper", 2)
    fixed = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert fixed == ["to_image.weight"]
    weight = model.upsample[0].weight
    assert torch.equal(weight[0, 0], bilinear_filter(2))
    assert not weight[0, 1].any()


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_classes_do_not_mix_before_training(name):
    model = fcn(name, "same", 2)
    nn.init.constant_(model.score.bias, 1.0)
    model.score.bias.data[1] = 0.0
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 96, 96))
    torch.testing.assert_close(logits[:, 0, 40:56, 40:56], torch.ones(1, 16, 16))
    assert not logits[:, 1].any()


def test_convolutions_are_vggs_linear_layers_on_one_position():
    torch.manual_seed(0)
    model, head = fcn("fcn32s", "paper"), vgg_head(32, 5).eval()
    model.fc[0].weight.data = head.fc6.weight.detach().view(256, 32, 7, 7)
    model.fc[3].weight.data = head.fc7.weight.detach().view(256, 256, 1, 1)
    x = torch.rand(2, 32, 7, 7)
    hidden = head.act7(head.fc7(head.act6(head.fc6(x.flatten(1)))))
    torch.testing.assert_close(model.fc(x).flatten(1), hidden)


def test_other_backbones_are_refused():
    with pytest.raises(RecipeError, match="FCN reads the pooled maps of a VGG, not of ResNet: choose a vgg"):
        models.build("fcn8s", backbone="resnet18", width=4)


def test_other_paddings_are_refused():
    with pytest.raises(RecipeError, match="padding is 'valid'; it must be 'paper' or 'same'"):
        models.build("fcn8s", padding="valid", width=4)


@pytest.mark.parametrize("backbone", ["vgg16_bn", "vgg11"])
def test_any_vgg_carries_it(backbone):
    model = models.build("fcn16s", backbone=backbone, padding="same", width=4, num_classes=2).eval()
    assert model(torch.rand(1, 3, 45, 70)).shape == (1, 2, 45, 70)
