"""timm's networks keep the promise of a backbone, or are refused with the reason."""

import json
import sys

import pytest
import torch
from torch import nn

from unpool import models
from unpool.cli.main import main
from unpool.convert import deepen, dilate
from unpool.errors import EnvironmentFault, RecipeError
from unpool.models.exchanging import exchange
from unpool.models.timm_backbone import TimmBackbone
from unpool.recipe.options import check_network

timm = pytest.importorskip("timm")

ODD = (67, 85)


def shaken(network):
    """Statistics of batch norms drawn at random; evaluation mode and float64."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval().double()


def image(size_hw=ODD, channels=3):
    return torch.randn(1, channels, *size_hw, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(
    ("name", "strides"),
    [("resnet10t", (2, 4, 8, 16, 32)), ("convnext_atto", (4, 8, 16, 32)), ("dla46_c", (2, 4, 8, 16, 32))],
)
def test_maps_have_their_channels_and_about_their_strides_at_odd_sizes(name, strides):
    backbone = TimmBackbone(name, in_channels=2).eval()
    assert backbone.strides == strides
    with torch.no_grad():
        maps = backbone(torch.rand(1, 2, *ODD))
    assert tuple(m.shape[1] for m in maps) == backbone.channels
    for got, stride in zip(maps, strides, strict=True):
        assert abs(got.shape[2] - ODD[0] / stride) < 1
        assert abs(got.shape[3] - ODD[1] / stride) < 1


def test_network_that_takes_multiples_only_gets_its_image_padded_and_its_maps_cut():
    backbone = TimmBackbone("dla46_c").eval()
    assert backbone.multiple == 32
    x = torch.rand(1, 3, *ODD)
    padded = nn.functional.pad(x, (0, 96 - 85, 0, 96 - 67))
    with torch.no_grad():
        for cut, whole in zip(backbone(x), backbone(padded), strict=True):
            assert torch.equal(cut, whole[:, :, : cut.shape[2], : cut.shape[3]])


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_mixnet_s"])
def test_network_whose_padding_depends_on_the_size_gets_its_image_padded(name):
    """TensorFlow pads an even side after the image alone, an odd one on both sides, and so moves all cells."""
    backbone = TimmBackbone(name).eval()
    assert backbone.multiple == 32
    x = image().float()
    with torch.no_grad():
        for cut, whole in zip(backbone(x), backbone(nn.functional.pad(x, (0, 11, 0, 29))), strict=True):
            assert torch.equal(cut, whole[:, :, : cut.shape[2], : cut.shape[3]])


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_network_of_fixed_padding_sees_the_image_as_it_is(name):
    assert TimmBackbone(name).multiple == 1


def test_channels_that_come_last_are_put_second(monkeypatch):
    class Last(nn.Module):
        """What timm gives for some networks."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, stride=2, padding=1)
            self.feature_info = timm.models.FeatureInfo([{"num_chs": 5, "reduction": 2, "module": "conv"}], (0,))

        def forward(self, x):
            return [self.conv(x).permute(0, 2, 3, 1)]

    monkeypatch.setattr(timm, "create_model", lambda *a, **k: Last())
    backbone = TimmBackbone("convnext_atto")
    assert backbone.is_nhwc
    assert backbone(torch.rand(1, 3, *ODD))[0].shape == (1, 5, 34, 43)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet10t", "mobilenetv3_small_050"])
def test_weights_of_timms_classifier_fit_by_name(name):
    backbone, whole = TimmBackbone(name), timm.create_model(name, pretrained=False)
    state = whole.state_dict()
    assert set(backbone.state_dict()) <= set(state)
    backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = whole.eval().forward_intermediates(x, intermediates_only=True)[-1]
        torch.testing.assert_close(backbone.eval()(x)[-1], wanted)


def test_every_composed_network_stands_on_it():
    network = models.build("unet", backbone="timm/resnet10t", num_classes=3, in_channels=2, widths=(8,) * 5).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 2, *ODD)).shape == (1, 3, *ODD)


def test_copy_trains_by_itself():
    import copy

    backbone = TimmBackbone("resnet10t").eval()
    copied = copy.deepcopy(backbone)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(x)[-1]
        for parameter in copied.parameters():
            parameter.zero_()
        assert torch.equal(backbone(x)[-1], before)
        assert not copied(x)[-1].any()


def test_name_alone_builds_timms_classifier():
    network = models.build("timm/resnet10t", num_classes=7, in_channels=1)
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 7)
    assert type(network) is type(timm.create_model("resnet10t"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vit_tiny_patch16_224", r"timm/vit_tiny.* strides \[16, 16, 16\]: it has no stages that halve the map"),
        ("swin_tiny_patch4_window7_224", r"cannot stand as a backbone: .*doesn't match model \(224\)"),
        ("inception_v3", r"cannot stand as a backbone: .* gives a map .* where stride 2 and 64 channels were promised"),
    ],
)
def test_network_without_the_promise_is_refused_with_the_reason(name, told):
    with torch.device("meta"), pytest.raises(RecipeError, match=told):
        TimmBackbone(name)


def test_unknown_name_is_refused_with_the_nearest():
    for options in ({"backbone": "timm/resnet51"}, {"backbone": "timm/resnet51", "widths": [8] * 5}):
        with pytest.raises(RecipeError, match=r"no network called 'resnet51'; did you mean: timm/resnet"):
            models.build("unet", **options)
        with pytest.raises(RecipeError, match=r"no network called 'resnet51'; did you mean: timm/resnet"):
            check_network("unet", options)


def test_known_name_passes_the_check_of_a_recipe():
    check_network("unet", {"backbone": "timm/convnext_atto", "widths": [8] * 5})
    check_network("timm/convnext_atto", {})
    with pytest.raises(RecipeError, match="takes no backbone"):
        check_network("timm/convnext_atto", {"backbone": "resnet18"})


def test_without_timm_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'unpool\[timm\]'"):
        models.build("unet", backbone="timm/resnet18")


def test_names_are_listed_only_where_they_are_asked_for():
    assert models.names("timm/convnext_at*") == ["timm/" + name for name in timm.list_models("convnext_at*")]
    assert not any(name.startswith("timm/") for name in models.names())


def test_probe_prints_a_line_a_network_with_the_reason(capsys):
    assert main(["models", "timm/resnet10t", "--probe"]) == 0
    assert capsys.readouterr().out == (
        "timm/resnet10t  pass  channels [64, 64, 128, 256, 512], strides [2, 4, 8, 16, 32]\n"
    )
    assert main(["models", "timm/vit_tiny_patch16_224", "--probe"]) == 0
    assert "timm/vit_tiny_patch16_224  no    its maps have strides [16, 16, 16]" in capsys.readouterr().out
    assert main(["models", "resnet*", "--probe"]) == 2


def test_probe_as_json_is_one_object_with_the_reason(capsys):
    assert main(["models", "timm/resnet10t", "--probe", "--json"]) == 0
    assert main(["models", "timm/vit_tiny_patch16_224", "--probe", "--json"]) == 0
    decoder, text = json.JSONDecoder(), capsys.readouterr().out
    passes, end = decoder.raw_decode(text)
    refused, _ = decoder.raw_decode(text[end:].lstrip())
    strides = [2, 4, 8, 16, 32]
    told = {"passes": True, "channels": [64, 64, 128, 256, 512], "strides": strides, "reason": None}
    assert passes == {"models": [{"name": "timm/resnet10t", **told}]}
    (row,) = refused["models"]
    assert (row["passes"], row["channels"], row["strides"]) == (False, None, None)
    assert row["reason"].startswith("its maps have strides [16, 16, 16]: it has no stages that halve the map")


def test_help_says_which_command_lists_what_passes_of_timm(capsys):
    assert main(["models", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "unpool models 'timm/*' --probe" in told
    assert "--probe list which of timm's networks can be a backbone, the others with the reason" in told


def keeps(name, output_stride, sizes):
    torch.manual_seed(0)
    backbone = shaken(TimmBackbone(name))
    dilated = dilate(backbone, output_stride=output_stride)
    assert list(dilated.state_dict()) == list(backbone.state_dict())
    assert dilated.strides == tuple(min(s, output_stride) for s in backbone.strides)
    for size in sizes:
        with torch.no_grad():
            old, new = backbone(image(size)), dilated(image(size))
        for a, b, stride in zip(old, new, backbone.strides, strict=True):
            step = max(1, stride // output_stride)
            assert (b[:, :, ::step, ::step] - a).abs().max() <= 1e-9 * a.abs().max()


SMALL = ["resnet10t", "convnext_atto", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100", "dla46_c"]
LARGE = [
    *("resnet50", "convnext_tiny", "efficientnet_b0", "mobilenetv3_large_100", "regnety_008", "tf_efficientnet_b0"),
    *("densenet121", "hrnet_w18_small", "repvgg_a0", "resnetblur18", "resnetv2_50x1_bit", "convnextv2_atto", "vgg11"),
]


@pytest.mark.parametrize("name", SMALL)
def test_small_network_of_timm_is_exact_when_dilated(name):
    keeps(name, 8 if name != "dla46_c" else 16, [ODD])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_network_of_timm_is_exact_when_dilated(name):
    keeps(name, 8 if name != "hrnet_w18_small" else 16, [ODD, (96, 64)])


def test_exchanged_modules_are_those_that_run():
    torch.manual_seed(0)
    network = TimmBackbone("resnet10t")
    exchange(network, norms="group")
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        together, alone = network.eval()(images)[-1][:1], network(images[:1])[-1]
    assert torch.allclose(together, alone, atol=1e-5)  # batch norm that still trains would count both
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network._features[0].modules())
    changed = deepen(network, after=["act1"])
    assert [change.layer for change in changed.changes] == ["act1"]


def test_network_runs_in_the_mode_of_its_backbone():
    network = TimmBackbone("resnet10t").eval()
    network(torch.rand(1, 3, 64, 64))
    assert not network._features[0].training
