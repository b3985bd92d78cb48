"""Skeletons of known data sets, and the drawing of people. Left and right are those of the person."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from unpool.ops.drawing import distinct_colours
from unpool.ops.sides import side_of

LSP = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck", "head_top"),
)
LSP_LIMBS = (
    *((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11)),
    *((12, 13), (8, 12), (9, 12), (2, 12), (3, 12)),
)
# they connect the joints of a person whose neck is hidden: redundant connections of Cao et al. 2019, arXiv:1812.08008
TRUNK_LIMBS = ((2, 8), (3, 9), (2, 3), (8, 9))
COCO_NECK_LIMBS = (  # of COCO's joints and a neck: ZheC/Realtime_Multi-Person_Pose_Estimation, in its order
    *(("neck", "right_shoulder"), ("neck", "left_shoulder"), ("right_shoulder", "right_elbow")),
    *(("right_elbow", "right_wrist"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    *(("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("neck", "nose")),
    *(("nose", "right_eye"), ("right_eye", "right_ear"), ("nose", "left_eye"), ("left_eye", "left_ear")),
    *(("right_shoulder", "right_ear"), ("left_shoulder", "left_ear")),
)
COCO_LIMBS = (  # of COCO's joints, in the order of its annotations
    *(("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee")),
    *(("right_knee", "right_hip"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip")),
    *(("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow")),
    *(("right_shoulder", "right_elbow"), ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    *(("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear")),
    *(("right_eye", "right_ear"), ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")),
)
TORSO = ("left_shoulder", "right_hip")
HEAD = ("neck", "head_top")
WARM, COLD, MIDDLE = (240, 150, 40), (50, 140, 240), (90, 200, 90)  # RGB of limbs
SIDES = (("the person's left", WARM), ("the person's right", COLD), ("neither side", MIDDLE))
_LEAST_SIDE = 192  # pixels; smaller images are enlarged so that a skeleton is visible


def joints_named(names: Sequence[str], wanted: tuple[str, str]) -> tuple[int, int] | None:
    """Returns the indices of two joints in `names`, or None if one of them is missing.

    Example:
        >>> joints_named(["neck", "left_hip", "right_hip"], ("right_hip", "neck"))
        (2, 0)
    """
    first, second = wanted
    return (names.index(first), names.index(second)) if {first, second} <= set(names) else None


def limbs_named(names: Sequence[str], limbs: Sequence[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """Returns the limbs both of whose joints are in `names`, as their indices.

    Example:
        >>> limbs_named(["nose", "left_eye"], COCO_LIMBS)
        ((0, 1),)
    """
    return tuple(pair for limb in limbs if (pair := joints_named(names, limb)))


def draw_skeletons(
    image: Tensor, people: Tensor, visible: Tensor, *, limbs: Sequence[tuple[int, int]], sides: Sequence[str] = ()
) -> Tensor:
    """Draws limbs as lines and joints as dots on an image.

    Args:
        image: (C, H, W) uint8, C 1 or 3; a small image is enlarged by repeating pixels.
        people: (N, K, 2) x, y in pixels of the image.
        visible: (N, K) bool: joints to be drawn; a limb is drawn if both of its joints are.
        limbs: pairs of joints.
        sides: names of the joints; limbs on the person's left become orange, on the right blue. Without names each
            person has a colour.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> image, visible = torch.zeros(3, 200, 300, dtype=torch.uint8), torch.ones(1, 2, dtype=torch.bool)
        >>> picture = draw_skeletons(image, torch.tensor([[[50.0, 100.0], [250.0, 100.0]]]), visible, limbs=[(0, 1)])
        >>> picture.shape, picture[:, 100, 150]  # on the limb
        (torch.Size([3, 200, 300]), tensor([242,  82,  61], dtype=torch.uint8))
    """
    factor = max(1, -(-_LEAST_SIDE // max(image.shape[-2:])))
    large = image.cpu().expand(3, -1, -1).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    picture = Image.fromarray(large.permute(1, 2, 0).contiguous().numpy())
    draw = ImageDraw.Draw(picture)
    width = max(2, max(picture.size) // 120)
    points = ((people.cpu().float() + 0.5) * factor - 0.5).tolist()
    colours = distinct_colours(max(len(points), 1))
    for number, (joints, shown) in enumerate(zip(points, visible.cpu().tolist(), strict=True)):
        for first, second in limbs:
            if shown[first] and shown[second]:
                colour = _side_colour(sides[first], sides[second]) if sides else colours[number]
                draw.line((*joints[first], *joints[second]), fill=colour, width=width)
        for (x, y), is_shown in zip(joints, shown, strict=True):
            if is_shown:
                draw.ellipse((x - width, y - width, x + width, y + width), fill=(255, 255, 255), outline=(20, 20, 20))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _side_colour(first: str, second: str) -> tuple[int, int, int]:
    sides = {side_of(first), side_of(second)}
    if "left" in sides:
        return WARM
    return COLD if "right" in sides else MIDDLE
