"""Image classification: one class an image."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.metrics.classification import LabelScores
from unpool.ops.drawing import caption
from unpool.ops.losses import check_classes, label_cross_entropy
from unpool.types import Batch, DataInfo, Losses, Prediction


class Classification:
    """Cross-entropy, the likeliest class, top-1 and top-5 accuracy."""

    needs: tuple[str, ...] = ("image", "label")
    best: str = "top1"

    def __init__(self, info: DataInfo, *, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise RecipeError(f"task.label_smoothing is {label_smoothing}; it must be at least 0 and below 1")
        if not info.classes:
            raise RecipeError("classification needs class names; the data set gives none")
        self.info = info
        self.label_smoothing = label_smoothing

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits (B, N)."""
        return model(batch["image"])

    def check(self, batch: Batch) -> None:
        """Raises DataError where a label is no class; free of cost on the host, waits for the device elsewhere."""
        check_classes(batch["label"], len(self.info.classes), key="label", index=batch.get("index"), ignore=None)

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        """Cross-entropy over images.

        Raises:
            RecipeError: the network does not give one logit a class.
            DataError: a label on the host is no class.
        """
        expected = (len(batch["label"]), len(self.info.classes))
        if tuple(output.shape) != expected:
            raise RecipeError(
                f"the network gives {tuple(output.shape)} where {expected} (images, classes) were due; "
                f"build it with num_classes={expected[1]}"
            )
        if batch["label"].device.type == "cpu":
            self.check(batch)
        return {"cross_entropy": label_cross_entropy(output, batch["label"], label_smoothing=self.label_smoothing)}

    def predict(self, output: Tensor, batch: Batch) -> Prediction:
        """Most likely classes.

        Returns:
            label (B,) and its probability score (B,); top_labels and top_scores (B, min(5, N)), best first.
        """
        scores, labels = output.float().softmax(1).topk(min(5, output.shape[1]), dim=1)
        return {"label": labels[:, 0], "score": scores[:, 0], "top_labels": labels, "top_scores": scores}

    def metric(self) -> LabelScores:
        return LabelScores(self.info.classes)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with the name of the class, and its probability where known, written on it."""
        name = self.info.classes[int(target["label"])]
        score = target.get("score")
        return caption(image, name if score is None else f"{name} {float(score):.0%}")
