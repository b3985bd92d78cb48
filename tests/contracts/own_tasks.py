"""Two tasks that no table of the source names, and a process that trains one until it is killed."""

import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import unpool
from tests.contracts.own_readers import Bars, Things, draw_line
from unpool.data.readers import READERS
from unpool.task import Baseline, Description, Task
from unpool.tasks import TASKS
from unpool.tasks.one_forward import OneForward
from unpool.training.callbacks import Callback
from unpool.types import Batch, DataInfo, Losses, Prediction, Term

FEATURES = 6  # numbers that describe an image to `LargestThing`


class LargestThing(OneForward):
    """Class and box of the largest thing: the class is that of the nearest of its own parameters, the centres."""

    needs = ("image", "boxes", "labels")
    files = ("box.txt",)
    best = "corner_error"

    def __init__(self, info: DataInfo, *, pull: float = 0.5) -> None:
        super().__init__()
        self.info, self.pull = info, pull
        self.centres = nn.Parameter(torch.randn(len(info.classes), FEATURES))
        self.norm = nn.BatchNorm1d(FEATURES)

    @property
    def outputs(self) -> int:
        return FEATURES + 4

    @property
    def described(self):
        distance = {"unit": "pixels", "higher_is_better": False}
        return {
            "right_class": Description("largest thing's class right", is_share=True),
            "corner_error": Description("distance of the corners", **distance),
            "corner_error_of": Description("distance of corners", each="class", **distance),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> tuple[Tensor, Tensor]:
        output = model(inputs["image"])
        return self.norm(output[:, :FEATURES].float()), output[:, FEATURES:].sigmoid()

    def loss(self, output: tuple[Tensor, Tensor], batch: Batch) -> Losses:
        features, corners = output
        held = torch.tensor([i for i, boxes in enumerate(batch["boxes"]) if len(boxes)], dtype=torch.int64)
        count = torch.tensor(float(len(held)))
        largest = [_largest(batch["boxes"][i]) for i in held]
        labels = [batch["labels"][i][n] for i, n in zip(held, largest, strict=True)]
        wanted = [batch["boxes"][i][n] / _sides(batch["size_hw"][i]) for i, n in zip(held, largest, strict=True)]
        if not wanted:
            return {name: Term(0 * features.sum(), count) for name in ("classes", "corners")}
        classes = nn.functional.cross_entropy(-self.distances(features[held]), torch.stack(labels), reduction="sum")
        error = (corners[held] - torch.stack(wanted)).abs().sum()
        return {"classes": Term(classes, count, weight=self.pull), "corners": Term(error, count)}

    def distances(self, features: Tensor) -> Tensor:
        """(B, N): squared distance of each image's features to each centre."""
        return (features[:, None] - self.centres).square().sum(2)

    def decode(self, output: tuple[Tensor, Tensor], inputs: Batch) -> Prediction:
        features, corners = output
        score, label = (-self.distances(features)).softmax(1).max(1)
        boxes = [part * _sides(size_hw) for part, size_hw in zip(corners, inputs["size_hw"], strict=True)]
        return {
            "boxes": [box[None] for box in boxes],
            "labels": list(label[:, None]),
            "score": list(score[:, None]),
        }

    def metric(self) -> "ThingScores":
        return ThingScores(self.info.classes)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {
            "class": self.info.classes[int(prediction["labels"][0])],
            "box": prediction["boxes"][0].tolist(),
            "score": float(prediction["score"][0]),
        }

    def draw(self, image: Tensor, target: Any) -> Tensor:
        image = image.expand(3, -1, -1).clone()
        for left, top, right, bottom in [target["box"]] if "box" in target else target["boxes"].tolist():
            image[:, int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = 255
        return image

    def thinned(self, record: Any, step: int) -> dict[str, Any]:
        return {**record, "box": [side / step for side in record["box"]]}

    def write(self, record: Any, stem: Path) -> dict[str, Any]:
        path = stem.with_name(f"{stem.name}_box.txt")
        path.write_text(" ".join(f"{side:.2f}" for side in record["box"]))
        return {"class": record["class"], "score": record["score"], "box": path.name}


class ThingScores:
    """Over the images that hold a thing; the largest one counts."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.right: list[bool] = []
        self.errors: dict[str, list[float]] = {name: [] for name in classes}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        for i, boxes in enumerate(batch["boxes"]):
            if len(boxes):
                largest = _largest(boxes)
                label = int(batch["labels"][i][largest])
                error = float((prediction["boxes"][i][0] - boxes[largest]).abs().mean())
                self.right.append(int(prediction["labels"][i]) == label)
                list(self.errors.values())[label].append(error)

    def merge(self, other: "ThingScores") -> None:
        self.right += other.right
        for name, errors in other.errors.items():
            self.errors[name] += errors

    def compute(self) -> dict[str, Any]:
        errors = [error for of_class in self.errors.values() for error in of_class]
        return {
            "right_class": _mean(self.right),
            "corner_error": _mean(errors),
            "corner_error_of": {name: _mean(of_class) for name, of_class in self.errors.items()},
        }


class Angle(Task):
    """The angle of a line; losses see a blurred image, answers the mean of an image and its half turn."""

    needs = ("image", "angle_deg")
    best = "angle_error"
    described = {  # noqa: RUF012
        "angle_error": Description("error of the angle", unit="degrees", higher_is_better=False),
        "within_20": Description("angles within 20 degrees", is_share=True),
    }

    def __init__(self, info: DataInfo, *, shake: float = 0.2) -> None:
        super().__init__()
        self.shake = shake

    @property
    def outputs(self) -> int:
        """Cosine and sine of twice the angle."""
        return 2

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        image = batch["image"]
        found = model(image + self.shake * torch.randn_like(image) if model.training else image).float()
        likeness = nn.functional.cosine_similarity(found, doubled(batch["angle_deg"]))
        return {"turn": Term((1 - likeness).sum(), torch.tensor(float(len(image))))}

    def answer(self, model: nn.Module, inputs: Batch) -> Prediction:
        image = inputs["image"]
        twice = (model(image) + model(image.flip((2, 3)))).float()
        return {"twice": twice, "score": twice.norm(dim=1)}

    def metric(self) -> "AngleScores":
        return AngleScores()

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {"degrees": float(half_angle(prediction["twice"])), "score": float(prediction["score"])}

    def draw(self, image: Tensor, target: Any) -> Tensor:
        return draw_line(image, float(target["degrees"] if "degrees" in target else target["angle_deg"]))

    def baseline(self, train: Any, val: Any, metrics: Any) -> Baseline:
        return Baseline("angle_error", 45.0, "A guess at random.")


class AngleScores:
    def __init__(self) -> None:
        self.errors: list[float] = []

    def update(self, prediction: Prediction, batch: Batch) -> None:
        apart = (half_angle(prediction["twice"]) - batch["angle_deg"]).abs() % 180
        self.errors += torch.minimum(apart, 180 - apart).tolist()

    def merge(self, other: "AngleScores") -> None:
        self.errors += other.errors

    def compute(self) -> dict[str, Any]:
        return {"angle_error": _mean(self.errors), "within_20": _mean([e < 20 for e in self.errors])}


def doubled(angle_deg: Tensor) -> Tensor:
    """(..., 2): cosine and sine of twice an angle, which are the same after half a turn."""
    twice = (2 * angle_deg).deg2rad()
    return torch.stack([twice.cos(), twice.sin()], -1)


def half_angle(twice: Tensor) -> Tensor:
    """The way back from `doubled`: degrees from 0 to 180."""
    return torch.atan2(twice[..., 1], twice[..., 0]).rad2deg() / 2 % 180


def _mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values else None


def _largest(boxes: Tensor) -> int:
    return int(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).argmax())


def _sides(size_hw: Tensor) -> Tensor:
    """(4,): width, height, width, height."""
    return size_hw.flip(0).repeat(2).float()


OWN_TASKS = {"largest_thing": LargestThing, "angle": Angle}
OWN_READERS = {"things": Things}  # the other task's reader is given as an object


def readers(name: str) -> dict[str, Any]:
    """The readers that `train` and `resume` get as objects."""
    return {"train": Bars(split="train"), "val": Bars(split="val")} if name == "angle" else {}


class Hang(Callback):
    """Says so and waits to be killed, within a step: the state of the step before is the newest on disk."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, job: Any, record: Any) -> None:
        if record.step == self.step:
            sys.stdout.write("hangs\n")
            sys.stdout.flush()
            time.sleep(120)


if __name__ == "__main__":
    TASKS.update(OWN_TASKS)
    READERS.update(OWN_READERS)
    unpool.train(sys.argv[2], run=Path(sys.argv[3]), callbacks=[Hang(int(sys.argv[4]))], **readers(sys.argv[1]))
