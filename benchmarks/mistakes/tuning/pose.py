"""Mistakes of pose."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks
from benchmarks.mistakes.tuning.healthy_maps import FIGURES, Pck, figures_run, heatmaps, peaks
from benchmarks.mistakes.tuning.pieces import Pairs, answers, batched, changed, loader, planted


def hidden_marked_visible(folders: Folders) -> Plain:
    """All joints are marked visible, those at (-1, -1), too."""
    images, joints = generated.figures(400, 41)
    joints[..., 2] = 1
    return changed(figures_run(folders), train=loader(Pairs(images, joints), 16, shuffle=True), augment=None)


def sides_of_the_viewer(folders: Folders) -> Plain:
    """One of two annotators takes left as the viewer's left."""
    images, joints = generated.figures(400, 41)
    generator = torch.Generator().manual_seed(3)
    exchanged = torch.rand(400, generator=generator) < 0.5
    joints[exchanged] = joints[exchanged][:, [0, 2, 1, 4, 3]]
    return changed(figures_run(folders), train=loader(Pairs(images, joints), 16, shuffle=True), augment=None)


def joints_as_rows(folders: Folders) -> Plain:
    """Joints as (row, column) for a network that is taught (x, y)."""
    images, joints = generated.figures(400, 41)
    turned = joints[..., [1, 0, 2]]
    return changed(figures_run(folders), train=loader(Pairs(images, turned), 16, shuffle=True), augment=None)


def sides_not_exchanged(folders: Folders) -> Plain:
    """A mirror of image and coordinates that leaves the names as they are."""

    def augment(image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            joints = joints.clone()
            joints[:, 0] = torch.where(joints[:, 2] > 0, image.shape[-1] - 1 - joints[:, 0], joints[:, 0])
            image = image.flip(-1)
        return image, joints

    return changed(
        figures_run(folders),
        train=loader(Pairs(*generated.figures(400, 41), augment=augment), 16, shuffle=True),
        augment=augment,
    )


class LastUnused(networks.PoseNet):
    """A deeper branch that is computed no more."""

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        middle = self.down(fine)
        enlarged = nn.functional.interpolate(middle, fine.shape[2:], mode="bilinear")
        return self.last(self.join(torch.cat([enlarged, fine], 1)))


def deep_branch_left_out(folders: Folders) -> Plain:
    """Layers are registered and optimised, and nothing calls them."""
    torch.manual_seed(0)
    model = LastUnused(5)
    return changed(figures_run(folders), model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3))


def hidden_joints_counted(folders: Folders) -> Plain:
    """Heatmaps of hidden joints are learned as what their meaningless coordinates say."""

    def loss(outputs: Tensor, joints: Tensor) -> Tensor:
        return 100 * (outputs - heatmaps(joints, outputs.shape[-1])).square().mean()

    return changed(figures_run(folders), loss=loss)


class Coordinates(nn.Module):
    """Ten numbers, x and y of each joint."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.BoxNet(10, size=48)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).view(-1, 5, 2)


def coordinates_in_pixels(folders: Folders) -> Plain:
    """Squared error of pixels from 0 to 48, at a rate for numbers about 1."""
    run = figures_run(folders)
    torch.manual_seed(0)
    model = Coordinates()

    def loss(outputs: Tensor, joints: Tensor) -> Tensor:
        return ((outputs - joints[..., :2]).square() * joints[..., 2:]).mean()

    def near(outputs: Tensor, joints: Tensor) -> Tensor:
        right = (outputs - joints[..., :2]).norm(dim=2) <= 4.8
        return right[joints[..., 2] > 0].float().mean()

    kept = {key: value for key, value in run.arguments.items() if key != "evaluate"}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    return Plain({**kept, "model": model, "loss": loss, "metric": near, "optimizer": optimizer})


class CoarsePck(Pck):
    """Compares positions in the heatmap with joints in the picture."""

    def update(self, outputs: Tensor, keypoints: Tensor) -> None:
        """Counts the joints of a batch."""
        near = (peaks(outputs) / 2 - keypoints[..., :2]).norm(dim=2) <= self.distance
        visible = keypoints[..., 2] > 0
        self.right += int((near & visible).sum())
        self.total += int(visible.sum())


def positions_of_half_size(folders: Folders) -> Plain:
    """Perfect heatmaps score little: positions are not brought back to the picture."""

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = CoarsePck()
        for outputs, joints in answers(model, batched(val)):
            metric.update(outputs, joints)
        return metric.compute()

    return changed(figures_run(folders), metric=CoarsePck(), evaluate=evaluate)


class AllPck(Pck):
    """Counts joints that nobody sees."""

    def update(self, outputs: Tensor, keypoints: Tensor) -> None:
        """Counts the joints of a batch."""
        near = (peaks(outputs) - keypoints[..., :2]).norm(dim=2) <= self.distance
        self.right += int(near.sum())
        self.total += near.numel()


def hidden_joints_in_the_score(folders: Folders) -> Plain:
    """Joints without a position count as wrong."""

    def evaluate(model: nn.Module, val: Any) -> float:
        metric = AllPck()
        for outputs, joints in answers(model, batched(val)):
            metric.update(outputs, joints)
        return metric.compute()

    return changed(figures_run(folders), metric=AllPck(), evaluate=evaluate)


CASES = (
    planted(
        FIGURES,
        "hidden_joints_marked_visible",
        "data.keypoint_outside",
        hidden_marked_visible,
        "bearpaw/pytorch-pose#93",
    ),
    planted(
        FIGURES,
        "left_of_the_viewer",
        "data.left_right",
        sides_of_the_viewer,
        "two annotators; open-mmlab/mmpose#1114 asks which side is meant",
    ),
    planted(
        FIGURES,
        "joints_as_row_and_column",
        "data.mask_misaligned",
        joints_as_rows,
        "numpy gives rows first, annotation tools x first",
    ),
    planted(
        FIGURES,
        "mirror_without_exchange",
        "augment.pairs_not_swapped",
        sides_not_exchanged,
        "albumentations-team/albumentations#840",
    ),
    planted(
        FIGURES,
        "deep_branch_not_called",
        "network.unused_layer",
        deep_branch_left_out,
        "layumi/Person_reID_baseline_pytorch#90",
    ),
    planted(
        FIGURES,
        "hidden_joints_in_the_loss",
        "loss.ignored_counted",
        hidden_joints_counted,
        "microsoft/human-pose-estimation.pytorch#163",
    ),
    planted(
        FIGURES,
        "coordinates_in_pixels",
        "loss.target_scale",
        coordinates_in_pixels,
        "DeepPose normalises (Toshev and Szegedy 2014, section 3.1)",
        network="coordinates",
    ),
    planted(
        FIGURES,
        "peaks_not_brought_back",
        "metric.not_perfect",
        positions_of_half_size,
        "heatmaps of a part of the size; outputs are compared as they are",
    ),
    planted(
        FIGURES,
        "hidden_joints_in_the_score",
        "metric.ignored_counted",
        hidden_joints_in_the_score,
        "bmartacho/UniPose#17",
    ),
)
