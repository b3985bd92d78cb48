import pytest
import torch
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from unpool import models
from unpool.models.detection.mask_rcnn import with_joints

HW = (64, 96)
NARROW = {"backbone": "resnet18", "width": 4, "neck_width": 8, "head_width": 8}


def small(name, **options):
    torch.manual_seed(0)
    narrow = {"mask_width": 8} if name.startswith("mask") else {"joint_width": 8}
    return models.build(name, **NARROW, **narrow, **options)


@pytest.mark.parametrize(
    ("name", "frozen", "trained"),
    [("maskrcnn_resnet50_fpn", 44_401_393, 44_454_513), ("keypointrcnn_resnet50_fpn", 59_137_258, 59_190_378)],
)
def test_published_networks_have_torchvisions_number_of_parameters(name, frozen, trained):
    counts = {}
    with torch.device("meta"):
        for norms in ("frozen", "trained"):
            counts[norms] = sum(p.numel() for p in models.build(name, norms=norms).parameters())
    assert counts == {"frozen": frozen, "trained": trained}


def test_branches_are_those_of_the_paper():
    with torch.device("meta"):
        masks, joints = (models.build(f"{one}rcnn_resnet50_fpn") for one in ("mask", "keypoint"))
    of_masks = 4 * (9 * 256**2 + 256) + (4 * 256**2 + 256) + 91 * 257
    of_joints = (9 * 256 * 512 + 512) + 7 * (9 * 512**2 + 512) + (16 * 512 * 17 + 17)
    counted = [sum(p.numel() for p in network.branch.parameters()) for network in (masks, joints)]
    assert counted == [of_masks, of_joints]
    assert (masks.branch_pool.side, masks.branch_pool.kind) == (14, "align_by_corners")


@pytest.mark.parametrize(("name", "shape"), [("maskrcnn", (6, 28, 28)), ("keypointrcnn", (5, 56, 56))])
def test_every_region_has_a_map_of_each_class_or_joint(name, shape):
    model = small(name, num_classes=5).eval()
    with torch.no_grad():
        output = model(torch.randn(2, 3, *HW))
        two = torch.tensor([[0.0, 0, 40, 50], [5, 6, 90, 60]])
        assert model.region_maps(output.maps, [two, two[:1]], HW).shape == (3, *shape)
        assert model.region_maps(output.maps, [two[:0], two[:0]], HW).shape == (0, *shape)


def test_masks_start_near_a_half_and_joints_differ():
    """Scores of masks from N(0, 0.001^2), so that their first loss is log 2 a cell."""
    masks, joints = small("maskrcnn", num_classes=20), small("keypointrcnn")
    assert float(masks.branch.logits.weight.detach().std()) == pytest.approx(0.001, rel=0.2)
    assert joints.branch.deconv.weight.detach().std() > 0.01


@pytest.mark.parametrize("name", ["maskrcnn", "keypointrcnn"])
def test_deconvolutions_start_as_wide_as_torchvisions(name):
    """Twice as wide, the first loss of joints is 9.0 for 8.3, and the first gradient ten times as long."""
    ours = small(name).branch.deconv.weight.detach()
    masks, joints = MaskRCNNPredictor(8, 8, 2).conv5_mask, KeypointRCNNPredictor(8, 17).kps_score_lowres
    theirs = (masks if name == "maskrcnn" else joints).weight.detach()
    assert ours.shape == theirs.shape
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.2)


def test_joints_of_the_published_network_lie_where_torchvision_counts_them():
    with torch.device("meta"):
        assert (small("keypointrcnn").joint_centre, models.build("keypointrcnn_resnet50_fpn").joint_centre) == (
            0.5,
            0.0,
        )


def test_people_are_the_only_things_of_keypoint_rcnn():
    model = small("keypointrcnn", num_classes=3).eval()
    with torch.no_grad():
        output = model(torch.randn(1, 3, *HW))
        classified = model.classify(output.maps, [torch.tensor([[0.0, 0, 40, 50]])], HW)
    assert classified.scores.shape == (1, 2)
    assert with_joints.__kwdefaults__["num_classes"] == 17
