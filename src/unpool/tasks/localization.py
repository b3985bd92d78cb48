"""Classification and localisation: of each image the class and the box of a known number of things, by regression.

A network has a head of classes and one of boxes, `locate` (`LocatedBoxes`). Corners run from -0.5 to 0.5 across the
network's input, as the joints of DeepPose do (arXiv:1312.4659, section 3), and cost their squared distance (L2). Of a
head with a box for each class only that of the true class is compared, so that no other gets a gradient.

The lecture's steps are `learn`: "classes" first, then the layers of the boxes alone ("boxes") on a network that starts
from the weights of such a run, which stays as it is to the bit, its batch norms included; "both" learns at once.

Of several things, the answers belong to the things of an image so that the sum of squared distances is least
(`ops.assignment`), whatever order a file has them in; or, where the classes name the things, such as the whole cat and
its head, answer i is that of class i (`order` "class"). Neither is guessed: the recipe says which.
"""

import weakref
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import WEIGHT, check_number
from unpool.metrics.localization import LEFT_OUT, NEAR, LocalizationScores, counted
from unpool.ops.assignment import MOST, least_cost
from unpool.ops.boxes import iou
from unpool.ops.drawing import complete_palette
from unpool.ops.drawing_boxes import draw_things
from unpool.ops.layout import Layout
from unpool.ops.losses import label_cross_entropy
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.regression_losses import NEAR_SIDES, RegressionLoss, check_regression_loss, regression_errors
from unpool.task import Baseline, Description, Exhibit, TrainingSetup
from unpool.tasks.located_things import alone, boxes_on_image, check_things, most_frequent, of_classes, truth_of
from unpool.tasks.one_forward import OneForward
from unpool.types import Batch, DataInfo, LocatedBoxes, Losses, Prediction, Samples, Term

TOP = 5  # classes that an answer ranks
THINGS = Interval(ge=1, le=MOST)
_HEAD = "locate"  # of a network: the module that gives its boxes


class Localization(OneForward):
    """Cross-entropy and squared distances of corners; success, IoU and accuracy.

    An image that augmentation leaves with fewer things than it must show takes part in no loss.

    Args:
        info: class names.
        things: that each image shows, exactly; boxes of crowds and difficult ones do not count.
        order: whose answer is whose, of several things: by "least_cost", or the one of each "class".
        learn: "both", the "classes" alone, or the "boxes" alone, by training the network's `locate` and nothing else.
        box_weight: of the boxes' loss.
        box_loss: of the corners of a thing, added: "mse", their squared distance, "mae", or "huber", which is squared
            up to a twentieth of the input.
        preprocessing: what the images go through; refused where it cuts borders off, on which boxes may lie.
    """

    needs = ("image", "boxes", "labels")
    points = ("boxes",)
    takes = ("scores_and_boxes",)

    def __init__(
        self,
        info: DataInfo,
        *,
        things: Annotated[int, THINGS] = 1,
        order: Literal["least_cost", "class"] = "least_cost",
        learn: Literal["both", "classes", "boxes"] = "both",
        box_weight: Annotated[float, WEIGHT] = 10.0,
        box_loss: RegressionLoss = "mse",
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        if not info.classes:
            raise RecipeError("localisation needs class names; the data set gives none")
        (preprocessing or Preprocessing()).check_borders("on which boxes may lie")
        self.info = info
        self.things = int(check_number("task.things", things, THINGS))
        self.by_class = order == "class"
        if self.by_class and self.things != len(info.classes):
            raise RecipeError(
                f"task.order is class, for one thing of each of the {len(info.classes)} classes, and task.things is "
                f"{things}: set it to {len(info.classes)}, or task.order to least_cost"
            )
        self.learn = learn
        self.box_weight = check_number("task.box_weight", box_weight, WEIGHT)
        self.box_loss: RegressionLoss = check_regression_loss("task.box_loss", box_loss)
        self.best = "top1" if learn == "classes" else "success_top1"
        self._frozen: tuple[weakref.ref[nn.Module], ...] = ()

    @property
    def outputs(self) -> int:
        """Scores of each thing."""
        return len(self.info.classes)

    @property
    def described(self) -> Mapping[str, Description]:
        is_ranked = self.outputs > TOP
        success = {"success": Description("success, class of five and IoU 0.5", is_share=True)} if is_ranked else {}
        top5 = {"top5": Description("top-5 accuracy", is_share=True)} if is_ranked else {}
        return {
            "success_top1": Description("success, class and IoU 0.5", is_share=True),
            **success,
            "mean_iou": Description("mean IoU", is_share=True),
            "top1": Description("accuracy", is_share=True),
            **top5,
            "iou": Description("IoU", is_share=True, each="class"),
            "recall": Description("Recall", is_share=True, each="class"),
            "confusion": Description("Confusion", unit="things", each="class", is_matrix=True),
        }

    def freeze(self, model: nn.Module) -> None:
        """Takes the gradient of what is not learned; with `learn` "boxes" its batch norms and dropout rest too.

        Raises:
            RecipeError: the network has no module `locate`.
        """
        if self.learn == "both":
            return
        head = dict(model.named_children()).get(_HEAD)
        if head is None:
            raise RecipeError(f"task.learn is {self.learn}, and the network has no module {_HEAD} that gives boxes")
        if self.learn == "classes":
            head.requires_grad_(requires_grad=False)
            return
        model.requires_grad_(requires_grad=False)
        head.requires_grad_()
        trained = set(head.modules())
        rest = [module for module in model.modules() if module not in trained and module is not model]
        self._frozen = tuple(map(weakref.ref, rest))  # weak, so that a copy of the task is no copy of the network

    def train(self, mode: bool = True) -> "Localization":  # noqa: FBT001, FBT002  # as torch has it
        """As every module; what is frozen stays as in evaluation. The task is set after its network."""
        super().train(mode)
        for reference in self._frozen:
            if (module := reference()) is not None:
                module.training = False
        return self

    def forward(self, model: nn.Module, inputs: Batch) -> LocatedBoxes:
        return model(inputs["image"])

    def loss(self, output: LocatedBoxes, batch: Batch) -> Losses:
        """Cross-entropy, and errors of the corners of true classes in sides of the input; by thing.

        Raises:
            RecipeError: the network gives other numbers than those of the things and classes.
        """
        scores, boxes = self._parts(output)
        known, corners, labels = truth_of(batch, self.things)  # (M,), (M, N, 4), (M, N)
        answered = of_classes(boxes[known], labels)  # (M, N things, N answers, 4)
        target = corners[:, :, None].expand_as(answered)
        costs = regression_errors(answered, target, self.box_loss, delta=NEAR_SIDES).sum(3)
        order = labels if self.by_class else least_cost(costs.detach())  # (M, N) the answer of each thing
        count = torch.tensor(float(labels.numel()), device=labels.device)
        mine = scores[known].gather(1, order[..., None].expand(-1, -1, scores.shape[2]))
        classes = label_cross_entropy(mine.flatten(0, 1), labels.flatten())
        distances = Term(costs.gather(2, order[..., None]).sum(), count, self.box_weight)
        losses = {"cross_entropy": classes, "boxes": distances}
        return {name: term for name, term in losses.items() if self.learn in ("both", _LEARNED[name])}

    def decode(self, output: LocatedBoxes, inputs: Batch) -> Prediction:
        """The things of each image, the surest first, or, where classes name them, in the order of the classes.

        Returns:
            Lists of B: boxes (N, 4) on the image as decoded and within it, labels (N,) and score (N,), the most likely
            class (of equal ones the lower) and its probability; top_labels and top_scores (N, min(5, K)), and
            top_boxes (N, min(5, K), 4), the box of each of these classes.
        """
        scores, boxes = self._parts(output)
        labels = scores.argsort(dim=2, descending=True, stable=True)[..., :TOP]  # (B, N, T)
        probability = scores.softmax(2).gather(2, labels)
        index = labels.clamp(max=boxes.shape[2] - 1)[..., None].expand(-1, -1, -1, 4)
        chosen = boxes_on_image(boxes.gather(2, index), Layout.of(inputs))  # (B, N, T, 4)
        answers: Prediction = {"boxes": [], "labels": [], "score": []}
        answers |= {"top_labels": [], "top_scores": [], "top_boxes": []}
        for label, score, box in zip(labels, probability, chosen, strict=True):
            order = torch.arange(len(score)) if self.by_class else score[:, 0].argsort(descending=True, stable=True)
            for key, value in (("labels", label), ("score", score), ("boxes", box)):
                answers[key].append(value[order, 0])
            for key, value in (("top_labels", label), ("top_scores", score), ("top_boxes", box)):
                answers[key].append(value[order])
        return answers

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The things: box, class by number and name, probability; the same of the next classes."""
        labels = prediction["labels"].tolist()
        return {
            "boxes": prediction["boxes"].tolist(),
            "labels": labels,
            "classes": [self.info.classes[label] for label in labels],
            **{key: prediction[key].tolist() for key in ("score", "top_labels", "top_scores", "top_boxes")},
        }

    def brief(self, written: Mapping[str, Any]) -> str:
        named = zip(written["classes"], written["score"], written["boxes"], strict=True)
        return "; ".join(f"{name} {score:.2f} at {' '.join(f'{x:.0f}' for x in box)}" for name, score, box in named)

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        return {**record, "boxes": [[x / step for x in box] for box in record["boxes"]]}

    def metric(self) -> LocalizationScores:
        return LocalizationScores(self.info.classes, by_class=self.by_class)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with each box and its class, and the probability where it is known."""
        palette = complete_palette(self.info.palette, self.outputs)
        return draw_things(image, target, classes=self.info.classes, palette=palette)

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """Truth and answer side by side, and the IoU of the best answer for each thing."""
        kept = alone({key: target[key] for key in ("boxes", "labels", *LEFT_OUT) if key in target})
        truth, labels = counted(kept, 0)
        overlaps = iou(truth, torch.as_tensor(record["boxes"]).reshape(-1, 4)).amax(1).tolist()
        names = ", ".join(self.info.classes[label] for label in labels.tolist())
        text = f"truth: {names}, answer: {', '.join(record['classes'])}, IoU {', '.join(f'{x:.2f}' for x in overlaps)}"
        is_right = labels.tolist() == record["labels"] and overlaps[0] >= NEAR if self.things == 1 else None
        drawn = (("truth", self.draw(image, target)), ("prediction", self.draw(image, record)))
        return Exhibit(drawn, caption=text, is_right=is_right)

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """None.

        Raises:
            DataError: an image of the set has another number of things; names the images and their numbers.
            RecipeError: the boxes alone are to be trained on a network that has learned no classes.
        """
        if self.learn == "boxes" and setup.starts_new:
            raise RecipeError(
                "task.learn boxes trains the boxes of a network that has learned the classes, and this one starts with "
                "new weights: set model.weights to those of such a run (RUN/model.safetensors), or task.learn to both"
            )
        for samples in setup.sets:
            check_things(samples, self.things, by_class=self.by_class)
        return []

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """The most frequent class of training and the mean box, in sides of the image, for every thing."""
        frequent, share = most_frequent(train, self.outputs)
        scores = LocalizationScores(self.info.classes)
        label = torch.full((self.things,), frequent)
        for i, (height, width) in enumerate(val.sizes_hw):
            boxes = (share * torch.tensor([width, height, width, height])).expand(self.things, 4)
            answer = {"boxes": [boxes], "labels": [label], "top_labels": [label[:, None]]}
            scores.update({**answer, "top_boxes": [boxes[:, None]]}, alone(val.targets(i)))
        about = f"{self.info.classes[frequent]}, the most frequent class, with the mean box, as every answer."
        return Baseline(self.best, scores.compute()[self.best], about)

    def _parts(self, output: LocatedBoxes) -> tuple[Tensor, Tensor]:
        """(B, N, K) scores and (B, N, 1 or K, 4) boxes of an output."""
        if not isinstance(output, LocatedBoxes):
            raise RecipeError(
                f"the network gives a {type(output).__name__}, and localisation needs scores and boxes: choose one "
                "such as localizer, or return a LocatedBoxes"
            )
        scores, boxes = output.scores, output.boxes
        if scores.dim() == 2:
            scores, boxes = scores[:, None], boxes[:, None]
        boxes = boxes[:, :, None] if boxes.dim() == 3 else boxes
        expected = (len(scores), self.things, self.outputs)
        kinds = {(*expected[:2], count, 4) for count in (1, self.outputs)}
        if tuple(scores.shape) != expected or tuple(boxes.shape) not in kinds:
            raise RecipeError(
                f"the network gives scores {tuple(output.scores.shape)} and boxes {tuple(output.boxes.shape)} where "
                f"{expected} (images, things, classes) were due: task.things is {self.things}, set model.things to it"
            )
        return scores, boxes


_LEARNED = {"cross_entropy": "classes", "boxes": "boxes"}  # term of the loss, value of `learn`
