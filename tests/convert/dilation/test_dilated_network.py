"""A dilated network is a network like any other: weights, modes, export, copies."""

import copy

import pytest
import torch
from torch import nn

from tests.convert.dilation.dilated import conv, image, keeps, sequential
from unpool import models
from unpool.convert import dilate
from unpool.convert.dilation.grid_operations import join_shifts, split_shifts
from unpool.errors import NotConvertible
from unpool.models import BACKBONES

F = nn.functional


def test_network_that_was_given_stays_as_it_was():
    network = BACKBONES["resnet18"].build(width=4).train()
    network.stages[0].eval()
    before = {name: (vars(m).get("stride"), vars(m).get("dilation"), m.training) for name, m in network.named_modules()}
    state = copy.deepcopy(network.state_dict())
    dilate(network, output_stride=8)
    assert before == {
        name: (vars(m).get("stride"), vars(m).get("dilation"), m.training) for name, m in network.named_modules()
    }
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_weights_move_from_one_to_the_other():
    network = BACKBONES["cifar_resnet20"].build(width=4)
    dilated = dilate(network, output_stride=1)
    assert [(k, v.shape) for k, v in dilated.state_dict().items()] == [
        (k, v.shape) for k, v in network.state_dict().items()
    ]
    other = BACKBONES["cifar_resnet20"].build(width=4).eval()
    dilated.load_state_dict(other.state_dict())
    with torch.no_grad():
        new, old = dilated.eval().double()(image())[2], other.double()(image())[2]
    torch.testing.assert_close(new[:, :, ::4, ::4], old)


def test_parameters_that_no_operation_reads_and_buffers_that_are_not_saved_are_kept():
    network = sequential(conv(3, 4, stride=2))
    network.register_parameter("unused", nn.Parameter(torch.ones(2)))
    network.register_buffer("scratch", torch.ones(3), persistent=False)
    for made in (dilated := dilate(network, output_stride=1), copy.deepcopy(dilated)):
        assert list(made.state_dict()) == list(network.state_dict())
        assert dict(made.named_buffers()).keys() == {"scratch"}


def test_copy_of_a_dilated_network_is_a_network_of_its_own():
    dilated = dilate(BACKBONES["cifar_resnet20"].build(width=4).eval(), output_stride=1)
    copied = copy.deepcopy(dilated)
    assert (copied.changes, copied.strides, copied.channels) == (dilated.changes, dilated.strides, dilated.channels)
    x = image((32, 32)).float()
    with torch.no_grad():
        before = dilated(x)[-1]
        copied.stem.conv.weight.zero_()
        assert torch.equal(dilated(x)[-1], before)
        assert not torch.equal(copied(x)[-1], before)


def test_mode_switches_dropout_and_batch_norm():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv(3, 8, stride=2), nn.BatchNorm2d(8)

        def forward(self, x):
            return F.dropout(self.norm(self.conv(x)), 0.5, training=self.training)

    dilated = dilate(Dropping().eval(), output_stride=1)
    x = image().float()
    assert not dilated.training
    assert torch.equal(dilated(x), dilated(x))
    mean = dilated.norm.running_mean.clone()
    dropped = (dilated.train()(x) == 0).float().mean()
    assert dropped == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(dilated.norm.running_mean, mean)


def test_every_parameter_gets_a_gradient_in_bfloat16():
    dilated = dilate(BACKBONES["vgg11_bn"].build(width=4).train(), output_stride=4)
    with torch.autocast("cpu", torch.bfloat16):
        maps = dilated(image((64, 64), batch=2).float())
    sum(m.float().square().sum() for m in maps).backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in dilated.parameters() if p.dim() > 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_exported_network_takes_every_size(name):
    dilated = dilate(BACKBONES[name].build(width=4).eval(), output_stride=8)
    height, width = (torch.export.Dim(axis, min=64, max=512) for axis in "hw")
    sizes = ({2: height, 3: width},)
    exported = torch.export.export(dilated, (image((97, 131)).float(),), dynamic_shapes=sizes).module()
    for size in ((64, 96), (100, 77)):
        x = image(size).float()
        for a, b in zip(exported(x), dilated(x), strict=True):
            torch.testing.assert_close(a, b)


def test_dilated_backbone_carries_a_decoder():
    from unpool.models.segmentation.unet_decoder import UNetDecoder

    network = UNetDecoder(dilate(BACKBONES["resnet18"].build(width=4), output_stride=8), num_classes=3, widths=(4,) * 5)
    assert network(image().float()).shape == (1, 3, 67, 85)
    assert network.stride == 8


def test_images_to_compare_on_can_be_given():
    network = models.build("unet_valid", width=2).eval()
    with pytest.raises(NotConvertible, match=r"does not take an image of 64x96, .*: give one that it takes as image="):
        dilate(network, output_stride=8)
    with pytest.raises(NotConvertible, match="ValidUNet cannot be followed"):
        dilate(network, output_stride=8, image=torch.rand(1, 1, 188, 188))
    inner = network.net.down
    stages = sequential(inner[0], nn.MaxPool2d(2), inner[1], nn.MaxPool2d(2), inner[2])
    x = torch.rand(1, 1, 60, 44)
    dilated = dilate(stages, output_stride=1, image=x)
    torch.testing.assert_close(dilated(x.double())[:, :, ::4, ::4], stages(x.double()))


def test_network_that_rearranges_its_image_first_is_compared_on_three_channels():
    keeps(sequential(nn.PixelUnshuffle(2), conv(12, 4, stride=2, padding=1)), 2, [4], sizes=[(64, 96)])


def test_network_that_needs_no_dilation_keeps_its_operations():
    network = sequential(conv(3, 4, stride=2, padding=1), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1))
    dilated = dilate(network, output_stride=2)
    assert [node.op for node in dilated.graph.nodes] == ["placeholder", *["call_module"] * 3, "output"]


def test_buffers_keep_their_order():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("one", torch.ones(1))
            self.register_buffer("two", torch.ones(1))
            self.conv = conv(3, 4, stride=2)

        def forward(self, x):
            return self.conv(x) + self.two

    assert list(dilate(Shifted(), output_stride=1).state_dict()) == list(Shifted().state_dict())


def test_shifts_of_rows_and_columns_differ():
    x = image((4, 9))
    shifts = split_shifts(x, (2, 3), (2, 3))
    for a in range(2):
        for b in range(3):
            torch.testing.assert_close(shifts[a * 3 + b], x[0, :, a::2, b::3])
    torch.testing.assert_close(join_shifts(shifts, (2, 3)), x)
