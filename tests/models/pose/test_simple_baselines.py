"""Trunk, counts on deeper trunks, and where the heatmaps end."""

import pytest
import torch
import torchvision
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.cost import macs
from unpool.models.weights import from_torchvision


@pytest.mark.parametrize(
    ("backbone", "joints", "size_hw", "params", "gmacs"),
    [
        ("resnet101", 17, (256, 192), 52_991_825, 9.0628),
        ("resnet152", 17, (256, 192), 68_635_473, 12.6993),
        ("resnet50", 16, (256, 256), 33_999_440, 7.2341),
        ("resnet50", 17, (384, 288), 33_999_697, 12.2094),
    ],
)
def test_other_networks_of_the_release_have_their_counts(backbone, joints, size_hw, params, gmacs):
    with torch.device("meta"):
        model = models.build("simple_baselines", backbone=backbone, num_classes=joints)
    assert sum(p.numel() for p in model.parameters()) == params
    assert macs(model, (3, *size_hw)) / 1e9 == pytest.approx(gmacs, abs=5e-5)


def test_weights_of_torchvisions_resnet50_fit_the_trunk():
    with torch.device("meta"):
        own = models.build("simple_baselines").state_dict()
        theirs = from_torchvision(torchvision.models.resnet50().state_dict())
    trunk = {name: tensor.shape for name, tensor in own.items() if name.startswith("backbone.")}
    assert trunk == {name: tensor.shape for name, tensor in theirs.items() if not name.startswith("head.")}


def test_each_transposed_convolution_doubles_the_size():
    sizes = []
    model = models.build("simple_baselines", width=4, widths=(6, 5, 4)).eval()
    for layer in model.deconvs:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, inputs, output: sizes.append((inputs[0].shape[2:], output.shape[1:])))
    assert model(torch.rand(1, 3, 64, 96)).shape == (1, 17, 16, 24)
    assert sizes == [((2, 3), (6, 4, 6)), ((4, 6), (5, 8, 12)), ((8, 12), (4, 16, 24))]


@pytest.mark.parametrize(("backbone", "doublings"), [("resnet18", 3), ("vgg11", 3), ("cifar_resnet20", 0)])
def test_map_is_doubled_until_a_quarter_of_the_image(backbone, doublings):
    model = models.build("simple_baselines", backbone=backbone, width=4, widths=(9, 7, 5), num_classes=2).eval()
    assert len(model.deconvs) == 3 * doublings
    assert model(torch.rand(1, 3, 64, 32)).shape == (1, 2, 16, 8)


@pytest.mark.parametrize("size_hw", [(33, 47), (65, 97), (62, 64), (17, 80)])
@pytest.mark.parametrize("backbone", ["resnet50", "vgg11"])
def test_heatmaps_of_odd_images_are_a_quarter_rounded_up(size_hw, backbone):
    model = models.build("simple_baselines", backbone=backbone, width=4, widths=(4, 4, 4)).eval()
    assert model(torch.rand(1, 3, *size_hw)).shape[2:] == tuple(-(-side // 4) for side in size_hw)


@pytest.mark.parametrize("backbone", ["resnet18", "vgg11"])
def test_image_goes_on_in_zeros_at_the_bottom_and_right_up_to_a_multiple_of_the_stride(backbone):
    torch.manual_seed(0)
    model = models.build("simple_baselines", backbone=backbone, width=4, widths=(4, 4, 4)).eval()
    image, whole = torch.rand(1, 3, 41, 70), torch.zeros(1, 3, 64, 96)
    whole[:, :, :41, :70] = image
    with torch.inference_mode():
        maps = model.head(model.deconvs(model.backbone(whole)[-1]))
        assert model(whole).equal(maps)  # nothing is added to what is a multiple
        assert model(image).equal(maps[:, :, :11, :18])


def test_new_weights_are_small_and_the_trunk_starts_as_a_resnet():
    torch.manual_seed(0)
    model = models.build("simple_baselines", width=16)
    for layer in (model.deconvs[0], model.head):
        assert float(layer.weight.detach().std()) == pytest.approx(1e-3, rel=0.1)
    assert not model.head.bias.any()


def test_too_few_widths_are_refused():
    with pytest.raises(RecipeError, match="widths has 2 numbers and this backbone needs 3: add some"):
        models.build("simple_baselines", widths=(8, 8), width=4)
