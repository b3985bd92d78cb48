"""Maps are found by their stride."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.convert import dilate
from unpool.errors import RecipeError
from unpool.models import dense
from unpool.models.backbones.resnet import ResNet, basic
from unpool.models.dense import Dense, DenseAuxiliary, dilated, map_indices
from unpool.types import Backbone


class Maps(Backbone):
    channels = (2, 3)
    strides = (4, 8)

    def forward(self, image):
        return image[..., ::4, ::4].repeat(1, 2, 1, 1), image[..., ::8, ::8].repeat(1, 3, 1, 1)


def test_places_are_in_the_order_asked_for():
    assert map_indices(Maps(), (8, 4), reader="it") == (1, 0)


def test_stride_that_is_missing_is_named():
    with pytest.raises(RecipeError, match=r"it reads the maps at strides 8, 16, .* none at 16 \(it has 4, 8\): choose"):
        map_indices(Maps(), (8, 16), reader="it")


def test_head_reads_the_last_map_and_its_logits_have_the_size_of_the_image():
    image = torch.full((2, 1, 17, 23), 3.0)
    model = Dense(Maps(), nn.Identity())
    torch.testing.assert_close(model(image), torch.full((2, 3, 17, 23), 3.0))
    assert model.stride == 8


class Means(Backbone):
    """Cell i of each map is the mean of the pixels of its stride, the last one of what is left."""

    channels = (1, 1)

    def __init__(self, strides):
        super().__init__()
        self.strides = strides

    def forward(self, image):
        pool = nn.functional.avg_pool2d
        return tuple(pool(image, s, ceil_mode=True, count_include_pad=False) for s in self.strides)


@pytest.mark.parametrize("stride", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("cells", [4, 15, 60])
def test_edge_in_the_image_is_where_it_is_in_the_answer_at_every_size(stride, cells):
    """The edge lies in the middle of a cell, in which the answer passes one half; across, and down the other way."""
    model = Dense(Means((stride,)), nn.Identity())
    edge = (cells - 2) * stride + stride // 2
    for rest in range(stride):
        image = torch.zeros(1, 1, 3, cells * stride + rest)
        image[..., edge:] = 1
        for picture in (image, image.mT):
            answer = model(picture)
            assert answer.shape == picture.shape
            line = answer[0, 0, 0] if picture is image else answer[0, 0, :, 0]
            assert abs(int((line < 0.5).sum()) - edge) <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 9), (8, 1), (31, 5)])
def test_image_smaller_than_the_stride_has_the_answer_of_its_one_cell(size):
    image = torch.rand(2, 1, *size)
    answer = Dense(Means((32,)), nn.Identity())(image)
    torch.testing.assert_close(answer, image.mean((2, 3), keepdim=True).expand_as(image))


def test_auxiliary_answer_lies_by_the_stride_of_its_own_map():
    model = DenseAuxiliary(Means((4, 16)), nn.Identity(), nn.Identity(), index=0)
    image = torch.arange(61.0).expand(1, 1, 8, 61)
    logits, (beside,) = model(image)
    torch.testing.assert_close(logits[..., 8:40], image[..., 8:40])
    torch.testing.assert_close(beside[..., 2:56], image[..., 2:56])


def test_map_is_stretched_where_that_was_asked_for_and_nowhere_else():
    image = torch.arange(41.0).expand(1, 1, 8, 41)
    stretched, by_stride, corners = (
        Dense(Means((8,)), nn.Identity(), align=align)(image)[0, 0, 0] for align in ("sizes", "stride", "corners")
    )
    means = Means((8,))(image)[0]
    assert torch.equal(stretched, nn.functional.interpolate(means, (8, 41), mode="bilinear")[0, 0, 0])
    torch.testing.assert_close(by_stride[4:36], image[0, 0, 0, 4:36])
    torch.testing.assert_close(corners[::8], means[0, 0, 0])
    assert torch.equal(Dense(Means((8,)), nn.Identity())(image)[0, 0, 0], by_stride)


def test_unknown_alignment_is_refused():
    with pytest.raises(RecipeError, match="align is 'size'; it must be one of stride, corners, sizes"):
        Dense(Maps(), nn.Identity(), align="size")


def small_resnet():
    torch.manual_seed(0)
    return ResNet(basic, (1, 1, 1, 1), width=4).eval()


def test_dilated_backbone_without_values_has_the_same_layers_as_one_with_them():
    with torch.device("meta"):
        empty = dilated(small_resnet(), 8)
        maps = empty(torch.empty(1, 3, 64, 96))
    real = dilated(small_resnet(), 8)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert [m.shape for m in maps] == [m.shape for m in real(torch.rand(1, 3, 64, 96))]
    assert {k: t.shape for k, t in empty.state_dict().items()} == {k: t.shape for k, t in real.state_dict().items()}


def test_backbone_without_values_is_compared_on_finite_numbers_of_a_usual_size(monkeypatch):
    seen = []

    def watched(network, *, output_stride, image):
        seen.append(network.eval()(image.float())[-1])
        return dilate(network, output_stride=output_stride, image=image)

    monkeypatch.setattr(dense, "dilate_known", watched)
    with torch.device("meta"):
        dilated(small_resnet(), 8)
    assert 1e-3 < seen[0].std() < 1e3


def test_backbone_that_is_fine_enough_is_left_alone():
    backbone = small_resnet()
    assert dilated(backbone, 32) is backbone


def test_dilation_keeps_the_weights_and_the_state_of_the_generator():
    backbone = small_resnet()
    state = torch.get_rng_state()
    finer = dilated(backbone, 16)
    assert torch.equal(torch.get_rng_state(), state)
    assert finer.strides == (2, 4, 8, 16, 16)
    assert finer.channels == backbone.channels
    assert all(torch.equal(a, b) for a, b in zip(finer.parameters(), backbone.parameters(), strict=True))


FAMILIES = ("plain18", "resnet18", "resnet18_a", "resnet18_c", "resnet50_v1", "resnet50_deep", "vgg11", "vgg11_bn")
FAMILIES += ("vgg11_lrn", "googlenet", "preresnet50", "cifar_plain20", "cifar_resnet20", "cifar_resnet20_b")
DEEP = ("resnet50", "googlenet_bn", "googlenet_torchvision", "preresnet110")  # as their siblings
FAMILIES += tuple(pytest.param(name, marks=pytest.mark.slow) for name in DEEP)


@pytest.mark.parametrize("name", FAMILIES)
def test_backbone_that_is_not_compared_at_each_start_is_exact_at_every_remainder_of_its_stride(name):
    torch.manual_seed(0)
    narrow = {"width": 4} if "width" in models.known_options(name) else {}
    backbone = models.build(name, num_classes=2, **narrow).backbone.eval()
    finer = dilate(backbone, output_stride=max(backbone.strides) // 2)
    assert type(backbone).__module__.startswith(dense.KNOWN)
    assert finer.caution == ""
    sizes = finer.compared_at
    assert {height % max(backbone.strides) for height, _ in sizes} == set(range(max(backbone.strides)))
    known = dilated(backbone, max(backbone.strides) // 2)
    assert known.code == finer.code
