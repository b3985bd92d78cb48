"""Grad-CAM, occlusion and integrated gradients, held to captum's."""

import pytest
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.attribution import grad_cam, integrated_gradients, occlusion

LABEL = 2


@pytest.fixture(scope="module", params=["small", "resnet18", "vgg11"])
def network(request):
    torch.manual_seed(0)
    if request.param != "small":
        return models.build(request.param, width=4, num_classes=5).eval()
    layers = (nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)).eval()


@pytest.fixture(scope="module")
def image():
    return torch.randn(1, 3, 64, 72, generator=torch.Generator().manual_seed(1))


def scores(network):
    return lambda image: network(image)[:, LABEL]


def close(ours, theirs):
    return (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_grad_cam_is_captums(network, image):
    layer = "2" if isinstance(network, nn.Sequential) else "backbone.stages.3"
    theirs = LayerGradCam(network, network.get_submodule(layer))
    coarse = theirs.attribute(image, target=LABEL, relu_attributions=True)
    expected = LayerAttribution.interpolate(coarse, image.shape[2:], "bilinear")[0, 0]
    assert expected.max() > 0
    assert close(grad_cam(network, image, scores(network), layer=layer), expected)


@pytest.mark.parametrize(("window", "stride"), [(16, 8), (24, 24), (20, 13)])
def test_occlusion_is_captums(network, image, window, stride):
    shapes = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride)}
    expected = Occlusion(network).attribute(image, target=LABEL, perturbations_per_eval=8, **shapes)[0, 0]
    assert close(occlusion(image, scores(network), window=window, stride=stride), expected)


def test_integrated_gradients_are_captums(network, image):
    expected = IntegratedGradients(network).attribute(image, target=LABEL, n_steps=20)[0]
    assert close(integrated_gradients(image, scores(network), steps=20), expected)


def test_integrated_gradients_add_up_to_the_difference_of_the_scores(image):
    torch.manual_seed(0)
    smooth = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    baseline = torch.full_like(image, 0.5, dtype=torch.float64)
    score = scores(smooth)
    parts = integrated_gradients(image.double(), score, baseline=baseline)
    assert parts.sum().item() == pytest.approx((score(image.double()) - score(baseline)).item(), rel=1e-10)


def test_occlusion_covers_with_the_baseline_and_counts_windows(image):
    seen = []
    heat = occlusion(
        torch.ones(1, 1, 4, 4),
        lambda x: x.sum((1, 2, 3)),
        window=2,
        stride=2,
        baseline=3.0,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert torch.equal(heat, torch.full((4, 4), -8.0))
    assert seen == [(0, 4), (4, 4)]


def test_grad_cam_ends_at_zero_where_the_score_falls_with_the_layer(image):
    network = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU())
    assert grad_cam(network, image, lambda x: network(x).sum((1, 2, 3)), layer="1").max() > 0
    assert grad_cam(network, image, lambda x: -network(x).sum((1, 2, 3)), layer="1").max() == 0


def test_modes_hooks_and_gradients_of_weights_stay_as_they_were(image):
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(0.5)).train()
    grad_cam(network, image, lambda x: network(x).sum((1, 2, 3)), layer="0")
    assert network.training
    assert not network[0]._forward_hooks
    assert network[0].weight.grad is None


def test_settings_that_leave_pixels_out_and_layers_without_effect_are_refused(image):
    network = nn.ModuleDict({"used": nn.Conv2d(3, 2, 3), "spare": nn.Conv2d(3, 2, 3)})

    def score(x):
        network["spare"](x)
        return network["used"](x).sum((1, 2, 3))

    with pytest.raises(RecipeError, match="does not depend on layer 'spare'"):
        grad_cam(network, image, score, layer="spare")
    for window, stride in ((8, 9), (65, 1), (8, 0)):
        with pytest.raises(RecipeError, match=f"a window of {window} pixels every {stride} over 64x72"):
            occlusion(image, score, window=window, stride=stride)
    with pytest.raises(RecipeError, match="in 0 steps"):
        integrated_gradients(image, score, steps=0)
