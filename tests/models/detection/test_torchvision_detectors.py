"""torchvision's detectors and ours, with the same weights, give the same numbers and the same boxes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN, KeypointRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from unpool import models
from unpool.models.fitting import COUNT
from unpool.models.weights import assign_weights, from_torchvision
from unpool.ops import boxes as box_ops
from unpool.ops.skeleton import COCO_LIMBS, limbs_named
from unpool.tasks.instances import Instances
from unpool.tasks.people_in_boxes import PeopleInBoxes
from unpool.types import DataInfo

HW = (64, 96)  # divided by 32 and not by 64: torchvision's steps between the positions of the map of stride 64 are 48
frozen_fpn = partial(resnet_fpn_backbone, backbone_name="resnet18", weights=None)


def image(size_hw=HW):
    return torch.randn(2, 3, *size_hw, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def listed(x):
    return ImageList(x, [tuple(x.shape[-2:])] * len(x))


def pair(build, name, **options):
    """torchvision's detector and ours of one set of weights, made without the time of two initialisations."""
    with torch.device("meta"):
        theirs, ours = build(), models.build(name, **options)
    theirs, ours = (network.to_empty(device="cpu").double().eval() for network in (theirs, ours))
    torch.manual_seed(1)
    for name, tensor in theirs.state_dict().items():
        is_last = any(part in name for part in ("cls_", "bbox_", "module_list"))  # boxes and scores of some variety
        side = (0.02 if is_last else 1) * (6 / max(tensor[0].numel(), 6)) ** 0.5
        nn.init.uniform_(tensor, -side, side) if tensor.dim() > 1 else nn.init.uniform_(tensor, 0.4, 0.8)
    counts = {key: tensor for key, tensor in ours.state_dict().items() if key.endswith(COUNT)}
    assign_weights(ours, {**counts, **from_torchvision(theirs.state_dict())}, source="torchvision")
    return theirs, ours


def close(mine, torchvisions, relative=1e-5):
    torch.testing.assert_close(mine, torchvisions, rtol=1e-5, atol=relative * float(torchvisions.abs().max()))


def same_answers(mine, theirs):
    """Boxes of each image matched one to one, each with the nearest of its class."""
    for a, b in zip(mine, theirs, strict=True):
        assert len(b["boxes"]) >= 50
        rows = [torch.cat([x["boxes"], 1e3 * x["labels"][:, None], 10 * x["scores"][:, None]], 1) for x in (a, b)]
        apart = (rows[0][:, None] - rows[1][None]).abs().amax(2)  # 1e-4 of a pixel, 1e-5 of a score
        nearest = apart.argmin(1)
        assert torch.equal(nearest.sort().values, torch.arange(len(b["boxes"])))
        assert apart.amin(1).max() < 1e-4


def test_torchvisions_faster_rcnn_gives_the_same_boxes():
    def build():
        return FasterRCNN(frozen_fpn(), num_classes=7, box_score_thresh=0.0, rpn_post_nms_top_n_test=40)

    theirs, ours = pair(build, "fasterrcnn_resnet50_fpn", backbone="resnet18", num_classes=6, norms="frozen_no_eps")
    overwrite_eps(theirs, 0.0)  # as torchvision does with its published weights
    x = image()
    with torch.no_grad():
        maps = theirs.backbone(x)
        proposals, _ = theirs.rpn(listed(x), maps)
        expected, _ = theirs.roi_heads(maps, proposals, [HW] * 2)
        output = ours(x)
        for mine, torchvisions in zip(output.maps, maps.values(), strict=False):
            close(mine, torchvisions)
        moved = box_ops.decode(output.deltas, output.anchors)
        counts = output.level.bincount().tolist()
        regions, _ = theirs.rpn.filter_proposals(moved, output.objectness, [HW] * 2, counts)
        for mine, torchvisions in zip(regions, proposals, strict=True):
            torch.testing.assert_close(mine, torchvisions, rtol=0, atol=1e-4)
        classified = ours.classify(output.maps, regions, HW)
        answers = theirs.roi_heads.postprocess_detections(
            classified.scores, classified.deltas.flatten(1), regions, [HW] * 2
        )
    same_answers([dict(zip(("boxes", "scores", "labels"), one, strict=True)) for one in zip(*answers)], expected)  # noqa: B905


def matched(mine, theirs):
    """Row of ours for each of torchvision's boxes: 1e-4 of a pixel, 1e-5 of a score."""
    same_answers([mine], [theirs])
    rows = [torch.cat([x["boxes"], 1e3 * x["labels"][:, None]], 1) for x in (theirs, mine)]
    return (rows[0][:, None] - rows[1][None]).abs().amax(2).argmin(1)


def answers_of_both(theirs, ours, task, regions=40):
    """What torchvision's network and ours, with their task, say of an image; any score is enough, as for theirs."""
    overwrite_eps(theirs, 0.0)  # as torchvision does with its published weights
    ours.practice = replace(ours.practice, score=0.0, proposing=replace(ours.practice.proposing, most=regions))
    x = image()[:1]
    with torch.no_grad():
        maps = theirs.backbone(x)
        proposals, _ = theirs.rpn(listed(x), maps)
        expected, _ = theirs.roi_heads(maps, proposals, [HW])
        seen = task.forward(ours, {"image": x})
        answer = task.answer(ours, {"image": x})
    for one in expected:
        one["labels"] -= 1  # of the background
    mine = [
        {"boxes": boxes, "labels": labels, "scores": score}
        for boxes, labels, score in zip(answer["boxes"], answer["labels"], answer["score"], strict=True)
    ]
    return expected, mine, answer, seen


def test_torchvisions_mask_rcnn_gives_the_same_boxes_and_masks():
    """Grids of 28x28 to 1e-5; torchvision rounds boxes before it draws them: test_region_maps.py has the pixels."""

    def build():
        narrow = {"mask_head": MaskRCNNHeads(256, (16,) * 4, 1), "mask_predictor": MaskRCNNPredictor(16, 16, 7)}
        classes = {"box_predictor": FastRCNNPredictor(1024, 7)}
        return MaskRCNN(frozen_fpn(), box_score_thresh=0.0, rpn_post_nms_top_n_test=40, **narrow, **classes)

    options = {"backbone": "resnet18", "num_classes": 6, "norms": "frozen_no_eps", "mask_width": 16}
    theirs, ours = pair(build, "maskrcnn_resnet50_fpn", **options)
    task = Instances(DataInfo(classes=tuple("abcdef")))
    expected, mine, answer, seen = answers_of_both(theirs, ours, task)
    for one, other in zip(expected, mine, strict=True):
        matched(other, one)
    with torch.no_grad():
        grids = seen.region_maps([one["boxes"] for one in expected], 7).sigmoid()
    labels = torch.cat([one["labels"] for one in expected]) + 1
    shares = torch.cat([one["masks"] for one in expected])[:, 0]
    assert shares.std() > 0.05
    torch.testing.assert_close(grids[torch.arange(len(labels)), labels], shares.float(), rtol=0, atol=1e-5)
    assert all(masks.shape == (len(boxes), *HW) for masks, boxes in zip(answer["masks"], answer["boxes"], strict=True))


def test_torchvisions_keypoint_rcnn_gives_the_same_boxes_and_joints():
    """Joints to a thousandth of a pixel, but for one in a hundred, whose map has two places of nearly one height."""

    def build():
        heads = {
            "keypoint_head": KeypointRCNNHeads(256, (16,) * 8),
            "keypoint_predictor": KeypointRCNNPredictor(16, 17),
        }
        few = {"rpn_post_nms_top_n_test": 70, "box_score_thresh": 0.0, "box_nms_thresh": 0.9}
        return KeypointRCNN(frozen_fpn(), 2, **heads, **few)

    options = {"backbone": "resnet18", "norms": "frozen_no_eps", "joint_width": 16}
    theirs, ours = pair(build, "keypointrcnn_resnet50_fpn", **options)
    names = tuple(dict.fromkeys(name for limb in COCO_LIMBS for name in limb))
    task = PeopleInBoxes(DataInfo(keypoints=names, limbs=limbs_named(names, COCO_LIMBS)))
    ours.practice = replace(ours.practice, nms=0.9)
    expected, mine, answer, _ = answers_of_both(theirs, ours, task, regions=70)
    for one, other, people in zip(expected, mine, answer["people"], strict=True):
        apart = (people[matched(other, one)] - one["keypoints"][..., :2]).abs().amax(2)
        assert (apart < 1e-3).double().mean() > 0.99


def test_torchvisions_retinanet_gives_the_same_boxes():
    def build():
        body = frozen_fpn(returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
        return RetinaNet(body, 7, anchor_generator=_default_anchorgen(), score_thresh=0.0)

    theirs, ours = pair(build, "retinanet_resnet50_fpn", backbone="resnet18", num_classes=7)
    x = image()
    with torch.no_grad():
        maps = list(theirs.backbone(x).values())
        raw, anchors = theirs.head(maps), theirs.anchor_generator(listed(x), maps)
        output = ours(x)
    close(output.scores, raw["cls_logits"])
    close(output.deltas, raw["bbox_regression"])
    torch.testing.assert_close(output.anchors, anchors[0].float(), rtol=0, atol=1e-4)
    counts = output.level.bincount().tolist()

    def answers(scores, deltas, anchors):
        heads = {"cls_logits": list(scores.split(counts, 1)), "bbox_regression": list(deltas.split(counts, 1))}
        return theirs.postprocess_detections(heads, [list(anchors.split(counts))] * 2, [HW] * 2)

    same_answers(
        answers(output.scores, output.deltas, output.anchors),
        answers(raw["cls_logits"], raw["bbox_regression"], anchors[0]),
    )


def ssd300s():
    build = torchvision.models.detection.ssd300_vgg16
    theirs = partial(build, weights=None, weights_backbone=None, num_classes=5, score_thresh=0.0)
    return pair(theirs, "ssd300_vgg16", num_classes=4)


def compare_ssd300(theirs, ours, x):
    with torch.no_grad():
        maps = list(theirs.backbone(x).values())
        raw, anchors = theirs.head(maps), theirs.anchor_generator(listed(image((300, 300))[:1]), maps)
        output = ours(image((300, 300))[:1])
    close(output.scores, raw["cls_logits"])
    close(output.deltas, raw["bbox_regression"])
    torch.testing.assert_close(output.anchors, anchors[0].float(), rtol=0, atol=1e-4)
    mine = theirs.postprocess_detections(
        {"cls_logits": output.scores, "bbox_regression": output.deltas}, [output.anchors], [(300, 300)]
    )
    same_answers(mine, theirs.postprocess_detections(raw, anchors, [(300, 300)]))


def test_torchvisions_ssd300_gives_the_same_boxes_behind_conv4():
    """VGG's first stages are compared in test_weights.py and take most of the time."""
    theirs, ours = ssd300s()
    x = torch.rand(1, 512, 38, 38, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    theirs.backbone.features = nn.Identity()
    ours.read = lambda _: (x, ours.backbone.stages[4](ours.backbone.pool(x)))
    compare_ssd300(theirs, ours, x)


@pytest.mark.slow
def test_torchvisions_ssd300_gives_the_same_boxes():
    theirs, ours = ssd300s()
    compare_ssd300(theirs, ours, image((300, 300))[:1])


@pytest.mark.parametrize(
    "name",
    [
        *("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "ssd300_vgg16"),
        *("maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"),
    ],
)
def test_every_name_of_torchvisions_detectors_is_one_of_ours(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None)
        ours = models.build(name, norms="trained")
    assign_weights(ours, from_torchvision(theirs.state_dict()), source="torchvision")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("backbone.fpn.inner_blocks.1.weight", "neck.pyramid.lateral.1.weight"),
        ("backbone.fpn.layer_blocks.3.bias", "neck.pyramid.smooth.3.bias"),
        ("rpn.head.conv.weight", "proposals.conv.weight"),
        ("roi_heads.mask_head.mask_fcn3.weight", "branch.conv3.weight"),
    ],
)
def test_names_of_files_of_before_torchvision_0_14_are_the_same_layers(old, new):
    marks = {name: torch.zeros(1) for name in ("backbone.body.conv1.weight", "rpn.head.cls_logits.weight", old)}
    assert new in from_torchvision(marks)


@pytest.mark.parametrize(("old", "layer"), [("0.weight", "conv0.weight"), ("4.bias", "conv2.bias")])
def test_names_of_the_subnets_in_older_files_are_the_same_layers(old, layer):
    marks = {name: torch.zeros(1) for name in ("backbone.body.conv1.weight", f"head.regression_head.conv.{old}")}
    assert f"deltas.{layer}" in from_torchvision(marks)
