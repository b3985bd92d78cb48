"""Maps are found by their stride."""

import pytest
import torch
from torch import nn

from unpool.convert import dilate
from unpool.errors import RecipeError
from unpool.models import dense
from unpool.models.backbones.resnet import ResNet, basic
from unpool.models.dense import Dense, dilated, map_indices
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

    monkeypatch.setattr(dense, "dilate", watched)
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
