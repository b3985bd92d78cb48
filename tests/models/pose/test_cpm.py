"""Receptive fields, where the centre map enters, what the stages share."""

import pytest
import torch

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.field_by_gradient import gradient_field
from unpool.models.pose.cpm import CentreMap


def network(name, **options):
    torch.manual_seed(0)
    return models.build(name, width=8, num_classes=3, **options)


@pytest.mark.parametrize(("layer", "field"), [("first", 160), ("refine.0", 400)])
def test_fields_of_the_first_two_stages_are_the_papers(layer, field):
    """The paper: 160 pixels, then 31 places of the maps, which is 400 pixels."""
    assert gradient_field(network("cpm", stages=2), (4, 560, 8), layer)[0] == field


def test_later_stage_sees_31_places_of_the_maps():
    assert gradient_field(network("cpm").refine[0], (2 + 3 + 1, 40, 40)) == (31, 31)


def heatmaps(model, image):
    with torch.no_grad():
        return model(image).heatmaps


@pytest.mark.parametrize("name", ["cpm", "cpm_vgg"])
def test_centre_map_enters_only_where_stages_join(name):
    model = network(name, stages=3)
    image = torch.rand(1, 4, 64, 64)
    moved = torch.cat([image[:, :3], image[:, 3:].flip(2)], dim=1)
    before, after = heatmaps(model, image), heatmaps(model, moved)
    assert torch.equal(before[0], after[0])
    assert not any(torch.allclose(a, b) for a, b in zip(before[1:], after[1:], strict=True))


@pytest.mark.parametrize("name", ["cpm", "cpm_vgg"])
def test_inputs_join_as_features_heatmaps_centre(name):
    """Without the weights of the last channel the centre has no say, without those before it the heatmaps have none."""
    model = network(name, stages=2)
    weight = model.refine[0][0].conv.weight.detach()
    image, other = torch.rand(2, 1, 4, 64, 64)
    weight[:, -1:] = 0
    before = heatmaps(model, image)[1]
    assert torch.equal(before, heatmaps(model, torch.cat([image[:, :3], other[:, 3:]], dim=1))[1])
    weight[:, -4:] = 0
    before = heatmaps(model, image)[1]
    head = model.first[-1]
    head.bias.data += 1
    assert torch.equal(before, heatmaps(model, image)[1])


def test_centre_map_is_averaged_over_nine_pixels_every_eight():
    pixel = torch.zeros(1, 1, 368, 368)
    pixel[..., 12, 20] = 81  # in the window of rows 8 to 16 and columns 16 to 24
    got = CentreMap()(pixel, torch.empty(1, 1, 46, 46))
    assert got.shape == (1, 1, 46, 46)
    assert got.nonzero().tolist() == [[0, 0, 1, 2]]
    assert float(got.max()) == pytest.approx(1)
    ones = CentreMap()(torch.ones(1, 1, 368, 368), torch.empty(1, 1, 46, 46))
    torch.testing.assert_close(ones, torch.ones(1, 1, 46, 46))  # also where the last window is cut off


def reached(model, tensor):
    model.zero_grad()
    tensor.square().sum().backward(retain_graph=True)
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.mark.parametrize("name", ["cpm", "cpm_vgg"])
def test_every_stages_loss_reaches_the_first_convolution_with_later_stages_frozen(name):
    model = network(name)
    model.refine.requires_grad_(requires_grad=False)
    first = next(iter(dict(model.named_parameters())))
    for stage in model(torch.rand(1, 4, 64, 64)).heatmaps:
        assert first in reached(model, stage)


def test_loss_of_the_first_stage_trains_the_first_stage_only():
    model = network("cpm")
    assert {name.split(".")[0] for name in reached(model, model(torch.rand(1, 4, 64, 64)).heatmaps[0])} == {"first"}


def test_later_stages_share_one_trunk_and_have_features_of_their_own():
    model, calls = network("cpm"), []
    model.trunk.register_forward_hook(lambda *_: calls.append(1))
    stages = model(torch.rand(1, 4, 64, 64)).heatmaps
    assert len(calls) == 1
    own = [{n.split(".")[1] for n in reached(model, stage) if n.startswith("features.")} for stage in stages]
    assert own == [set(), {"0"}, {"0", "1"}, {"0", "1", "2"}, set("0123"), set("01234")]


@pytest.mark.parametrize("name", ["cpm", "cpm_vgg"])
@pytest.mark.parametrize("size_hw", [(8, 8), (33, 47), (40, 63)])
def test_every_size_from_eight_on_gives_an_eighth_rounded_down(name, size_hw):
    for stage in heatmaps(network(name), torch.rand(1, 4, *size_hw)):
        assert stage.shape == (1, 3, size_hw[0] // 8, size_hw[1] // 8)


def test_smaller_image_is_refused():
    with pytest.raises(ValueError, match=r"\(7, 40\) \(H, W\) and is halved three times: give 8 or more"):
        network("cpm")(torch.rand(1, 4, 7, 40))


def test_input_without_a_centre_map_is_refused():
    with pytest.raises(RecipeError, match=r"in_channels is 1 and includes the map of the person's centre.*4 for RGB"):
        network("cpm_flic", in_channels=1)


@pytest.mark.parametrize("name", ["cpm", "cpm_vgg"])
def test_single_stage_is_refused(name):
    with pytest.raises(RecipeError, match="stages is 1; it must be 2 or more"):
        network(name, stages=1)


@pytest.mark.parametrize(("width", "quarter"), [(8, 2), (10, 2), (128, 32)])
def test_later_stages_see_a_quarter_of_the_width_and_the_maps_of_the_stage_before(width, quarter):
    with torch.device("meta"):
        model = models.build("cpm", width=width, num_classes=3, stages=2)
    weights = [m.weight.shape[1] for m in model.refine[0].modules() if isinstance(m, torch.nn.Conv2d)]
    assert weights[0] == quarter + 3 + 1  # and the centre map
