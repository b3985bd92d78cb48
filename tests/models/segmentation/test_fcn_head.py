"""The answers are torchvision's, and what all networks with one head on a dilated backbone share."""

import pytest
import torch
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from unpool import models
from unpool.errors import RecipeError
from unpool.models.backbones.resnet import ResNet, bottleneck
from unpool.models.segmentation.deeplab import deeplabv3_auxiliary
from unpool.models.segmentation.fcn_head import fcn_auxiliary

PAIRS = [
    ("fcn_resnet50", "fcn_resnet50_aux"),
    ("deeplabv3_resnet50", "deeplabv3_resnet50_aux"),
    ("pspnet", "pspnet_aux"),
]
DEPTHS = (1, 1, 2, 2)


class Torchvision(torch.nn.Module):
    """Torchvision's network on a ResNet of few blocks, at output stride 8: image -> logits, auxiliary logits."""

    def __init__(self, head):
        super().__init__()
        self.body = TorchvisionResNet(Bottleneck, list(DEPTHS), replace_stride_with_dilation=[False, True, True])
        del self.body.fc
        self.head = head
        self.auxiliary = FCNHead(1024, 3)

    def forward(self, image):
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(image))))
        early = body.layer3(body.layer2(body.layer1(x)))
        maps = self.head(body.layer4(early)), self.auxiliary(early)
        return [torch.nn.functional.interpolate(m, image.shape[-2:], mode="bilinear") for m in maps]


@pytest.mark.parametrize(
    ("build", "head"),
    [(fcn_auxiliary, lambda: FCNHead(2048, 3)), (deeplabv3_auxiliary, lambda: DeepLabHead(2048, 3))],
)
def test_answers_are_torchvisions(build, head):
    torch.manual_seed(0)
    ours = build(ResNet(bottleneck, DEPTHS, 4), num_classes=3, align="sizes").eval()
    theirs = Torchvision(head()).eval()
    for own, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        other.copy_(own)
    image = torch.rand(1, 3, 65, 49)
    with torch.no_grad():
        expected, (logits, (beside,)) = theirs(image), ours(image)
    torch.testing.assert_close(logits, expected[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(beside, expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("plain", "auxiliary"), PAIRS)
def test_weights_move_between_the_plain_row_and_the_one_with_an_auxiliary_head(plain, auxiliary):
    torch.manual_seed(0)
    options = {"width": 4, "num_classes": 2}
    first, second = models.build(plain, **options).eval(), models.build(auxiliary, **options).eval()
    report = second.load_state_dict(first.state_dict(), strict=False)
    assert not report.unexpected_keys
    assert {key.partition(".")[0] for key in report.missing_keys} == {"auxiliary"}
    image = torch.rand(1, 3, 33, 47)
    with torch.no_grad():
        assert torch.equal(second(image).logits, first(image))


@pytest.mark.parametrize(("plain", "auxiliary"), PAIRS)
def test_auxiliary_head_of_twenty_one_classes_has_the_published_size(plain, auxiliary):
    assert models.MODELS[auxiliary].params - models.MODELS[plain].params == 2_365_205


@pytest.mark.parametrize("name", ["fcn_resnet50_aux", "deeplabv3_resnet50_aux", "pspnet_aux"])
def test_auxiliary_head_reads_the_map_before_the_last_one(name):
    torch.manual_seed(0)
    model = models.build(name, width=4, num_classes=2).eval()
    maps = [m.detach().requires_grad_() for m in model.backbone(torch.rand(1, 3, 33, 47))]
    model.backbone.forward = lambda image: tuple(maps)
    model(torch.rand(1, 3, 33, 47)).auxiliary[0].sum().backward()
    assert [m.grad is not None for m in maps] == [False, False, False, True, False]


@pytest.mark.parametrize("name", ["fcn", "deeplabv3", "pspnet"])
def test_output_stride_changes_the_map_and_no_weight(name):
    shapes, sizes, strides = [], [], []
    for output_stride in (8, 16, 32):
        model = models.build(name, backbone="resnet18", width=4, num_classes=2, output_stride=output_stride).eval()
        shapes.append({key: tensor.shape for key, tensor in model.state_dict().items()})
        sizes.append(model.backbone(torch.rand(1, 3, 64, 96))[-1].shape[2:])
        strides.append(model.stride)
    assert shapes[0] == shapes[1] == shapes[2]
    assert sizes == [(8, 12), (4, 6), (2, 3)]
    assert strides == [8, 16, 32]


def test_hidden_layer_is_a_quarter_as_wide_as_the_map():
    model = models.build("fcn", backbone="resnet18", width=8)
    assert model.head.hidden.conv.out_channels == 16


def test_auxiliary_head_without_a_map_at_stride_sixteen_is_refused():
    with pytest.raises(RecipeError, match=r"the auxiliary head reads .* 16, .* none at 16 \(it has 1, 2, 4\)"):
        models.build("fcn_resnet50_aux", backbone="cifar_resnet20", width=4)
