"""How published detectors are trained and how they answer, in numbers; each network has its own as `practice`.

Sources, by the names below: RCNN is Girshick et al. 2014 (arXiv:1311.2524, section 2.3): 32 regions that show a thing
and 96 of background a step, here of two images; FAST is Girshick 2015 (arXiv:1504.08083, section 2.3); PAPER is Ren et
al. 2015 (arXiv:1506.01497, section 3) and its release (rbgirshick/py-faster-rcnn,
experiments/cfgs/faster_rcnn_end2end.yml); FPN is Lin et al. 2017 (arXiv:1612.03144) as torchvision 0.28.0 has it; SSD
is Liu et al. 2016 (arXiv:1512.02325, section 2.2); FOCAL is Lin et al. 2017 (arXiv:1708.02002, sections 3 to 5); YOLO
is Redmon et al. 2016 (arXiv:1506.02640, section 2.2), its answers those that its release measures (pjreddie/darknet,
examples/yolo.c, validate_yolo). SMALL is FPN with as many regions as images of 100 to 300 pixels are worth: of 512 in
each, a step takes ten times as long there and learns no better.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """Numbers of the first stage, which proposes regions; IoU is that of an anchor and a box.

    Attributes:
        positive: IoU from which an anchor is positive; the best anchor of each box always is.
        negative: IoU below which it is negative; those between are left out.
        is_inside: whether anchors that cross the border of the image are left out of training.
        samples: anchors of an image that the loss reads.
        positive_share: of them that may be positive at most.
        beta: size of a difference of deltas from which its loss grows linearly.
        least_side: pixels of the input; proposals with a shorter side are dropped. PAPER's release has 16 pixels of
            the image as decoded, times the factor by which it was resized.
        nms: IoU above which the less certain one of two proposals of a map is dropped.
        train_candidates, candidates: best proposals of each map before that, in training and in answers.
        train_most, most: best proposals of an image after it.
    """

    positive: float = 0.7
    negative: float = 0.3
    is_inside: bool = False
    samples: int = 256
    positive_share: float = 0.5
    beta: float = 1 / 9
    least_side: float = 1e-3
    nms: float = 0.7
    train_candidates: int = 2000
    candidates: int = 1000
    train_most: int = 2000
    most: int = 1000


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Numbers of the last stage, or the only one; IoU is that of a box and a region or anchor.

    Attributes:
        positive: IoU from which a region is of the box's class.
        negative: IoU below which it is background; those between are left out.
        least_background: IoU with some box that a region of background must have, if any region has it: those that
            nearly show a thing.
        best_is_positive: whether the best region of each box is positive below `positive` too.
        samples: regions of an image that the loss reads; None for all.
        positive_share: of the samples that may be positive at most.
        negatives: for each positive one, or for one where there is none, by their loss; None where the loss chooses
            otherwise.
        focal_alpha, focal_gamma: of focal loss, for independent classes.
        beta: size of a difference of deltas from which its loss grows linearly; 0 for L1.
        score: answers of a lower score are dropped.
        nms: IoU above which the less certain one of two answers of a class is dropped.
        candidates_of_class, candidates_of_map: best answers of each class, or of each map, before that; None for all.
        most: best answers of an image after it.
        box_weight, background_weight: of the terms of boxes, and of the confidences of predictors that answer for no
            thing, where a grid of cells is learned.
        proposing: numbers of the first stage; None where there is one stage.
    """

    positive: float = 0.5
    negative: float = 0.5
    least_background: float = 0.0
    best_is_positive: bool = False
    samples: int | None = None
    positive_share: float = 0.25
    negatives: int | None = None
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    beta: float = 1.0
    score: float = 0.05
    nms: float = 0.5
    candidates_of_class: int | None = None
    candidates_of_map: int | None = None
    most: int = 100
    box_weight: float = 5.0
    background_weight: float = 0.5
    proposing: Proposing | None = None


RCNN = Practice(samples=64, nms=0.3)
FAST = replace(RCNN, least_background=0.1)
PAPER = Practice(
    samples=128,
    nms=0.3,
    proposing=Proposing(
        is_inside=True, least_side=16, train_candidates=12000, train_most=2000, candidates=6000, most=300
    ),
)
FPN = Practice(samples=512, beta=1 / 9, proposing=Proposing())
SMALL = replace(FPN, samples=64, proposing=Proposing(train_candidates=500, candidates=300, train_most=200, most=100))
SSD = Practice(best_is_positive=True, negatives=3, score=0.01, nms=0.45, candidates_of_class=400, most=200)
YOLO = Practice(score=0.001, nms=0.5)
FOCAL = Practice(negative=0.4, best_is_positive=True, beta=0.0, candidates_of_map=1000, most=300)
