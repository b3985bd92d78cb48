"""The parts of a detector of two stages: one proposes regions, the other classifies them (Ren et al. 2015)."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unpool.layers.anchors import Anchors, per_anchor
from unpool.layers.frozen import Norms
from unpool.layers.initialize import he_normal
from unpool.layers.regions import RegionPooling
from unpool.models.detection.detector import Detector, draw_normal, size_of
from unpool.models.detection.practice import Practice
from unpool.ops.phases import phase
from unpool.types import Backbone, ClassifiedRegions, ProposedRegions

Neck = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


class ProposalHead(nn.Module):
    """Scores and moves the anchors of maps: maps (B, C, h, w) -> objectness (B, A) and deltas (B, A, 4).

    Weights start from N(0, 0.01^2).

    Args:
        in_channels: of every map.
        width: channels of the 3x3 convolution.
        count: anchors at each position.
        scores: numbers that objectness is computed from: 1, its logit, or 2, of background and thing as in the paper's
            release, of which it is the difference.
    """

    def __init__(self, in_channels: int, width: int, *, count: int, scores: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, count * scores, 1)
        self.deltas = nn.Conv2d(width, count * 4, 1)
        self.scores = scores
        draw_normal(self, std=0.01)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        objectness, deltas = [], []
        for x in maps:
            x = nn.functional.relu(self.conv(x))
            scores = per_anchor(self.objectness(x), self.scores)  # (B, h*w*count, scores)
            objectness.append(scores[..., 0] if self.scores == 1 else scores[..., 1] - scores[..., 0])
            deltas.append(per_anchor(self.deltas(x), 4))
        return torch.cat(objectness, 1), torch.cat(deltas, 1)


class RegionClassifier(nn.Module):
    """Scores and moves regions: features (R, F) -> ClassifiedRegions of K + 1 classes, the background first.

    Weights start from N(0, 0.01^2), those of the deltas from N(0, 0.001^2) (Girshick 2015, arXiv:1504.08083).

    Args:
        features: F.
        num_classes: K.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.scores = nn.Linear(features, num_classes + 1)
        self.deltas = nn.Linear(features, 4 * (num_classes + 1))
        draw_normal(self.scores, std=0.01)
        draw_normal(self.deltas, std=0.001)

    def forward(self, x: Tensor) -> ClassifiedRegions:
        return ClassifiedRegions(self.scores(x), self.deltas(x).unflatten(1, (-1, 4)))


def hidden_head(inputs: int, width: int, *, last: int | None = None, dropout: float = 0.0) -> nn.Module:
    """Makes two hidden linear layers on flattened regions, from He's weights: (R, C, side, side) -> (R, last or width).

    Args:
        inputs: C * side * side.
        width: units of the first, and of the second where `last` does not say so.
        last: units of the second.
        dropout: share of the units of each that is dropped.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for name, before, after in (("6", inputs, width), ("7", width, last or width)):
        parts[f"fc{name}"] = nn.Linear(before, after)
        parts[f"act{name}"] = nn.ReLU()
        if dropout:
            parts[f"drop{name}"] = nn.Dropout(dropout)
    head = nn.Sequential(parts)
    he_normal(head, mode="fan_in")
    return head


class TwoStages(Detector):
    """A detector of two stages: image (B, C, H, W) -> ProposedRegions; `classify` goes on from proposals of it.

    Args:
        backbone: must have maps at the strides of `pool`.
        reader, norms, practice: see `Detector`.
        neck: from the maps read to those that have anchors, of which the first are those that regions are read from.
        proposals: scores and moves the anchors.
        anchors: of the maps of the neck.
        pool: reads regions.
        head: from regions (R, C, side, side) to features (R, F).
        classifier: from features to classes and boxes.
    """

    def __init__(  # noqa: PLR0913 - the parts of the paper's figure 2
        self,
        backbone: Backbone,
        *,
        reader: str,
        norms: Norms,
        practice: Practice,
        neck: nn.Module,
        proposals: ProposalHead,
        anchors: Anchors,
        pool: RegionPooling,
        head: nn.Module,
        classifier: RegionClassifier,
    ) -> None:
        super().__init__(backbone, strides=pool.strides, reader=reader, norms=norms, practice=practice)
        self.neck = neck
        self.proposals = proposals
        self.anchors = anchors
        self.pool = pool
        self.head = head
        self.classifier = classifier

    def forward(self, image: Tensor) -> ProposedRegions:
        with phase("backbone"):
            maps = self.neck(self.read(image))
        with phase("proposals"):
            objectness, deltas = self.proposals(maps)
            anchors, level = self.anchors(maps, size_of(image))
        return ProposedRegions(tuple(maps[: len(self.pool.strides)]), objectness, deltas, anchors, level)

    @phase("head")
    def classify(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> ClassifiedRegions:
        """Scores and moves regions of the images that `maps` are of.

        Args:
            maps: of a `ProposedRegions`.
            boxes: B lists of regions (N, 4), xyxy in pixels of the input.
            input_hw: size of the input; regions of strides need none.
        """
        return self.classifier(self.head(self.pool(maps, boxes)))
