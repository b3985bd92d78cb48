"""Mistakes of denoising."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, sets
from benchmarks.mistakes.tuning.healthy_maps import LEAVES, PHOTOGRAPHS, Noisy, leaves_run, photographs_run
from benchmarks.mistakes.tuning.pieces import answers, changed, loader, planted


class SameNoise(Noisy):
    """Seeds its generator for each sample, so that results can be repeated."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        clean = self.clean[index]
        return clean + self.sigma * torch.randn(clean.shape), clean


def noise_of_one_seed(folders: Folders) -> Plain:
    """Every picture gets the same noise, which the network learns by heart."""
    return changed(leaves_run(folders), train=loader(SameNoise(generated.leaves(160, 31)), 8, shuffle=True))


class OtherLevel(Noisy):
    """Noise of level 25 on values from 0 to 1, clipped."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean = self.clean[index]
        return (clean + 25 * torch.randn(clean.shape)).clamp(0, 1), clean


def level_not_divided(folders: Folders) -> Plain:
    """The level of 25 is meant for values up to 255: nothing of the picture is left."""
    return changed(leaves_run(folders), train=loader(OtherLevel(generated.leaves(160, 31)), 8, shuffle=True))


def tall_noise(folders: Folders) -> Plain:
    """Training on level 5, validation on level 25."""
    train = Noisy(sets.photographs(folders, "Train400", 160, crop=32), sigma=5 / 255)
    return changed(photographs_run(folders), train=loader(train, 8, shuffle=True))


def similarity_as_loss(folders: Folders) -> Plain:
    """The correlation with the clean picture is made small; one minus it was meant."""

    def loss(outputs: Tensor, clean: Tensor) -> Tensor:
        return F.cosine_similarity(outputs.flatten(1) - 0.5, clean.flatten(1) - 0.5).mean()

    return changed(leaves_run(folders), loss=loss)


def smoothness_above_all(folders: Folders) -> Plain:
    """A weight of total variation that was meant for a sum over pixels, beside a mean."""

    def loss(outputs: Tensor, clean: Tensor) -> dict[str, Tensor]:
        across, down = outputs.diff(dim=3).abs(), outputs.diff(dim=2).abs()
        return {"error": F.mse_loss(outputs, clean), "smoothness": 2e-3 * (across.sum() + down.sum()) / len(outputs)}

    return changed(leaves_run(folders), loss=loss)


def peak_of_255(folders: Folders) -> Plain:
    """A peak of 255 for values from 0 to 1: 48 dB more than there are."""

    def metric(outputs: Tensor, clean: Tensor) -> Tensor:
        return (20 * math.log10(255) - 10 * (outputs - clean).square().mean((1, 2, 3)).log10()).mean()

    def evaluate(model: nn.Module, val: Any) -> float:
        return float(sum(metric(outputs, clean) * len(clean) for outputs, clean in answers(model, val))) / len(
            val.dataset
        )

    return changed(leaves_run(folders), metric=metric, evaluate=evaluate)


def psnr_of_mean_error(folders: Folders) -> Plain:
    """The ratio of a batch's mean error, then the mean over batches."""

    def metric(outputs: Tensor, clean: Tensor) -> Tensor:
        return -10 * (outputs - clean).square().mean().log10()

    def evaluate(model: nn.Module, val: Any) -> float:
        return float(torch.stack([metric(outputs, clean) for outputs, clean in answers(model, val)]).mean())

    return changed(photographs_run(folders), metric=metric, evaluate=evaluate)


CASES = (
    planted(LEAVES, "seeded_in_getitem", "augment.same_randomness", noise_of_one_seed, "xingyizhou/CenterNet#233"),
    planted(
        LEAVES,
        "level_25_on_unit_values",
        "augment.too_strong",
        level_not_divided,
        "cszn/DnCNN#27",
        also=("data.value_range",),
    ),
    planted(PHOTOGRAPHS, "trained_on_weak_noise", "data.split_shift", tall_noise, "cszn/DnCNN#29 compares levels"),
    planted(
        LEAVES,
        "similarity_made_small",
        "loss.wrong_way",
        similarity_as_loss,
        "similarities are maximised; a loss needs 1 minus them",
    ),
    planted(LEAVES, "smoothness_dwarfs_the_error", "loss.scale", smoothness_above_all, "a sum beside a mean"),
    planted(LEAVES, "psnr_with_a_peak_of_255", "metric.disagrees", peak_of_255, "jzyustc/MBRS#4"),
    planted(
        PHOTOGRAPHS, "psnr_of_the_mean_error", "metric.averaged_batches", psnr_of_mean_error, "pytorch/examples#522"
    ),
)
