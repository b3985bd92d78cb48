"""What every way to find the joints of one person shares: needs, metric, picture, and the pixels of maps.

Targets lie on an image of `size_hw`: in training the window of the augmentation, in evaluation the image as decoded.
Predictions lie on it too; `valid_xyxy` says where the network's input shows it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.pose import PoseScores
from unpool.ops.heatmaps import mirror_order
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.sides import side_of
from unpool.ops.skeleton import SIDES, TORSO, draw_skeletons, joints_named
from unpool.task import Description, Exhibit, TrainingSetup
from unpool.tasks.one_forward import OneForward
from unpool.types import Batch, DataInfo, Prediction

WRONG_FROM = 0.2  # of the longer side of the person; a joint further away is a mistake worth looking at


class Joints(OneForward):
    """Base of the tasks that find one person's joints.

    Args:
        info: names of the joints, those that trade places in a mirror, and limbs.
        preprocessing: what the images go through; refused where it cuts borders off, on which joints may lie.
        flip_test: answer outside of training by the mean of image and mirrored image.
    """

    needs = ("image", "keypoints", "visible")
    points = ("keypoints",)
    views = ("flip",)
    averages = "what the network gives for the image and for its mirror image, left and right exchanged"

    def __init__(self, info: DataInfo, preprocessing: Preprocessing | None, *, flip_test: bool) -> None:
        super().__init__()
        if not info.keypoints:
            raise RecipeError("a pose needs names of joints; the data set gives none")
        (preprocessing or Preprocessing()).check_borders("on which joints may lie")
        self.info = info
        # by the torso; by the person where the torso's joints have other names
        self.best = "pck_person@0.2" if joints_named(info.keypoints, TORSO) is None else "pck@0.2"
        self.flip_test = flip_test
        self.order = mirror_order(len(info.keypoints), info.flip_pairs)

    def take_over(self, views: Sequence[str]) -> list[str]:
        """Mirror images are `flip_test`.

        Raises:
            RecipeError: a joint that is left or right by its name has no partner to change places with.
        """
        paired = {joint for pair in self.info.flip_pairs for joint in pair}
        alone = [name for i, name in enumerate(self.info.keypoints) if i not in paired and side_of(name)]
        if "flip" in views and alone:
            raise RecipeError(
                f"joint {alone[0]} is left or right and has no partner in a mirror image: train with data.flip_pairs, "
                "or leave flip out"
            )
        self.flip_test = self.flip_test or "flip" in views
        return [name for name in views if name != "flip"]

    def opinion(self, model: nn.Module, inputs: Batch) -> Prediction:
        return self.answer(model, inputs)

    def conclude(self, model: nn.Module, opinions: Sequence[Prediction], inputs: Batch) -> Prediction:
        """The one opinion that there is: views are `flip_test`, and networks are not joined."""
        return opinions[0]

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "pck@0.2": Description("PCK at 0.2 of the torso", is_share=True),
            "pck@0.1": Description("PCK at 0.1 of the torso", is_share=True),
            "pckh@0.5": Description("PCK at half of the head", is_share=True),
            "pck_person@0.2": Description("PCK at 0.2 of the person", is_share=True),
            "pcp": Description("limbs right (PCP)", is_share=True),
            "oks_ap": Description("OKS-AP", is_share=True),
            "mean_error": Description("mean error", unit="pixels", higher_is_better=False),
            "pck_of_joints": Description("PCK at 0.2", is_share=True, each="joint"),
            "mean_error_of_joints": Description("Mean error", unit="pixels", higher_is_better=False, each="joint"),
            "error_by_size": Description(
                "Mean error in longer sides of the person", is_share=True, higher_is_better=False, each="size"
            ),
        }

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The joints' names, the place of each and how sure it is."""
        return {
            "joints": list(self.info.keypoints),
            "keypoints": prediction["keypoints"].tolist(),
            "score": prediction["score"].tolist(),
        }

    def brief(self, written: Mapping[str, Any]) -> str:
        """The number of joints, and how sure they are on average."""
        scores = written["score"]
        return f"{len(scores)} joints {sum(scores) / len(scores):.2f}"

    def metric(self) -> PoseScores:
        return PoseScores(self.info)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 under the skeleton: limbs on the person's left are warm, on its right cold."""
        joints = torch.as_tensor(target["keypoints"])[None]
        visible = target.get("visible")
        shown = torch.ones(joints.shape[:2], dtype=torch.bool) if visible is None else torch.as_tensor(visible)[None]
        return draw_skeletons(image, joints, shown, limbs=self.info.limbs, sides=self.info.keypoints)

    @property
    def legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """Colours of the person's sides, where joints are named by them."""
        return SIDES if any(map(side_of, self.info.keypoints)) else ()

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """Image, truth and answer, and how far apart the joints are."""
        visible = torch.as_tensor(target["visible"])
        apart = (torch.as_tensor(record["keypoints"]) - torch.as_tensor(target["keypoints"])).norm(dim=1)[visible]
        text = f"mean error {float(apart.mean()):.1f} pixels, {len(apart)} joints" if len(apart) else "no visible joint"
        return super().exhibit(image, target, record)._replace(caption=text)

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """The score of the surest joint that is off by more than 0.2 of the longer side of the person."""
        truth, visible = batch["keypoints"][0].cpu(), batch["visible"][0].cpu().bool()
        if not bool(visible.any()):
            return None
        side = (truth[visible].amax(0) - truth[visible].amin(0)).amax()
        apart = (prediction["keypoints"][0].cpu() - truth).norm(dim=1)
        wrong = prediction["score"][0].cpu()[visible & (apart > WRONG_FROM * side)]
        return float(wrong.max()) if len(wrong) else None

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        return {**record, "keypoints": [[x / step, y / step] for x, y in record["keypoints"]]}

    def warnings(self, setup: TrainingSetup) -> list[str]:
        return unpaired_joints(self.info, setup, flip_test=self.flip_test)


def unpaired_joints(info: DataInfo, setup: TrainingSetup, *, flip_test: bool = False) -> list[str]:
    """A warning where images are mirrored and no joint has a partner, or one that is left or right by name has none.

    Where the recipe has data.flip_pairs empty, nothing is missed.
    """
    asked = ["data.augment has flip"] if "flip" in setup.augmentations else []
    asked += ["task.flip_test is set"] if flip_test else []
    if not asked or len(info.keypoints) < 2 or (setup.chooses_pairs and not info.flip_pairs):
        return []
    paired = {joint for pair in info.flip_pairs for joint in pair}
    alone = [name for i, name in enumerate(info.keypoints) if i not in paired]
    sided = [name for name in alone if side_of(name)]
    if not paired:
        problem = f"no joint trades places in a mirror: {', '.join(alone[:8])}{', ...' if len(alone) > 8 else ''}"
    elif sided:
        problem = "these joints are left or right and have no partner to trade places with in a mirror: "
        middle = [name for name in alone if name not in sided]
        problem += ", ".join(sided)
        problem += f"; these are taken as lying on the middle: {', '.join(middle)}" if middle else ""
    else:
        return []
    return [
        f"{' and '.join(asked)}, but {problem}; name the two sides left_ and right_ (left_eye, right_eye) in the data, "
        "set data.flip_pairs=[[NAME, PARTNER], ...], empty for no pairs, or leave mirroring out"
    ]


def map_stride(map_: int, image: int) -> float:
    """Pixels of the image by pixel of the map, from a side of each.

    A power of two; where that is not possible and the map goes into the image, how often it does.
    """
    power = 2.0 ** round(math.log2(image / map_))
    is_rounded = map_ in (math.floor(image / power), math.ceil(image / power))
    return power if is_rounded or image % map_ else image / map_


def map_strides(maps_hw: Sequence[int], input_hw: Sequence[int]) -> tuple[float, float]:
    """Pixels of the input by pixel of the maps, down and across.

    Where no stride is full, networks leave out the last pixels of the input or reach beyond them.
    """
    return map_stride(maps_hw[0], input_hw[0]), map_stride(maps_hw[1], input_hw[1])


def points_to_maps(points: Tensor, layout: Layout, maps_hw: Sequence[int]) -> Tensor:
    """(B, ..., 2): points of the image in pixels of a network's maps."""
    return layout.points_to_input(points, maps_hw, stride_hw=map_strides(maps_hw, layout.input_hw))


def points_to_image(points: Tensor, layout: Layout, maps_hw: Sequence[int]) -> Tensor:
    """(B, ..., 2): points of a network's maps in pixels of the image."""
    return layout.points_to_image(points, maps_hw, stride_hw=map_strides(maps_hw, layout.input_hw))


def share_of_maps(pixels: Tensor, maps_hw: Sequence[int]) -> Tensor:
    """(B, 1, h, w): share of each pixel of a network's maps that is True in `pixels` (B, H, W) of its input."""
    strides = map_strides(maps_hw, pixels.shape[-2:])
    height, width = (round(side * stride) for side, stride in zip(maps_hw, strides, strict=True))
    return nn.functional.adaptive_avg_pool2d(pixels[:, None, :height, :width].float(), (maps_hw[0], maps_hw[1]))
