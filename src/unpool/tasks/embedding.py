"""Embeddings: vectors of length 1 that are near where two images show the same person, or thing, and far where not.

The loss is chosen by name. "contrastive" is that of the Siamese pair (Chopra et al. 2005; Hadsell et al. 2006) and
"triplet" FaceNet's (Schroff et al. 2015): they compare the images of a batch, which `data.order` p_times_k fills with
several of each person. "softmax" classifies the people of training, as DeepFace (Taigman et al. 2014) does; "cosface"
(Wang et al. 2018) and "arcface" (Deng et al. 2019) do so by the angle to a direction for each person, with a margin.
These directions are the task's own weights; answers do without them, so that people can be enrolled later.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.limits import check_number
from unpool.metrics.embedding import FARS, EmbeddingScores
from unpool.ops.drawing import caption
from unpool.ops.embedding_losses import (
    arcface_logits,
    contrastive,
    cosface_logits,
    margin_softmax,
    triplet,
    unit,
)
from unpool.ops.whole_batch import rows_of_all
from unpool.task import Baseline, Description, Exhibit
from unpool.tasks.one_forward import Vectors
from unpool.types import Batch, DataInfo, Losses, Prediction, Sample, Samples

EmbeddingLoss = Literal["contrastive", "triplet", "softmax", "cosface", "arcface"]
MARGINS = {"contrastive": 1.0, "triplet": 0.2, "cosface": 0.35, "arcface": 0.5}  # the papers'
COMPARING = {"contrastive": contrastive, "triplet": triplet}
TURNED = {"cosface": cosface_logits, "arcface": arcface_logits}
MARGIN = Interval(gt=0, lt=3)
SCALE = Interval(ge=1, le=1000)
DIM = Interval(ge=2, le=16_384)
_NONE = -1.0  # of a threshold that was not chosen: no distance is below 0
_PIXELS = 16  # side of the images that a trivial answer compares


class Embedding(Vectors):
    """Vectors of length 1; verification of pairs and identification of people by their distance.

    Args:
        info: names of the people of training, as classes; "softmax", "cosface" and "arcface" need two or more.
        loss: by name, see above.
        dim: length of the embedding, which is what the network gives.
        margin: of the loss; None takes the paper's: 1 of "contrastive" (distance), 0.2 of "triplet" (squared distance),
            0.35 of "cosface" (cosine), 0.5 of "arcface" (radians). "softmax" has none.
        scale: by which "cosface" and "arcface" multiply cosines.
        protocol: what chooses the best weights: the area under the ROC of pairs ("verification"), or the share of
            images whose person is found first ("identification").

    Attributes:
        threshold: distance up to which two images are called one person, chosen in evaluation on people who are not
            learned from; negative where it was not chosen.
    """

    needs = ("image", "identity")
    takes = ("scores",)
    views = ("flip",)
    averages = "embeddings"
    threshold: Tensor

    def __init__(
        self,
        info: DataInfo,
        *,
        loss: EmbeddingLoss = "triplet",
        dim: Annotated[int, DIM] = 128,
        margin: Annotated[float, MARGIN] | None = None,
        scale: Annotated[float, SCALE] = 64.0,
        protocol: Literal["verification", "identification"] = "verification",
    ) -> None:
        super().__init__()
        if loss not in get_args(EmbeddingLoss):
            raise RecipeError(f"task.loss is {quoted(loss)}; it must be one of {', '.join(get_args(EmbeddingLoss))}")
        if loss == "softmax" and margin is not None:
            raise RecipeError(f"task.margin is {margin}, which task.loss softmax does not read: leave it out")
        self.info = info
        self.loss_name = loss
        self.dim = int(check_number("task.dim", dim, DIM))
        of_paper = MARGINS.get(loss, 0.0)
        self.margin = of_paper if margin is None else check_number("task.margin", margin, MARGIN)
        self.scale = check_number("task.scale", scale, SCALE)
        self.protocol = protocol
        self.best = "rank1" if protocol == "identification" else "pair_auc"
        self.register_buffer("threshold", torch.tensor(_NONE))
        if loss not in COMPARING:
            if len(info.classes) < 2:
                raise RecipeError(f"task.loss {loss} tells people apart, and the data names {len(info.classes)}")
            self.directions = nn.Parameter(torch.empty(len(info.classes), self.dim))
            nn.init.normal_(self.directions, std=0.01)
        if loss == "softmax":
            self.offsets = nn.Parameter(torch.zeros(len(info.classes)))

    @property
    def outputs(self) -> int:
        """The length of the embedding."""
        return self.dim

    @property
    def described(self) -> Mapping[str, Description]:
        pairs = {
            "pair_auc": Description("area under ROC", is_share=True),
            "pair_accuracy": Description("verification accuracy", is_share=True),
            "pair_accuracy_low": Description("verification accuracy, low end of 95 %", is_share=True),
            "pair_accuracy_high": Description("verification accuracy, high end of 95 %", is_share=True),
            **{f"tar@{far:g}": Description(f"TAR at FAR {far:g}", is_share=True) for far in FARS},
            "pair_threshold": Description("threshold", unit="distance"),
            "fold_accuracy": Description("Verification accuracy", is_share=True, each="fold"),
            "roc": Description("ROC", unit="false accept rate", is_share=True, each="fold", is_curve=True),
        }
        search = {
            "rank1": Description("rank-1 identification", is_share=True),
            "rank1_low": Description("rank-1 identification, low end of 95 %", is_share=True),
            "rank1_high": Description("rank-1 identification, high end of 95 %", is_share=True),
            "rank5": Description("rank-5 identification", is_share=True),
            "strangers_rejected": Description("strangers rejected", is_share=True),
            "known_accepted": Description("enrolled people accepted by their name", is_share=True),
            "strangers_auc": Description("area under ROC of strangers", is_share=True),
            "cmc": Description("Found by then", is_share=True, each="rank"),
        }
        return {**search, **pairs} if self.protocol == "identification" else {**pairs, **search}

    def forward(self, model: nn.Module, inputs: Batch) -> Tensor:
        """What the network gives, (B, E) of any length."""
        return model(inputs["image"])

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        """The terms of the loss.

        Raises:
            RecipeError: the network gives other numbers than an embedding; or, in training, the loss compares images of
                one person and the batch has no two.
        """
        self._require_vectors(output, batch)
        identity = batch["identity"]
        if compare := COMPARING.get(self.loss_name):
            if self.training:
                _require_pairs(identity, self.loss_name)
            return compare(unit(output), identity, margin=self.margin)
        label = torch.where(identity < len(self.directions), identity, -1)
        if self.loss_name == "softmax":
            return margin_softmax(nn.functional.linear(output, self.directions, self.offsets), label)
        cosine = unit(output) @ unit(self.directions).T
        turned = TURNED[self.loss_name](cosine, label.clamp_min(0), margin=self.margin, scale=self.scale)
        return margin_softmax(turned, label)

    def decode(self, output: Tensor, inputs: Batch) -> Prediction:
        """`embedding` (B, E) of length 1."""
        self._require_vectors(output, inputs)
        return {"embedding": unit(output.float())}

    def averaged(self, outputs: Sequence[Tensor]) -> Tensor:
        """The mean of the embeddings of several views, each of length 1 before."""
        return torch.stack([unit(output.float()) for output in outputs]).mean(0)

    def reordered(self, opinion: Tensor, order: Sequence[int]) -> Tensor:
        """The same: numbers of an embedding are no classes."""
        return opinion

    def settle(self, metrics: Mapping[str, Any]) -> None:
        """Keeps the threshold that the evaluation chose, where it chose one."""
        if (chosen := metrics["pair_threshold"]) is not None:
            self.threshold.fill_(chosen)

    @property
    def chosen_threshold(self) -> float | None:
        """The threshold; None where none was chosen."""
        value = float(self.threshold)
        return None if value < 0 else value

    def metric(self) -> EmbeddingScores:
        return EmbeddingScores(self.chosen_threshold)

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The embedding, as numbers."""
        return {"embedding": prediction["embedding"].tolist()}

    def brief(self, written: Mapping[str, Any]) -> str:
        return f"an embedding of {len(written['embedding'])} numbers"

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with the person's name written on it, where it is one of training."""
        identity = int(target["identity"]) if "identity" in target else len(self.info.classes)
        known = identity < len(self.info.classes)
        return caption(image, self.info.classes[identity]) if known else image.expand(3, -1, -1)

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The image alone, and who it shows."""
        identity, people = int(target["identity"]), self.info.classes
        return Exhibit((("", image),), caption=people[identity] if identity < len(people) else "not in training")

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """What small grey pictures score as embeddings."""
        scores = EmbeddingScores()
        for index in range(len(val)):
            sample = val[index]
            scores.update({"embedding": _pixels(sample)}, _as_batch(sample))
        value = scores.compute()[self.best]
        about = f"Distances of the pixels of grey images of {_PIXELS}x{_PIXELS}, each with a mean of 0."
        return None if value is None else Baseline(self.best, value, about)

    def _require_vectors(self, output: Any, batch: Batch) -> None:
        expected = (len(batch["image"]), self.dim)
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if shape != expected:
            raise RecipeError(
                f"the network gives {shape} where {expected} (images, task.dim) were due: choose one that gives a "
                "vector, such as embedder, built with num_classes=task.dim"
            )


def _require_pairs(identity: Tensor, loss: str) -> None:
    people, _ = rows_of_all(identity)
    if len(people.unique()) == len(people):
        raise RecipeError(
            f"task.loss {loss} compares images of one person, and a batch of {len(people)} images has no two: set "
            "data.order={p_times_k: {per_class: 4}}, and train.batch to a multiple of it"
        )


def _pixels(sample: Sample) -> Tensor:
    """(1, 256) of length 1."""
    grey = nn.functional.adaptive_avg_pool2d(sample["image"].float().mean(0, keepdim=True), _PIXELS).flatten(1)
    return unit(grey - grey.mean())


def _as_batch(sample: Sample) -> Batch:
    singles = {key: sample[key][None] for key in ("index", "identity", "role", "position") if key in sample}
    return {**singles, **({"pairs": [sample["pairs"]]} if "pairs" in sample else {})}
