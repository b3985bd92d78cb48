"""R-CNN and Fast R-CNN: regions cut from the image, and regions pooled from its maps."""

import pytest
import torch

from unpool import models
from unpool.errors import ModelFileError, RecipeError
from unpool.layers.initializations import He
from unpool.models.detection import rcnn
from unpool.models.detection.practice import FAST, RCNN
from unpool.models.weights import save_weights
from unpool.ops.region_warping import warp_regions, with_context
from unpool.types import RegionMaps

RNG = torch.Generator().manual_seed(0)
BOXES = [torch.tensor([[0.0, 0, 40, 40], [10, 20, 90, 60]]), torch.tensor([[3.0, 5, 33, 50]])]


def ramp(height, width):
    """(1, 2, H, W): x and y of the centre of each pixel, from the outer edge of the first."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y])[None]


def test_sixteen_pixels_of_the_warped_region_are_context_and_the_rest_is_the_box():
    box = torch.tensor([40.0, 30.0, 100.0, 70.0])
    warped = warp_regions(ramp(120, 160), [box[None]], side=227)[0]
    inside = warped[:, 16:-16, 16:-16]
    steps = (torch.arange(195) + 0.5) / 195
    torch.testing.assert_close(inside[0], (40 + 60 * steps).expand(195, 195), rtol=0, atol=1e-3)
    torch.testing.assert_close(inside[1], (30 + 40 * steps)[:, None].expand(195, 195), rtol=0, atol=1e-3)


def test_what_lies_beyond_the_image_is_the_mean_and_each_region_is_of_its_image():
    images = torch.stack([torch.ones(3, 20, 30), torch.full((3, 20, 30), 2.0)])
    boxes = [torch.tensor([[-10.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 5.0, 9.0, 9.0]])]
    first, second = warp_regions(images, boxes, side=40, context=0)
    assert first[:, :, :19].abs().max() == 0
    torch.testing.assert_close(first[:, 1:-1, 21:], torch.ones(3, 38, 19))
    torch.testing.assert_close(second, torch.full((3, 40, 40), 2.0))


@pytest.mark.parametrize("context", [0, 16])
def test_context_is_the_same_share_of_both_sides_about_the_centre(context):
    grown = with_context(torch.tensor([[10.0, 10.0, 30.0, 50.0]]), side=227, context=context)
    factor = 227 / (227 - 2 * context)
    assert (grown[:, 2:] - grown[:, :2])[0].tolist() == pytest.approx([20 * factor, 40 * factor])
    assert ((grown[:, 2:] + grown[:, :2]) / 2)[0].tolist() == pytest.approx([20, 30])


def small(name, **options):
    torch.manual_seed(0)
    known = models.known_options(name)
    narrow = {key: 8 for key in ("width", "neck_width", "head_width") if key in known}
    return models.build(name, num_classes=3, **narrow, **options).eval()


NAMES = [name for name, row in models.MODELS.items() if row.reads_proposals]


@pytest.mark.parametrize("name", NAMES)
def test_regions_of_a_batch_are_answered_as_those_of_each_image_alone(name):
    model = small(name, init=He()) if name.startswith("rcnn") else small(name)  # N(0, 0.01^2) tells few regions apart
    image = torch.rand(2, 3, 64, 96, generator=RNG)
    with torch.no_grad():
        for parameter in model.fitted.parameters() if name.endswith("svm") else ():
            parameter.normal_()
        output = model(image)
        assert isinstance(output, RegionMaps)
        both = model.classify(output.maps, BOXES, (64, 96))
        alone = model.classify(model(image[1:]).maps, BOXES[1:], (64, 96))
    count = 3 if name.endswith("svm") else 4
    assert both.scores.shape == (3, count)
    assert (both.deltas is None) if name in ("rcnn", "rcnn_alexnet") else (both.deltas.shape == (3, count, 4))
    torch.testing.assert_close(alone.scores, both.scores[2:], rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert model.classify(output.maps, [one[:0] for one in BOXES], (64, 96)).scores.shape == (0, count)


def test_image_of_rcnn_is_not_read_but_in_regions():
    model, image = small("rcnn"), torch.rand(1, 3, 64, 96)
    assert model(image).maps[0] is image


def test_fast_rcnn_reads_the_image_once_whatever_its_regions():
    model, seen = small("fastrcnn"), []
    model.backbone.register_forward_hook(lambda *_: seen.append(1))
    maps = model(torch.rand(1, 3, 64, 96)).maps
    for _ in range(3):
        model.classify(maps, BOXES[:1], (64, 96))
    assert seen == [1]


def test_practice_is_the_papers():
    assert (RCNN.samples, RCNN.positive_share, RCNN.positive, RCNN.negative) == (64, 0.25, 0.5, 0.5)
    assert (FAST.samples, FAST.positive_share, FAST.least_background, FAST.nms) == (64, 0.25, 0.1, 0.3)
    assert 2 * RCNN.samples * RCNN.positive_share == 32
    assert small("fastrcnn").practice is FAST
    assert small("fastrcnn").box_weights == (10, 10, 5, 5)
    assert small("rcnn").practice is RCNN


def test_many_regions_are_read_in_parts_and_in_order(monkeypatch):
    model, image = small("rcnn"), torch.rand(2, 3, 64, 96, generator=RNG)
    low = torch.rand(7, 2, generator=RNG) * 30
    boxes = [torch.cat([low, low + 20], dim=1), BOXES[1]]
    with torch.no_grad():
        whole = model.classify((image,), boxes, (64, 96)).scores
        monkeypatch.setattr(rcnn, "AT_ONCE", 2)
        torch.testing.assert_close(model.classify((image,), boxes, (64, 96)).scores, whole, rtol=1e-4, atol=1e-6)


def test_weights_of_the_first_step_and_of_its_classifier_are_taken(tmp_path):
    trained = small("rcnn")
    path = save_weights(tmp_path / "a.safetensors", trained)
    fitted = small("rcnn_svm", weights=path)
    assert torch.equal(fitted.head.fc7.weight, trained.head.fc7.weight)
    assert not any(parameter.any() for parameter in fitted.fitted.parameters())
    classifier = models.build("caffenet", num_classes=5, width=8)
    path = save_weights(tmp_path / "b.safetensors", classifier)
    assert torch.equal(
        small("rcnn", weights=path, new_head=True).features.conv1.weight, classifier.features.conv1.weight
    )
    with pytest.raises(ModelFileError):
        small("rcnn", weights=path)


def test_odd_width_of_two_groups_is_refused():
    with pytest.raises(RecipeError, match="width is 9 and the network has 2 groups"):
        models.build("fastrcnn_caffenet", width=9)
