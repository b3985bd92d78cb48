"""People and their joints, each person in a box: poses of several people from the top down.

Beside `people`, which joins the joints of everybody from maps of the whole image, this answers person by person.

Source: He et al. 2017, arXiv:1703.06870, section 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from unpool.errors import RecipeError
from unpool.metrics.people_in_boxes import PeopleInBoxesFigures
from unpool.ops.drawing import distinct_colours
from unpool.ops.drawing_boxes import SURE, draw_things
from unpool.ops.heatmaps import mirror_order
from unpool.ops.layout import Layout
from unpool.ops.people import as_things
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.region_maps import NOWHERE, joint_targets, joints_in
from unpool.ops.skeleton import draw_skeletons
from unpool.task import Description, TrainingSetup
from unpool.tasks.detection import Detection
from unpool.tasks.detection_answers import Selection
from unpool.tasks.detection_losses import Regions
from unpool.tasks.detection_output import Seen, require_branch
from unpool.tasks.joints import unpaired_joints
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term

PERSON = "person"  # the only class


class PeopleInBoxes(Detection):
    """Detection of people, and each joint as one cell of a grid of 56x56 in the box; average precision by OKS.

    A joint is learned of the regions that answer for its person and hold it, by the cross-entropy of all cells. People
    without labels (`ignored`) teach nothing: they are neither to be detected nor background.

    Args:
        info: names of the joints, and the limbs.
        preprocessing: see `Detection`.
        samples: the same.
    """

    needs = ("image", "boxes", "people")
    points = ("boxes", "people")
    published = MappingProxyType({"coco": "coco_keypointrcnn"})
    takes = ("boxes_and_joints",)
    averages = "the people of all, of whom one whose box overlaps a better one is left out"
    joins_networks = False

    def __init__(
        self, info: DataInfo, *, preprocessing: Preprocessing | None = None, samples: Samples | None = None
    ) -> None:
        if not info.keypoints:
            raise RecipeError("people in boxes need names of joints; the data set gives none")
        super().__init__(replace(info, classes=(PERSON,), palette=()), preprocessing=preprocessing, samples=samples)
        self.best = "oks_ap"

    @property
    def outputs(self) -> int:
        """Joints: the only things are people."""
        return len(self.info.keypoints)

    @property
    def described(self) -> Mapping[str, Description]:
        boxes = super().described
        return {
            "oks_ap": Description("OKS-AP", is_share=True),
            "oks_ap50": Description("OKS-AP at 0.5", is_share=True),
            "oks_ap75": Description("OKS-AP at 0.75", is_share=True),
            **{
                name: one._replace(title=f"boxes: {one.title}") if name.startswith("a") else one
                for name, one in boxes.items()
                if one.each != "class"  # there is one
            },
        }

    def freeze(self, model: nn.Module) -> None:
        return

    def forward(self, model: nn.Module, inputs: Batch) -> Seen:
        require_branch(model, "joints", such_as="keypointrcnn")
        return super().forward(model, inputs)

    def loss(self, output: Seen, batch: Batch) -> Losses:
        """Those of detection, and `joints`."""
        return super().loss(output, as_things(batch))

    def losses_of_boxes(self, seen: Seen, regions: Sequence[Regions], batch: Batch) -> Losses:
        """`joints`: cross-entropy over the cells of a region, by joint that lies in it."""
        boxes = [one.boxes[: len(one.rows)] for one in regions]
        maps = seen.region_maps(boxes, self.outputs)  # (P, K, m, m)
        targets = [
            joint_targets(people[one.rows] + _centre(seen), on_image, maps.shape[-1])
            for people, one, on_image in zip(
                batch["people"], regions, Layout.of(batch).boxes_to_image(boxes), strict=True
            )
        ]
        target = torch.cat(targets)  # (P, K)
        each = cross_entropy(maps.flatten(2).flatten(0, 1), target.flatten(), ignore_index=NOWHERE, reduction="sum")
        return {"joints": Term(each, (target != NOWHERE).sum().float())}

    def answers_of_boxes(
        self, seen: Seen, selected: Sequence[Selection], boxes: Sequence[Tensor], inputs: Batch
    ) -> Prediction:
        """people (N, K, 2) on the image, a list of B; every joint of a person has an answer."""
        on_input = [one.boxes for one in selected]
        maps = seen.region_maps(on_input, self.outputs).split([len(one) for one in on_input])
        people, least = [], getattr(seen.detector, "joint_steps", maps[0].shape[-1])
        for of_image, of_boxes, layout in zip(maps, on_input, Layout.of(inputs).each(), strict=True):
            moved = layout.points_to_image(joints_in(of_image, of_boxes, least=least)[None] - 0.5)[0]
            people.append(moved + 0.5 - _centre(seen))
        return {"people": people}

    def unmirrored(self, opinion: Prediction, inputs: Batch) -> Prediction:
        order = mirror_order(self.outputs, self.info.flip_pairs)
        widths = inputs["size_hw"][:, 1].tolist()
        people = [
            torch.stack([width - 1 - one[..., 0], one[..., 1]], dim=2)[:, order]
            for one, width in zip(opinion["people"], widths, strict=True)
        ]
        return {**super().unmirrored(opinion, inputs), "people": people}

    def metric(self) -> Any:
        return PeopleInBoxesFigures(self.info)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """That of detection, the joints' names, and of each person the position of each joint."""
        people = prediction["people"].tolist()
        return {**super().record(prediction), "joints": list(self.info.keypoints), "people": people}

    def brief(self, written: Mapping[str, Any]) -> str:
        """How many people there are, of those that are likelier than not."""
        count = sum(score >= SURE for score in written["score"])
        return f"{count} {'person' if count == 1 else 'people'}"

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 under skeletons and boxes, of an answer those that are likelier than not.

        Everybody has a colour, which skeleton and box share.
        """
        people = torch.as_tensor(target["people"]).reshape(-1, len(self.info.keypoints), 2)
        shown = ~people.isnan().any(2)
        if "score" in target:
            shown &= (torch.as_tensor(target["score"]) >= SURE)[:, None]
        picture = draw_skeletons(image, people.nan_to_num(), shown, limbs=self.info.limbs)
        times = picture.shape[-1] // image.shape[-1]
        boxes = torch.as_tensor(target["boxes"]).reshape(-1, 4) * times
        each = {**target, "boxes": boxes, "labels": torch.arange(len(people))}
        colours = distinct_colours(max(len(people), 1))
        return draw_things(picture, each, classes=[PERSON] * len(people), palette=colours, least=SURE)

    @property
    def legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """Empty: a colour says who, not what."""
        return ()

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """The score of the surest box where nobody is."""
        return super().sure_mistake(prediction, as_things(batch))

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        people = [[(x / step, y / step) for x, y in one] for one in record["people"]]
        return {**super().thinned(record, step), "people": people}

    def warnings(self, setup: TrainingSetup) -> list[str]:
        return [*super().warnings(setup), *unpaired_joints(self.info, setup)]


def _centre(seen: Seen) -> float:
    """Where in its pixel a joint lies, as boxes are counted."""
    return float(getattr(cast(Any, seen.detector), "joint_centre", 0.5))
