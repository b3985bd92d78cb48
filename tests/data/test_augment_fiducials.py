"""After every geometry a joint lies on its spot, masks keep their values, and left and right trade names."""

import pytest
import torch
from torch import Tensor

from unpool.data.augment import AUGMENTATIONS, Augment, Geometry
from unpool.ops.preprocessing import Preprocessing
from unpool.types import IGNORE, Batch, DataInfo, Sample

GEOMETRIES = [name for name, kind in AUGMENTATIONS.items() if issubclass(kind, Geometry)]
OPTIONS = {
    "translate": {"fraction": 0.1},
    "rotate": {"degrees": 30},
    "expand": {"largest": 1.5},
    "shear": {"degrees": 20},
    "shorter_side": {"range": (70, 110)},
    "elastic": {"deviation": 6},
    "elastic_gaussian": {"sigma": 8, "alpha": 60},
    "lens": {"strength": 0.2},
}
CHAINS = [["elastic", "rotate", "lens", "scale"], ["lens", "resized_crop", "elastic"], ["elastic", "iou_crop", "flip"]]
SPOTS = torch.tensor([[20.0, 20.0], [100.0, 22.0], [60.0, 45.0], [24.0, 70.0], [96.0, 74.0], [70.3, 30.6]])
SIZE = (90, 120)
DEVIATION = 1.8  # of a spot, in pixels


def spotted(index: int) -> Sample:
    """Each joint is a spot of light in a channel of its own; the mask's classes are 3 and 7."""
    height, width = SIZE
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    square = (x - SPOTS[:, :1, None]).square() + (y - SPOTS[:, 1:, None]).square()  # (6, H, W)
    return {
        "image": (250 * torch.exp(-square / (2 * DEVIATION**2))).round().to(torch.uint8),
        "mask": torch.where((x // 8 + y // 8) % 2 == 0, 3, 7).to(torch.uint8),
        "keypoints": SPOTS.clone(),
        "visible": torch.ones(6, dtype=torch.bool),
        "boxes": torch.tensor([[30.0, 20.0, 80.0, 70.0]]),
        "labels": torch.tensor([0]),
        "index": torch.tensor(index),
        "size_hw": torch.tensor(SIZE),
    }


def changed(
    names: list[str],
    *,
    size_hw: tuple[int, int] | None = None,
    info: DataInfo | None = None,
    options: dict[str, dict] = OPTIONS,
) -> Batch:
    dark = Preprocessing(channels=6, mean=(0.0,) * 6, std=(1.0,) * 6)
    steps = [AUGMENTATIONS[name](**options.get(name, {})) for name in names]
    change = Augment(steps, size_hw=size_hw, preprocessing=dark, info=info or DataInfo(), seed=0)
    return change([spotted(i) for i in range(6)], 0)


def centre_of_light(image: Tensor) -> Tensor:
    """(2,) x, y of the centre of mass."""
    light = image.double()
    y, x = (torch.arange(side, dtype=torch.float64) for side in light.shape)
    return torch.stack(((light.sum(0) * x).sum(), (light.sum(1) * y).sum())) / light.sum()


def assert_joints_lie_on_their_spots(batch: Batch) -> None:
    height, width = batch["image"].shape[-2:]
    compared = 0
    for image, keypoints, visible in zip(batch["image"], batch["keypoints"], batch["visible"], strict=True):
        for light, point, shows in zip(image, keypoints, visible, strict=True):
            reach = 3 * (float(light.double().sum()) / 250 / 6.28) ** 0.5  # of a spot of this many pixels
            edge = min(point[0], point[1], width - 1 - point[0], height - 1 - point[1])
            if shows and edge > reach:  # no part of it is cut
                assert (centre_of_light(light) - point).norm() < 0.5, (centre_of_light(light), point)
                compared += 1
    assert compared > 5


@pytest.mark.parametrize("names", [*([name] for name in GEOMETRIES), *CHAINS], ids="-".join)
@pytest.mark.parametrize("size_hw", [None, (80, 100)])
def test_joints_lie_on_their_spots_within_half_a_pixel(names, size_hw):
    assert_joints_lie_on_their_spots(changed(names, size_hw=size_hw))


@pytest.mark.parametrize("names", [*([name] for name in GEOMETRIES), *CHAINS], ids="-".join)
def test_values_of_a_mask_are_those_of_before(names):
    assert set(changed(names)["mask"].unique().tolist()) <= {3, 7, IGNORE}


def test_steps_before_a_field_act_once():
    options = OPTIONS | {"lens": {"strength": 0}}
    turned = [changed(names, options=options)["image"].int() for names in (["rotate"], ["rotate", "lens"])]
    assert (turned[0] - turned[1]).abs().max() <= 1


@pytest.mark.parametrize("names", [["flip"], ["elastic", "flip", "lens"]], ids="-".join)
def test_left_joint_lies_on_the_spot_of_the_right_one_after_a_mirror(names):
    info = DataInfo(keypoints=tuple("abcdef"), flip_pairs=((0, 1), (3, 4)))
    batch = changed(names, info=info)
    image, points = batch["image"], batch["keypoints"]
    mirrored = points[:, 0, 0] > points[:, 1, 0] if names == ["flip"] else None
    trades = [1, 0, 2, 4, 3, 5]
    for i in range(len(image)):
        straight, traded = (
            max(float((centre_of_light(image[i, order[k]]) - points[i, k]).norm()) for k in (0, 1, 3, 4))
            for order in (list(range(6)), trades)
        )
        assert min(straight, traded) < 0.7
        is_mirrored = bool(centre_of_light(image[i, 0])[0] > centre_of_light(image[i, 1])[0])
        assert (traded < straight) == is_mirrored
        assert mirrored is None or not mirrored[i]
