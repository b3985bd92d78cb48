"""Detectors give what their papers say, on every backbone that has the maps, and say why on one that has not."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.ssd import SSD

from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.models import BACKBONES, detection
from unpool.models.detection import practice
from unpool.types import AnchoredBoxes, ProposedRegions

SMALL = {"neck_width": 8, "head_width": 8, "extra_width": 8, "proposal_width": 8, "width": 8}
ON_ANY = ("fasterrcnn", "ssd", "retinanet")
OF_PROPOSALS = [name for name, row in detection.MODELS.items() if row.reads_proposals]


def small(name, **options):
    torch.manual_seed(0)
    backbone = options.get("backbone")
    known = models.known_options(name, backbone=backbone)
    return models.build(name, **{**{key: value for key, value in SMALL.items() if key in known}, **options})


def test_resnet101_c4_has_the_parameters_that_a_hand_counts():
    """Convolutions of the ResNet, the two 1x1 layers of nine anchors behind 512 channels, and the classes."""

    def blocks(before, width, count):
        each = width * 4 * width + 9 * width**2 + width * 4 * width
        return before * width + 9 * width**2 + width * 4 * width + before * 4 * width + (count - 1) * each

    resnet = 3 * 64 * 49 + blocks(64, 64, 3) + blocks(256, 128, 4) + blocks(512, 256, 23) + blocks(1024, 512, 3)
    proposals = 1024 * 512 * 9 + 512 + (2 + 4) * 9 * (512 + 1)
    classes = (1 + 4) * 21 * (2048 + 1)
    assert resnet + proposals + classes == detection.MODELS["fasterrcnn_resnet101_c4"].params
    assert resnet == 44_549_160 - 1000 * 2049 - 2 * 52_672  # the published classifier without classes and norms


@pytest.mark.parametrize(
    "name",
    [one for one, row in detection.MODELS.items() if row.gives == "boxes" and "101" not in one and "yolo" not in one],
)
def test_every_anchor_has_scores_deltas_and_a_map(name):
    size_hw = (257, 273) if name.startswith("ssd300") else (65, 97)
    output = small(name, num_classes=3).eval()(torch.rand(2, 3, *size_hw))
    count = len(output.anchors)
    assert output.deltas.shape == (2, count, 4)
    assert output.level.shape == (count,)
    assert output.anchors.dtype == torch.float32
    assert (output.anchors[:, 2:] > output.anchors[:, :2]).all()
    if isinstance(output, AnchoredBoxes):
        assert output.scores.shape == (2, count, 3 if name.startswith("retinanet") else 4)
    else:
        assert output.objectness.shape == (2, count)


@pytest.mark.parametrize("name", ["fasterrcnn", "fasterrcnn_vgg16", "fasterrcnn_zf", "fasterrcnn_resnet101_c4"])
def test_regions_are_classified_with_the_background_first_and_a_box_for_each_class(name):
    model = small(name, num_classes=3, **({"backbone": "resnet18"} if "c4" in name else {})).eval()
    image = torch.rand(2, 3, 64, 96)
    output = model(image)
    boxes = [torch.tensor([[0.0, 0, 40, 40], [10, 20, 90, 60]]), torch.tensor([[3.0, 5, 33, 50]])]
    scores, deltas = model.classify(output.maps, boxes, (64, 96))
    assert (scores.shape, deltas.shape) == ((3, 4), (3, 4, 4))
    alone = model(image[1:])
    torch.testing.assert_close(model.classify(alone.maps, boxes[1:], (64, 96)).scores, scores[2:], rtol=1e-4, atol=1e-6)


def test_coarsest_default_boxes_of_a_small_ssd_lie_about_the_middle_of_the_image():
    output = small("ssd", num_classes=3).eval()(torch.rand(1, 3, 96, 160))
    for level in (3, 4):
        corners = output.anchors[output.level == level].reshape(-1, 2, 2)
        assert corners.mean((0, 1)).tolist() == pytest.approx([80, 48])


def test_no_region_is_classified_as_none():
    model = small("fasterrcnn", num_classes=3)
    output = model(torch.rand(1, 3, 64, 64))
    scores, deltas = model.classify(output.maps, [torch.zeros(0, 4)], (64, 64))
    assert (scores.shape, deltas.shape) == ((0, 4), (0, 4, 4))


def test_conv5_of_the_c4_form_reads_regions_and_not_the_image():
    model = small("fasterrcnn_resnet101_c4", backbone="resnet18").eval()
    image, seen = torch.rand(1, 3, 64, 64), []
    model.backbone.stages[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    output = model(image)
    assert seen == []
    torch.testing.assert_close(output.maps[0], model.backbone(image)[-2])
    seen.clear()
    model.classify(output.maps, [torch.tensor([[0.0, 0, 40, 40]])], (64, 64))
    assert seen == [(1, 32, 14, 14)]


@pytest.mark.parametrize("backbone", ["resnet18", "cifar_resnet20", "vgg11", "zf", "googlenet"])
@pytest.mark.parametrize("name", ON_ANY)
def test_detector_stands_on_a_backbone_of_every_family_or_says_what_it_lacks(name, backbone):
    strides = {"fasterrcnn": "4, 8, 16, 32", "ssd": "8, 16, 32", "retinanet": "8, 16, 32"}[name]
    with torch.device("meta"):
        if set(map(int, strides.split(", "))) <= set(BACKBONES[backbone].build(width=8).strides):
            output = small(name, backbone=backbone).eval()(torch.empty(1, 3, 65, 97))
            assert isinstance(output, AnchoredBoxes | ProposedRegions)
            return
        with pytest.raises(
            RecipeError, match=f"{name} reads the maps at strides {strides}, and this backbone has none"
        ):
            small(name, backbone=backbone)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_ANY)
def test_detector_stands_on_a_backbone_of_timm(name):
    pytest.importorskip("timm")
    model = small(name, backbone="timm/efficientnet_lite0", norms="frozen").train()
    assert not any(m.training for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert len(model(torch.rand(1, 3, 97, 131)).anchors)


def test_c4_form_refuses_a_network_without_conv5():
    with pytest.raises(RecipeError, match="C4 form classifies regions with conv5 of a ResNet, and VGG has none"):
        small("fasterrcnn_resnet101_c4", backbone="vgg11")


@pytest.mark.parametrize("side", [257, 256])
def test_ssd300_refuses_an_image_that_is_too_small(side):
    model, image = small("ssd300").eval(), torch.rand(1, 3, side, 300)
    if side == 257:
        assert model(image).level.max() == 5
        return
    with pytest.raises(DataError, match=r"map of stride 16 is \(16, 19\) .* give images of 257 pixels or more"):
        model(image)


@pytest.mark.parametrize("name", [name for name, row in detection.MODELS.items() if row.kind == "composed"])
def test_frozen_norms_stay_in_evaluation_and_trained_ones_do_not(name):
    options = {"backbone": "resnet18"}
    with torch.device("meta"):
        for norms, trains in (("frozen", False), ("trained", True)):
            model = small(name, norms=norms, **options).train()
            kinds = {m.training for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)}
            assert kinds == {trains}


def test_retinanet_scores_every_class_at_one_in_a_hundred_before_training():
    scores = small("retinanet", num_classes=3, neck_width=16).eval()(torch.rand(1, 3, 64, 64)).scores
    torch.testing.assert_close(scores.sigmoid(), torch.full_like(scores, 0.01), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("name", "path", "std"),
    [
        ("fasterrcnn", "proposals.conv", 0.01),
        ("fasterrcnn", "proposals.objectness", 0.01),
        ("fasterrcnn", "proposals.deltas", 0.01),
        ("fasterrcnn", "classifier.scores", 0.01),
        ("fasterrcnn", "classifier.deltas", 0.001),
        ("retinanet", "scores.conv0", 0.01),
        ("retinanet", "scores.last", 0.01),
        ("retinanet", "deltas.last", 0.01),
        ("ssd", "scores.0", math.sqrt(2 / (9 * (16 + 4 * 21)))),
        ("ssd", "extra.more.0.2", math.sqrt(2 / (9 * (16 + 32)))),
    ],
)
def test_weights_start_as_the_papers_say(name, path, std):
    options = {key: 32 for key in ("neck_width", "head_width", "extra_width") if key in models.known_options(name)}
    layer = small(name, **options).get_submodule(path)
    assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.1)
    assert layer.bias is None or path == "scores.last" or not layer.bias.any()


@pytest.mark.parametrize("name", ON_ANY)
def test_anchors_of_a_recipe_are_those_of_the_maps(name):
    sides = [8 * (i + 1) for i in range(10)]
    with torch.device("meta"):
        model = small(name, anchors=sides)
    assert model.anchors.shapes == tuple(((sides[2 * i], sides[2 * i + 1]),) for i in range(5))
    anchors, _ = model.anchors([torch.zeros(1, 1, 1, 1)] * 5, (64, 96))
    assert (anchors[:, 2] - anchors[:, 0]).tolist() == sides[::2]
    with pytest.raises(RecipeError, match="as many anchors for each of 5 maps"):
        small(name, anchors=[8, 8, 16, 16])


def test_poolings_of_the_papers_networks_round_up():
    with torch.device("meta"):
        for name, cells in (("fasterrcnn_vgg16", (3, 4)), ("fasterrcnn_zf", (4, 5))):
            assert small(name)(torch.empty(1, 3, 40, 60)).maps[0].shape[2:] == cells
            assert small(name[11:])(torch.empty(1, 3, 40, 60)).shape == (1, 1000)
        maps = models.build("vgg16").backbone(torch.empty(1, 3, 40, 60))
        assert maps[4].shape[2:] == (2, 3)


def defaults(function):
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def test_practice_on_a_pyramid_is_torchvisions():
    theirs, ours = defaults(FasterRCNN.__init__), practice.FPN
    assert ours == practice.Practice(
        positive=theirs["box_fg_iou_thresh"],
        negative=theirs["box_bg_iou_thresh"],
        samples=theirs["box_batch_size_per_image"],
        positive_share=theirs["box_positive_fraction"],
        beta=1 / 9,
        score=theirs["box_score_thresh"],
        nms=theirs["box_nms_thresh"],
        most=theirs["box_detections_per_img"],
        proposing=practice.Proposing(
            positive=theirs["rpn_fg_iou_thresh"],
            negative=theirs["rpn_bg_iou_thresh"],
            samples=theirs["rpn_batch_size_per_image"],
            positive_share=theirs["rpn_positive_fraction"],
            nms=theirs["rpn_nms_thresh"],
            train_candidates=theirs["rpn_pre_nms_top_n_train"],
            candidates=theirs["rpn_pre_nms_top_n_test"],
            train_most=theirs["rpn_post_nms_top_n_train"],
            most=theirs["rpn_post_nms_top_n_test"],
        ),
    )


def test_practice_of_one_stage_is_torchvisions():
    ssd, retinanet = defaults(SSD.__init__), defaults(RetinaNet.__init__)
    assert (
        replace(
            practice.SSD,
            positive=ssd["iou_thresh"],
            score=ssd["score_thresh"],
            nms=ssd["nms_thresh"],
            candidates_of_class=ssd["topk_candidates"],
            most=ssd["detections_per_img"],
            negatives=(1 - ssd["positive_fraction"]) / ssd["positive_fraction"],
        )
        == practice.SSD
    )
    assert (
        replace(
            practice.FOCAL,
            positive=retinanet["fg_iou_thresh"],
            negative=retinanet["bg_iou_thresh"],
            score=retinanet["score_thresh"],
            nms=retinanet["nms_thresh"],
            candidates_of_map=retinanet["topk_candidates"],
            most=retinanet["detections_per_img"],
        )
        == practice.FOCAL
    )


def test_practice_of_the_paper_is_its_releases():
    paper, proposing = practice.PAPER, practice.PAPER.proposing
    assert (paper.samples, paper.positive_share, paper.positive, paper.nms) == (128, 0.25, 0.5, 0.3)
    assert (proposing.positive, proposing.negative, proposing.samples, proposing.positive_share) == (0.7, 0.3, 256, 0.5)
    assert (proposing.train_candidates, proposing.train_most, proposing.candidates, proposing.most) == (
        *(12000, 2000),
        *(6000, 300),
    )
    assert (proposing.nms, proposing.least_side, proposing.is_inside) == (0.7, 16, True)
    assert proposing.beta == pytest.approx(1 / 3**2)


def test_deltas_have_the_published_weights():
    weights = {name: small(name, backbone="resnet18").box_weights for name in ("fasterrcnn", "ssd", "retinanet")}
    assert weights == {"fasterrcnn": (10, 10, 5, 5), "ssd": (10, 10, 5, 5), "retinanet": (1, 1, 1, 1)}
