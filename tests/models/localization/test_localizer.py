"""What the heads of a localizer read, and what they give."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.models.localization import MODELS
from unpool.types import LocatedBoxes

SIDES = {"alexnet_localizer": 67, "alexnet_localizer_per_class": 67}


def small(name, **options):
    torch.manual_seed(0)
    narrow = {"hidden": 16} if "hidden" in models.known_options(name) else {}
    return models.build(name, width=8, **{"num_classes": 3, **narrow, **options}).eval()


def image_for(name):
    return torch.rand(2, 3, SIDES.get(name, 40), SIDES.get(name, 40))


@pytest.mark.parametrize("name", ["alexnet_localizer", "vgg16_localizer"])
@pytest.mark.parametrize(("boxes", "numbers"), [("", 16_388), ("_per_class", 16_388_000)])
def test_layer_of_boxes_on_fc7_has_the_numbers_of_the_lecture(name, boxes, numbers):
    with torch.device("meta"):
        locate = models.build(f"{name}{boxes}").locate
    assert sum(parameter.numel() for parameter in locate.parameters()) == numbers


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("things", [1, 2])
def test_scores_and_boxes_are_of_each_thing_and_where_asked_of_each_class(name, things):
    with torch.no_grad():
        output = small(name, things=things)(image_for(name))
    assert isinstance(output, LocatedBoxes)
    each = () if things == 1 else (things,)
    assert output.scores.shape == (2, *each, 3)
    assert output.boxes.shape == (2, *each, *((3,) if "per_class" in name else ()), 4)


@pytest.mark.parametrize("name", MODELS)
def test_untrained_boxes_lie_close_to_the_middle(name):
    with torch.no_grad():
        assert small(name)(image_for(name)).boxes.abs().max() < 0.1


@pytest.mark.parametrize(
    ("name", "hidden"), [("localizer", None), ("localizer_fc", "act"), ("vgg16_localizer", "act7")]
)
def test_boxes_are_read_after_the_last_convolution_or_after_the_last_hidden_layer(name, hidden):
    network, seen = small(name), []
    network.locate.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    layer = network.backbone if hidden is None else network.head.get_submodule(hidden)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(image_for(name))
    given, read = seen
    assert torch.equal(read, given[-1] if hidden is None else given)


def test_alexnet_beside_its_boxes_is_alexnet():
    torch.manual_seed(0)
    classifier = models.build("alexnet", width=8, num_classes=3).eval()
    network = small("alexnet_localizer")
    left = network.load_state_dict(classifier.state_dict(), strict=False)
    assert (left.unexpected_keys, left.missing_keys) == ([], ["locate.weight", "locate.bias"])
    with torch.no_grad():
        image = image_for("alexnet_localizer")
        assert torch.equal(network(image).scores, classifier(image))


def test_head_of_boxes_tells_places_apart_that_the_mean_of_a_map_does_not():
    head = small("localizer").locate
    x = torch.zeros(2, 64, 7, 7)
    x[0, :, 1, 1] = x[1, :, 5, 5] = 1.0
    with torch.no_grad():
        assert not torch.equal(*head(x))
        assert torch.equal(*nn.AdaptiveAvgPool2d(1)(x))


def test_coordinates_of_joints_come_from_the_same_head():
    torch.manual_seed(0)
    joints = models.build("joint_regression", num_classes=5, width=8, hidden=16)
    assert [type(layer) for layer in joints.head] == [type(layer) for layer in small("localizer").locate]
    assert joints(image_for("localizer")).shape == (2, 10)
