"""Joints of stick figures by heatmaps, and by coordinates: mistakes of left and right, of covered joints, of units."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import ConvNet, HeatmapNet, groups
from benchmarks.mistakes.held.runs import Pictures, batches, plain

STRIDE = 2
SWAPPED = [0, 2, 1, 3, 5, 4]


def mirrored(image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the time mirrored, with left and right exchanged and covered joints left at zero."""
    if torch.rand(()) < 0.5:
        image, joints = image.flip(2), joints[SWAPPED].clone()
        joints[:, 0] = (image.shape[2] - 1 - joints[:, 0]) * joints[:, 2]
    return image, joints


def positions(heatmaps: Tensor) -> Tensor:
    """The (x, y) in pixels of each map's highest value, (B, K, 2)."""
    width = heatmaps.shape[3]
    best = heatmaps.flatten(2).argmax(2)
    return torch.stack([best % width, best // width], 2) * float(STRIDE) + 0.5


def heatmap_loss(heatmaps: Tensor, joints: Tensor) -> Tensor:
    """Cross-entropy between each map and a Gaussian at its joint, over the joints that are seen."""
    height, width = heatmaps.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = (joints[..., :2] - 0.5) / STRIDE
    squares = (x - centre[..., 0, None, None]) ** 2 + (y - centre[..., 1, None, None]) ** 2
    wanted = (-squares / 4.5).flatten(2).softmax(2)
    losses = -(wanted * heatmaps.flatten(2).log_softmax(2)).sum(2)
    seen = joints[..., 2]
    return (losses * seen).sum() / seen.sum().clamp(min=1)


def pck(heatmaps: Tensor, joints: Tensor) -> Tensor:
    """The share of the joints seen that lie within 5 pixels."""
    near = (positions(heatmaps) - joints[..., :2]).norm(dim=2) < 5
    return (near * joints[..., 2]).sum() / joints[..., 2].sum().clamp(min=1)


class Pck:
    """The share over a set of the joints that are seen within 5 pixels."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.near = self.seen = 0.0

    def update(self, heatmaps: Tensor, joints: Tensor) -> None:
        self.near += (pck(heatmaps, joints) * joints[..., 2].sum()).item()
        self.seen += joints[..., 2].sum().item()

    def compute(self) -> float:
        return self.near / max(self.seen, 1)


def measured(metric: Any) -> Any:
    """An evaluation by a metric that accumulates."""

    def evaluate(model: nn.Module, val: Any) -> float:
        metric.reset()
        model.eval()
        with torch.no_grad():
            for images, joints in batches(val, 32):
                metric.update(model(images), joints)
        model.train()
        return metric.compute()

    return evaluate


def as_joints(joints: np.ndarray) -> list[Tensor]:
    """Joints as samples."""
    return [torch.from_numpy(row) for row in joints]


def figure_sets(**options: Any) -> tuple[DataLoader, Pictures]:
    """320 figures in batches of 16, and 80 to validate."""
    (pictures, joints), (val_pictures, val_joints) = drawn.figures(320, 1), drawn.figures(80, 2)
    train = Pictures(pictures, as_joints(joints), **options)
    return DataLoader(train, 16, shuffle=True), Pictures(val_pictures, as_joints(val_joints))


def figures_run(model: nn.Module, *, sets: tuple[Any, Any] | None = None, **more: Any) -> Plain:
    """A run on figures."""
    train, val = sets or figure_sets(augment=mirrored)

    more = {"metric": Pck(), "evaluate": measured(Pck()), "task": "pose"} | more
    return plain(model, train, val, more.pop("loss", heatmap_loss), **more)


def figures(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return figures_run(HeatmapNet(6), augment=mirrored)


def mirror_keeps_sides(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def augment(image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            image, joints = image.flip(2), joints.clone()
            joints[:, 0] = (image.shape[2] - 1 - joints[:, 0]) * joints[:, 2]
        return image, joints

    return figures_run(HeatmapNet(6), sets=figure_sets(augment=augment), augment=augment)


def covered_joints_at_the_corner(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets = []
    for pictures, joints in (drawn.figures(320, 1), drawn.figures(80, 2)):
        joints[..., 2] = 1
        sets.append(Pictures(pictures, as_joints(joints)))
    return figures_run(HeatmapNet(6), sets=(DataLoader(sets[0], 16, shuffle=True), sets[1]))


def annotators_disagree_on_left(folders: Folders) -> Plain:
    torch.manual_seed(0)
    pictures, joints = drawn.figures(320, 1)
    joints[160:] = joints[160:][:, SWAPPED]
    train = DataLoader(Pictures(pictures, as_joints(joints)), 16, shuffle=True)
    return figures_run(HeatmapNet(6), sets=(train, figure_sets()[1]))


def covered_joints_counted(folders: Folders) -> Plain:
    torch.manual_seed(0)

    class AllJoints(Pck):
        def update(self, heatmaps: Tensor, joints: Tensor) -> None:
            self.near += ((positions(heatmaps) - joints[..., :2]).norm(dim=2) < 5).sum().item()
            self.seen += joints[..., 0].numel()

    return figures_run(HeatmapNet(6), metric=AllJoints(), evaluate=measured(AllJoints()))


def coordinates_run(model: nn.Module, *, scale: float) -> Plain:
    """A run that learns coordinates, divided by `scale`, by a smooth absolute error over the joints that are seen."""
    sets = []
    for pictures, joints in (drawn.figures(320, 1), drawn.figures(80, 2)):
        joints[..., :2] = (joints[..., :2] - (32 if scale > 1 else 0)) / scale * joints[..., 2:]
        sets.append(Pictures(pictures, as_joints(joints)))

    def loss(outputs: Tensor, joints: Tensor) -> Tensor:
        errors = F.mse_loss(outputs.view(-1, 6, 2), joints[..., :2], reduction="none")
        return (errors * joints[..., 2:]).sum() / joints[..., 2].sum().clamp(min=1)

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        total = seen = 0.0
        with torch.no_grad():
            for images, joints in batches(val, 32):
                distances = (model(images).view(-1, 6, 2) - joints[..., :2]).norm(dim=2) * scale
                total += (distances * joints[..., 2]).sum().item()
                seen += joints[..., 2].sum().item()
        model.train()
        return -total / seen

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    train = DataLoader(sets[0], 16, shuffle=True)
    return plain(model, train, sets[1], loss, optimizer=optimizer, evaluate=evaluate, task="pose")


class Coordinates(nn.Module):
    """Convolutions, a map of 4x4, and a linear layer to twelve numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = ConvNet(12, width=16, norm=groups).features
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 12))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))


def coordinates(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return coordinates_run(Coordinates(), scale=32.0)


def coordinates_in_pixels(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return coordinates_run(Coordinates(), scale=1.0)


CASES: tuple[Case, ...] = (
    Case(
        "figures",
        figures,
        "generated figures",
        "HeatmapNet",
        "covered joints left out; a mirror that exchanges left and right",
    ),
    Case(
        "mirror_keeps_sides",
        mirror_keeps_sides,
        "generated figures",
        "HeatmapNet",
        "princeton-vl/pytorch_stacked_hourglass#43, talmolab/sleap#228: joints mirrored without exchanging sides",
        cause="augment.pairs_not_swapped",
        of="figures",
    ),
    Case(
        "covered_joints_at_the_corner",
        covered_joints_at_the_corner,
        "generated figures",
        "HeatmapNet",
        "joints without a position stand at (0, 0), and all are taken as seen",
        cause="data.keypoint_outside",
        of="figures",
    ),
    Case(
        "annotators_disagree_on_left",
        annotators_disagree_on_left,
        "generated figures",
        "HeatmapNet",
        "half of the labels say left as the viewer sees it, half as the person does (Johnson and Everingham 2011)",
        cause="data.left_right",
        of="figures",
    ),
    Case(
        "covered_joints_counted",
        covered_joints_counted,
        "generated figures",
        "HeatmapNet",
        "the metric divides by all joints, also those without a position",
        cause="metric.ignored_counted",
        of="figures",
        also=("metric.not_perfect",),
    ),
    Case(
        "coordinates",
        coordinates,
        "generated figures",
        "Coordinates with group norms",
        "coordinates from -1 to 1, learned by SGD",
    ),
    Case(
        "coordinates_in_pixels",
        coordinates_in_pixels,
        "generated figures",
        "Coordinates with group norms",
        "coordinates in pixels at a rate for numbers near 1 (DeepPose normalises them, arXiv:1312.4659)",
        cause="loss.target_scale",
        of="coordinates",
        also=("optim.rate_high",),
    ),
)
