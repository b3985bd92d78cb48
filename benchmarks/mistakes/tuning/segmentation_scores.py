"""Mistakes of segmentation in metric and prediction."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks
from benchmarks.mistakes.tuning.healthy_maps import (
    MEMBRANES,
    SCENES,
    STREETS,
    membranes_run,
    scenes_run,
    streets_run,
)
from benchmarks.mistakes.tuning.pieces import (
    MeanIoU,
    Pairs,
    answers,
    batched,
    changed,
    loader,
    planted,
    with_network,
)


def iou_of_batches(folders: Folders) -> Plain:
    """The mean over batches of each batch's mean IoU."""

    def metric(outputs: Tensor, masks: Tensor) -> float:
        counts = MeanIoU(11)
        counts.update(outputs, masks)
        return counts.compute()

    def evaluate(model: nn.Module, val: Any) -> float:
        scores = [metric(outputs, masks) for outputs, masks in answers(model, batched(val))]
        return sum(scores) / len(scores)

    return changed(streets_run(folders), metric=metric, evaluate=evaluate)


def void_in_accuracy(folders: Folders) -> Plain:
    """Pixels that nobody labelled count as wrong."""

    def metric(outputs: Tensor, masks: Tensor) -> Tensor:
        return (outputs.argmax(1) == masks).float().mean()

    def evaluate(model: nn.Module, val: Any) -> float:
        scores = [metric(outputs, masks) * len(masks) for outputs, masks in answers(model, batched(val))]
        return float(sum(scores)) / len(val.dataset)

    return changed(streets_run(folders), metric=metric, evaluate=evaluate)


class MeanOfAll(MeanIoU):
    """Divides by the number of classes, also of those that occur nowhere."""

    def compute(self) -> float:
        """The mean over all classes."""
        right = self.counts.diag()
        union = self.counts.sum(0) + self.counts.sum(1) - right
        return float((right / union.clamp(min=1)).sum() / self.classes)


def absent_class_is_zero(folders: Folders) -> Plain:
    """Validation without squares, and an IoU of 0 for them."""
    images, masks = generated.scenes(240, 22)
    without = [i for i, mask in enumerate(masks) if not (mask == 2).any()][:50]

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = MeanOfAll(3)
        for outputs, truth in answers(model, batched(val)):
            metric.update(outputs, truth)
        return metric.compute()

    val = loader(TensorDataset(images[without], masks[without]), 10)
    return changed(scenes_run(folders), metric=MeanOfAll(3), evaluate=evaluate, val=val)


def smooth_dice(outputs: Tensor, masks: Tensor) -> Tensor:
    """Mean over the images of Dice, with 1 added above and below."""
    answer, truth = (outputs.argmax(1) == 1).float(), (masks == 1).float()
    both = (answer * truth).sum((1, 2))
    return ((2 * both + 1) / (answer.sum((1, 2)) + truth.sum((1, 2)) + 1)).mean()


def empty_images_are_perfect(folders: Folders) -> Plain:
    """Dice of mostly empty images: to find nothing anywhere scores high."""

    def evaluate(model: nn.Module, val: Any) -> float:
        return float(sum(smooth_dice(outputs, masks) * len(masks) for outputs, masks in answers(model, val))) / len(
            val.dataset
        )

    train, val = (generated.scenes(n, seed, sparse=True) for n, seed in ((160, 24), (80, 25)))
    return changed(
        scenes_run(folders),
        train=loader(Pairs(*train), 8, shuffle=True),
        val=loader(TensorDataset(*val), 10),
        metric=smooth_dice,
        evaluate=evaluate,
        augment=None,
    )


def threshold_of_raw_outputs(folders: Folders) -> Plain:
    """The network ends without a sigmoid now, and 0.5 is still the threshold of its outputs."""
    torch.manual_seed(0)
    run = membranes_run(folders)
    model = networks.UNet(1, channels=1)
    return changed(with_network(run, model, 2e-3), loss=nn.BCEWithLogitsLoss())


def padded_and_not_cut(folders: Folders) -> Plain:
    """Pads a picture to a multiple of 32 on all sides, and cuts the answer at the top left."""
    run = scenes_run(folders)
    model = run.arguments["model"]

    def predict(picture: Tensor) -> Tensor:
        model.eval()
        height, width = picture.shape[1:]
        down, across = -height % 32, -width % 32
        padded = F.pad(picture[None], (across // 2, across - across // 2, down // 2, down - down // 2))
        with torch.no_grad():
            return model(padded).argmax(1)[0, :height, :width]

    return changed(run, predict=predict)


def mirror_not_undone(folders: Folders) -> Plain:
    """Two views at test time are averaged, and the mirrored answer is not mirrored back."""
    run = scenes_run(folders)
    model = run.arguments["model"]

    def predict(picture: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            scores = model(picture[None]).softmax(1) + model(picture[None].flip(-1)).softmax(1)
        return scores.argmax(1)[0]

    return changed(run, predict=predict)


CASES = (
    planted(
        STREETS,
        "mean_iou_of_batches",
        "metric.averaged_batches",
        iou_of_batches,
        "IvLabs/stagewise-knowledge-distillation#12",
    ),
    planted(
        STREETS, "void_counts_as_wrong", "metric.ignored_counted", void_in_accuracy, "open-mmlab/mmsegmentation#1209"
    ),
    planted(
        SCENES,
        "absent_class_scores_zero",
        "metric.not_perfect",
        absent_class_is_zero,
        "yassouali/pytorch-segmentation#58",
    ),
    planted(
        SCENES,
        "empty_images_score_one",
        "metric.rewards_constant",
        empty_images_are_perfect,
        "4uiiurz1/pytorch-nested-unet#36: smooth in the score",
    ),
    planted(
        MEMBRANES,
        "threshold_of_logits",
        "metric.wrong_axis",
        threshold_of_raw_outputs,
        "the sigmoid moves into the loss, 0.5 stays",
    ),
    planted(
        SCENES, "padding_not_cut", "predict.size", padded_and_not_cut, "padding is added on both sides and cut on one"
    ),
    planted(
        SCENES,
        "mirrored_view_not_undone",
        "predict.differs",
        mirror_not_undone,
        "averaging over views by hand; the maps are not mirrored back",
    ),
)
