"""Poses of any number of people: maps of joints, fields of limbs, and the people that both show together.

Heatmaps are the highest of the people's Gaussians, fields the average of their limbs' directions. Pixels of people that
are not labelled, IGNORE in the `mask` where a data set has one, take no part.

Source: Cao et al. 2017, arXiv:1611.08050.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import PIXELS, check_number
from unpool.metrics.people import PeopleScores
from unpool.ops import heatmaps
from unpool.ops.fields import affinity_fields
from unpool.ops.layout import Layout
from unpool.ops.parsing import parse
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.skeleton import draw_skeletons
from unpool.task import Description, Exhibit, TrainingSetup
from unpool.tasks.joints import points_to_image, points_to_maps, share_of_maps, unpaired_joints
from unpool.tasks.one_forward import OneForward
from unpool.types import IGNORE, Batch, DataInfo, FieldStages, Losses, Prediction, Term


class People(OneForward):
    """Squared errors of maps and fields at every stage, parsing, limbs joined right.

    Args:
        info: names of the joints, and the limbs, each of which has a field.
        size: deviation of the Gaussians, in pixels of the heatmaps, 0.1 to 1000.
        width: half of a limb's, in pixels of the heatmaps, 0.1 to 1000.
        preprocessing: what the images go through; refused where it cuts borders off.
    """

    needs = ("image", "people")
    points = ("people",)
    best = "limbs"
    takes = ("fields",)

    def __init__(
        self,
        info: DataInfo,
        *,
        size: Annotated[float, PIXELS] = 1.0,
        width: Annotated[float, PIXELS] = 1.0,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        if not info.keypoints or not info.limbs:
            raise RecipeError("people need names of joints and limbs between them; the data set gives none")
        (preprocessing or Preprocessing()).check_borders("on which joints may lie")
        self.info = info
        self.size = check_number("task.size", size, PIXELS)
        self.width = check_number("task.width", width, PIXELS)

    @property
    def outputs(self) -> int:
        """Heatmaps that the network must have: one a joint, and the background."""
        return len(self.info.keypoints) + 1

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "limbs": Description("limbs joined right", is_share=True),
            "limbs_precision": Description("found limbs that are right", is_share=True),
            "people_ratio": Description("people found for each person"),
            "oks_ap": Description("OKS-AP", is_share=True),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> FieldStages:
        """Fields and heatmaps, in training of every stage; outside of it of the last."""
        output = model(inputs["image"])
        if model.training:
            return output
        return FieldStages(output.fields[-1:], output.heatmaps[-1:])

    def loss(self, output: FieldStages, batch: Batch) -> Losses:
        """Squared errors of each stage, over pixels where everyone is labelled, by image.

        Raises:
            RecipeError: the network gives no fields, or another number of them than limbs, or of maps than joints.
        """
        self._check(output)
        size_hw = tuple(output.heatmaps[0].shape[-2:])
        fields, maps = self.labels(batch, size_hw)
        weight = _labelled(batch, size_hw)
        losses = {}
        for number, (predicted_fields, predicted_maps) in enumerate(
            zip(output.fields, output.heatmaps, strict=True), 1
        ):
            losses[f"fields_{number}"] = self._term(predicted_fields, fields, weight)
            losses[f"heatmaps_{number}"] = self._term(predicted_maps, maps, weight)
        return losses

    def labels(self, batch: Batch, size_hw: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, 2 * limbs, h, w) fields and (B, K + 1, h, w) heatmaps, the background last."""
        fields, maps = [], []
        for people, layout in zip(batch["people"], Layout.of(batch).each(), strict=True):
            points = points_to_maps(people[None], layout, size_hw)[0]
            joints = heatmaps.gaussians(points, size_hw, self.size)  # (N, K, h, w)
            joints = joints.amax(0) if len(people) else joints.new_zeros(joints.shape[1:])
            maps.append(torch.cat([joints, 1 - joints.amax(0, keepdim=True)]))
            fields.append(affinity_fields(points, self.info.limbs, size_hw, self.width))
        return torch.stack(fields), torch.stack(maps)

    def decode(self, output: FieldStages, inputs: Batch) -> Prediction:
        """people, a list of B (N, K, 2) on the image as decoded, NaN where a joint is missing, and score, of B (N,)."""
        people, scores = [], []
        size_hw = tuple(output.heatmaps[-1].shape[-2:])
        layouts = Layout.of(inputs).each()
        for fields, maps, layout in zip(output.fields[-1], output.heatmaps[-1], layouts, strict=True):
            parsed = parse(maps[:-1], fields, self.info.limbs)
            people.append(points_to_image(parsed.joints[None], layout, size_hw)[0])
            scores.append(parsed.scores)
        return {"people": people, "score": scores}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The joints' names, of each person the place of each joint or None, and how sure the person is."""
        people = [[None if x != x else [x, y] for x, y in one] for one in prediction["people"].tolist()]  # NaN != NaN
        return {"joints": list(self.info.keypoints), "people": people, "score": prediction["score"].tolist()}

    def brief(self, written: Mapping[str, Any]) -> str:
        """The number of people, and how sure each is."""
        count, scores = len(written["people"]), " ".join(f"{score:.2f}" for score in written["score"])
        return f"{count} {'person' if count == 1 else 'people'} {scores}".rstrip()

    def metric(self) -> PeopleScores:
        return PeopleScores(self.info)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 under the skeletons, each person in a colour."""
        people = torch.as_tensor(target["people"]).reshape(-1, len(self.info.keypoints), 2)
        shown = ~people.isnan().any(2)
        return draw_skeletons(image, people.nan_to_num(), shown, limbs=self.info.limbs)

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """Image, truth and answer, and how many people each has."""
        text = f"people: {len(target['people'])} in truth, {len(record['people'])} in the answer"
        return super().exhibit(image, target, record)._replace(caption=text)

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        people = [
            [(math.nan, math.nan) if at is None else (at[0] / step, at[1] / step) for at in one]
            for one in record["people"]
        ]
        return {**record, "people": people}

    def warnings(self, setup: TrainingSetup) -> list[str]:
        return unpaired_joints(self.info, setup)

    def _term(self, predicted: Tensor, target: Tensor, weight: Tensor) -> Term:
        square = (predicted.float() - target).square() * weight
        count = torch.tensor(float(len(predicted)), device=predicted.device)
        return Term(square.sum() / heatmaps.mass("gaussian", self.size), count)

    def _check(self, output: FieldStages) -> None:
        limbs, maps = 2 * len(self.info.limbs), self.outputs
        if not isinstance(output, FieldStages):
            raise RecipeError("the network finds no limbs; people need one with fields, such as openpose")
        if output.fields[0].shape[1] != limbs or output.heatmaps[0].shape[1] != maps:
            raise RecipeError(
                f"the network gives {output.fields[0].shape[1]} channels of fields and {output.heatmaps[0].shape[1]} "
                f"heatmaps where {limbs} and {maps} were due; build it with limbs={limbs // 2} and num_classes={maps}"
            )


def _labelled(batch: Batch, size_hw: Sequence[int]) -> Tensor:
    """(B, 1, h, w): share of each pixel of the map that shows the image, and everyone on it is labelled."""
    layout = Layout.of(batch)
    known = layout.is_valid()
    if "mask" in batch:
        known = known & (layout.masks_to_input(batch["mask"], padding=IGNORE) != IGNORE)
    return share_of_maps(known, size_hw)
