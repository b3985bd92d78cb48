"""Image classification: one class an image.

The heads beside a network's own (GoogLeNet, arXiv:1409.4842, section 5) take part in training only: their losses are
added with `auxiliary_weight`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.limits import WEIGHT, AuxiliaryWeight, check_number
from unpool.metrics.classification import LabelScores
from unpool.metrics.hierarchy import ancestor_heights
from unpool.ops.drawing import caption
from unpool.ops.targets import check_classes
from unpool.ops.views import mean_probabilities
from unpool.task import Baseline, Description, Exhibit, Explained, TrainingSetup
from unpool.tasks.auxiliary import Output, loss_of_heads, main_head
from unpool.tasks.class_losses import (
    FOCAL_GAMMA,
    LABEL_LOSSES,
    Gamma,
    LabelLossName,
    check_gamma,
    check_label_loss,
)
from unpool.tasks.explaining import index_named
from unpool.tasks.hog_baseline import hog_accuracy, require_hog
from unpool.tasks.one_forward import OneForward
from unpool.types import Activation, Batch, DataInfo, Losses, Prediction, Samples, Term

TOP = 5  # classes that an answer ranks
SMOOTHING = Interval(ge=0, lt=1)
_log = logging.getLogger(__name__)


class Classification(OneForward):
    """Cross-entropy, the likeliest class, top-1 and top-5 accuracy.

    Args:
        info: class names; where it has a tree of their synsets, the hierarchical error is measured too.
        loss: "cross_entropy"; "focal", which counts images the less the surer they are right; or
            "binary_cross_entropy", a question for each class, whose probabilities need not add up to 1.
        focal_gamma: of "focal", how much less.
        label_smoothing: share of the target spread evenly over all classes, below 1; not of "focal".
        auxiliary_weight: of the loss of each auxiliary head, where the network has any; 0.3 is GoogLeNet's.
        baseline: what stands beside the score of a run: "frequent", the most frequent class, or "hog", histograms of
            oriented gradients and a linear support vector machine, which needs scikit-image.
    """

    needs = ("image", "label")
    slides = True
    mixes = True
    published = dict.fromkeys(("imagenet", "efficientnet_lite0"), "folder_resnet18")
    best = "top1"
    takes = ("scores",)
    views = ("flip", "ten_crops", "five_scales", "colors", "rotations")
    averages = "probabilities of the classes"
    joins_networks = True

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: LabelLossName = "cross_entropy",
        focal_gamma: Gamma = FOCAL_GAMMA,
        label_smoothing: Annotated[float, SMOOTHING] = 0.0,
        auxiliary_weight: AuxiliaryWeight = 0.3,
        baseline: Literal["frequent", "hog"] = "frequent",
    ) -> None:
        super().__init__()
        if not info.classes:
            raise RecipeError("classification needs class names; the data set gives none")
        self.baseline_kind: Literal["frequent", "hog"] = baseline
        self.info = info
        self.label_smoothing = check_number("task.label_smoothing", label_smoothing, SMOOTHING)
        self.loss_name = check_label_loss(loss, self.label_smoothing)
        self.focal_gamma = check_gamma(focal_gamma, [self.loss_name])
        self.auxiliary_weight = check_number("task.auxiliary_weight", auxiliary_weight, WEIGHT)

    @property
    def outputs(self) -> int:
        """One score a class."""
        return len(self.info.classes)

    @property
    def activation(self) -> Activation:
        """That of the loss."""
        return LABEL_LOSSES[self.loss_name].activation

    @property
    def described(self) -> Mapping[str, Description]:
        top5 = {"top5": Description("top-5 accuracy", is_share=True)} if self.outputs > TOP else {}
        tree = {"hierarchical_error": Description("hierarchical error", higher_is_better=False)}
        return {
            "top1": Description("accuracy", is_share=True),
            **top5,
            **(tree if self.info.tree else {}),
            "class_accuracy": Description("class accuracy", is_share=True),
            "recall": Description("Recall", is_share=True, each="class"),
            "precision": Description("Precision", is_share=True, each="class"),
            "ece": Description("calibration error (ECE)", is_share=True, higher_is_better=False),
            "confusion": Description("Confusion", unit="images", each="class", is_matrix=True),
            "calibration": Description("Calibration", unit="images", each="bin", is_calibration=True),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        """Logits (B, N); in training with those of auxiliary heads, where the network has any."""
        output = model(inputs["image"])
        return output if model.training else main_head(output)

    def check(self, batch: Batch) -> None:
        """Raises DataError where a label is no class; free of cost on the host, waits for the device elsewhere."""
        check_classes(batch, len(self.info.classes))

    def loss(self, output: Output, batch: Batch) -> Losses:
        """The loss over images, of every head, under its name; of a mixed image that of both labels, by their shares.

        Raises:
            RecipeError: the network does not give one logit a class.
            DataError: a label on the host is no class.
        """
        if batch["label"].device.type == "cpu":
            self.check(batch)
        return loss_of_heads(
            output,
            lambda logits: {self.loss_name: self._term(logits, batch)},
            weight=self.auxiliary_weight,
        )

    def _term(self, logits: Tensor, batch: Batch) -> Term:
        label = batch["label"]
        expected = (len(label), len(self.info.classes))
        if tuple(logits.shape) != expected:
            raise RecipeError(
                f"the network gives {tuple(logits.shape)} where {expected} (images, classes) were due; "
                f"build it with num_classes={expected[1]}"
            )
        compute = partial(LABEL_LOSSES[self.loss_name].compute, smoothing=self.label_smoothing, gamma=self.focal_gamma)
        if "partner" not in batch:
            return compute(logits, label)
        first = compute(logits, label, shares=batch["mix"])
        second = compute(logits, label[batch["partner"]], shares=1 - batch["mix"])
        return Term(first.sum + second.sum, first.count)

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """Most likely classes; of equal ones the lower first, on every device, which `topk` leaves open.

        Returns:
            label (B,) and its probability score (B,); top_labels and top_scores (B, min(5, N)), best first.
        """
        logits = main_head(output).float()
        labels = logits.argsort(dim=1, descending=True, stable=True)[:, :TOP]
        scores = (logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)).gather(1, labels)
        return {"label": labels[:, 0], "score": scores[:, 0], "top_labels": labels, "top_scores": scores}

    def averaged(self, outputs: Sequence[Output]) -> Tensor:
        """Logits (B, N) of the mean probability of each class."""
        scores = [main_head(output).float() for output in outputs]
        if self.activation == "sigmoid" and len(scores) > 1:
            return torch.stack(scores).sigmoid().mean(0).logit()
        return mean_probabilities(scores)

    def reordered(self, opinion: Output, order: Sequence[int]) -> Tensor:
        return main_head(opinion)[:, list(order)]

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The class by its number and name, and its probability; the same of the next ones."""
        label = int(prediction["label"])
        return {
            "label": label,
            "class": self.info.classes[label],
            "score": float(prediction["score"]),
            "top_labels": prediction["top_labels"].tolist(),
            "top_scores": prediction["top_scores"].tolist(),
        }

    def explained(self, model: nn.Module, inputs: Batch, target: str | None) -> Explained:
        """The logit of a class, by name or number; of the likeliest where none is named."""
        if target is None:
            label = int(self.answer(model, inputs)["label"][0])
        else:
            label = index_named(target, self.info.classes, what="class")
        return Explained(self.info.classes[label], lambda image: main_head(model(image))[:, label])

    def brief(self, written: Mapping[str, Any]) -> str:
        return f"{written['class']} {written['score']:.2f}"

    def measure_with(self, info: DataInfo) -> None:
        """Takes the tree of the classes, where the set has one."""
        if info.tree:
            self.info = replace(self.info, synsets=info.synsets, tree=info.tree)

    def metric(self) -> LabelScores:
        heights = ancestor_heights(self.info.synsets, self.info.tree) if self.info.tree else None
        return LabelScores(self.info.classes, heights)

    @property
    def asks_baseline(self) -> bool:
        return self.baseline_kind != "frequent"

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """None; raises EnvironmentFault where the baseline that is asked for cannot be computed."""
        if self.baseline_kind == "hog":
            require_hog()
        return []

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with the name of the class, and its probability where known, written on it.

        On a mixed image, the names of both classes (`label`, `other_label`) and the share `mix` of the first.
        """
        name = self.info.classes[int(target["label"])]
        if "mix" in target:
            mix, other = float(target["mix"]), self.info.classes[int(target["other_label"])]
            return caption(image, f"{name} {mix:.0%}, {other} {1 - mix:.0%}")
        score = target.get("score")
        return caption(image, name if score is None else f"{name} {float(score):.0%}")

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The image alone; truth, answer and probability stand below it."""
        truth, answer = int(target["label"]), int(record["label"])
        text = f"truth: {self.info.classes[truth]}, answer: {self.info.classes[answer]} {record['score']:.1%}"
        return Exhibit((("", image),), caption=text, is_right=truth == answer)

    def sure_mistake(self, prediction: Prediction, batch: Batch) -> float | None:
        """The probability of a wrong class."""
        return None if int(prediction["label"][0]) == int(batch["label"][0]) else float(prediction["score"][0])

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """The class most frequent in training, as the answer to every image; or what `baseline` asks for."""
        if self.baseline_kind == "hog":
            score = hog_accuracy(train, val, self.outputs)
            if score is None:
                _log.warning("task.baseline=hog is left out: all training images that can be read are of one class")
                return None
            share, count = score
            about = f"Histograms of oriented gradients and a linear support vector machine, on {count} training images."
            return Baseline("top1", share, about)
        counts = [torch.bincount(_labels(samples), minlength=self.outputs) for samples in (train, val)]
        frequent = int(counts[0].argmax())
        share = int(counts[1][frequent]) / max(1, int(counts[1].sum()))
        return Baseline("top1", share, f"{self.info.classes[frequent]}, the most frequent class, as every answer.")


def _labels(samples: Samples) -> Tensor:
    return torch.tensor([int(samples.targets(index)["label"]) for index in range(len(samples))])
