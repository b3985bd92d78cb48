"""Key points of generated people: heat maps, and coordinates with confidence offsets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

SIDE = 64
NAMES = ("head", "hip", "left hand", "right hand", "left foot", "right foot")
PAIRS = [0, 1, 3, 2, 5, 4]


def person(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A person from the front: the left arm and leg have a glove and a boot, so that sides can be told.

    Returns:
        image of bytes, and (x, y, visible) of each joint. One that is covered or outside has zeros, as COCO has them.
    """
    image = draw.normal(90, 18, (SIDE, SIDE, 3))
    image += draw.normal(0, 30, 3)
    height = draw.uniform(30, 46)
    x, y = draw.uniform(20, 44), draw.uniform(4, 60 - height)
    hip = np.array([x + draw.normal(0, 2), y + height * 0.55])
    head = np.array([x, y])
    joints = [head, hip]
    for reach, top in ((0.4, 0.25), (0.45, 0.55)):
        for side in (1, -1):
            angle = draw.uniform(0.1, 1.1)
            start = head + (hip - head) * min(1.0, top / 0.55)
            joints.append(start + height * reach * np.array([side * np.sin(angle), np.cos(angle)]))
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def paint(at: np.ndarray, radius: float, colour: tuple[float, float, float]) -> None:
        image[(columns - at[0]) ** 2 + (rows - at[1]) ** 2 <= radius**2] = colour

    neck = head + (hip - head) * 0.4
    for start, end in ((head, hip), (neck, joints[2]), (neck, joints[3]), (hip, joints[4]), (hip, joints[5])):
        for part in np.linspace(0, 1, 24):
            paint(start + (end - start) * part, 1.3, (215, 205, 195))
    paint(head, 4, (230, 190, 150))
    paint(joints[2], 2.5, (220, 40, 40))
    paint(joints[4], 2.5, (40, 60, 220))
    points = np.array([(*joint, 1.0) for joint in joints], dtype=np.float32)
    points[((points[:, :2] < 0) | (points[:, :2] > SIDE - 1)).any(1)] = 0
    for covered in np.flatnonzero(draw.random(len(points)) < 0.12):
        paint(joints[covered], 6, tuple(draw.uniform(60, 160, 3)))
        points[covered] = 0
    return image.clip(0, 255).astype(np.uint8), points


class People(Dataset):
    """Images and joints; half of the training images are mirrored."""

    def __init__(
        self, count: int, seed: int, *, augmented: bool, swap: list[int] | None = None, all_visible: bool = False
    ) -> None:
        draw = np.random.default_rng(seed)
        self.people = [person(draw) for _ in range(count)]
        self.augmented = augmented
        self.swap = PAIRS if swap is None else swap
        self.all_visible = all_visible

    def __len__(self) -> int:
        return len(self.people)

    def mirrored(self, image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
            joints = joints[self.swap].clone()
            joints[:, 0] = torch.where(joints[:, 2] > 0, SIDE - 1 - joints[:, 0], joints[:, 0])
        return image, joints

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture, points = self.people[index]
        image = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        joints = torch.from_numpy(points).clone()
        if self.all_visible:
            joints[:, 2] = 1
        return self.mirrored(image, joints) if self.augmented else (image, joints)


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class HeatNet(nn.Module):
    """Down to 8x8 and up again to one map of 16x16 for each joint."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 32))
        self.eighth = nn.Sequential(block(32, 64, 2), block(64, 64), block(64, 64))
        self.up = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.head = nn.Sequential(block(64, 32), nn.Conv2d(32, len(NAMES), 1))

    def forward(self, images: Tensor) -> Tensor:
        quarter = self.quarter(images)
        return self.head(torch.cat([quarter, F.relu(self.up(self.eighth(quarter)))], 1))


def drawn_maps(joints: Tensor) -> Tensor:
    """Gaussians of deviation 1 in maps of a quarter of the side."""
    grid = torch.arange(SIDE // 4)
    x, y = (joints[..., axis, None, None] / 4 for axis in (0, 1))
    return torch.exp(-((grid - x) ** 2 + (grid[:, None] - y) ** 2) / 2)


def heat_loss(outputs: Tensor, joints: Tensor) -> Tensor:
    """Squared error over the maps of the visible joints, weighted so that a map counts about one."""
    errors = (outputs - drawn_maps(joints)).square().mean((2, 3))
    visible = joints[..., 2]
    return 100 * (errors * visible).sum() / visible.sum().clamp(min=1)


def heat_loss_of_all(outputs: Tensor, joints: Tensor) -> Tensor:
    return 100 * (outputs - drawn_maps(joints)).square().mean()


def peaks(outputs: Tensor) -> Tensor:
    """(x, y) in pixels of the image of the largest value in each map."""
    best = outputs.flatten(2).argmax(2)
    side = outputs.shape[-1]
    return torch.stack([best % side, best // side], -1).float() * 4 + 2


class PCK:
    """Share of the visible joints that are within a tenth of the image's side."""

    def __init__(self, *, visible_only: bool = True, answers: Callable[[Tensor], Tensor] = peaks) -> None:
        self.visible_only = visible_only
        self.answers = answers
        self.reset()

    def reset(self) -> None:
        self.right = 0.0
        self.count = 0.0

    def update(self, outputs: Tensor, joints: Tensor) -> None:
        near = (self.answers(outputs) - joints[..., :2]).norm(dim=-1) < 0.1 * SIDE
        counted = joints[..., 2] > 0 if self.visible_only else torch.ones_like(near)
        self.right += float((near & counted).sum())
        self.count += float(counted.sum())

    def compute(self) -> float:
        return self.right / max(self.count, 1)


def batch_means(model: nn.Module, batches: Any) -> float:
    """Mean of each batch's share."""
    model.eval()
    shares = []
    with torch.no_grad():
        for images, joints in batches:
            metric = PCK()
            metric.update(model(images), joints)
            shares.append(metric.compute())
    return sum(shares) / len(shares)


def over_set(model: nn.Module, batches: Any) -> float:
    model.eval()
    metric = PCK()
    with torch.no_grad():
        for images, joints in batches:
            metric.update(model(images), joints)
    return metric.compute()


def heat_maps(
    folders: Folders,
    *,
    swap: list[int] | None = None,
    all_visible: bool = False,
    loss: Callable[[Tensor, Tensor], Tensor] = heat_loss,
    val_augmented: bool = False,
    evaluate: Callable[[nn.Module, Any], float] = over_set,
    metric: bool = True,
) -> Plain:
    torch.manual_seed(0)
    train = People(480, 1, augmented=True, swap=swap, all_visible=all_visible)
    val = People(100, 2, augmented=val_augmented, swap=swap, all_visible=all_visible)
    model = HeatNet()
    arguments = {
        "model": model,
        "train": DataLoader(train, 16, shuffle=True, drop_last=True),
        "val": DataLoader(val, 32),
        "loss": loss,
        "optimizer": torch.optim.Adam(model.parameters(), 2e-3),
        "augment": train.mirrored,
        "evaluate": evaluate,
        "epochs": 10,
        "task": "pose",
        "targets": "points",
    }
    if metric:
        arguments["metric"] = PCK()
    return Plain(arguments)


class OffsetNet(nn.Module):
    """Cells of 8x8 by a softmax, whose centre of mass is the coarse place; a second head refines it."""

    def __init__(self, *, hard: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(block(3, 16, 2), block(16, 32, 2), block(32, 64, 2), block(64, 64), block(64, 64))
        self.cells = nn.Conv2d(64, len(NAMES), 1)
        self.refine = nn.Linear(64, 2 * len(NAMES))
        self.hard = hard

    def forward(self, images: Tensor) -> Tensor:
        """(x, y) in units of the side."""
        features = self.features(images)
        cells = self.cells(features).flatten(2)
        centres = (torch.arange(8) + 0.5) / 8
        grid = torch.stack([centres.repeat(8), centres.repeat_interleave(8)], 1)
        coarse = grid[cells.argmax(2)] if self.hard else cells.softmax(2) @ grid
        return coarse + 0.1 * torch.tanh(self.refine(features.mean((2, 3)))).view(coarse.shape)


def coordinate_loss(outputs: Tensor, joints: Tensor) -> Tensor:
    errors = F.smooth_l1_loss(outputs, joints[..., :2] / SIDE, reduction="none", beta=0.05).sum(-1)
    return (errors * joints[..., 2]).sum() / joints[..., 2].sum().clamp(min=1)


def coordinates(folders: Folders, *, hard: bool = False, visible_only: bool = True) -> Plain:
    torch.manual_seed(0)
    train = People(480, 3, augmented=True)
    model = OffsetNet(hard=hard)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 24, shuffle=True, drop_last=True),
            "val": DataLoader(People(100, 4, augmented=False), 25),
            "loss": coordinate_loss,
            "optimizer": torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-4),
            "metric": PCK(visible_only=visible_only, answers=lambda outputs: outputs * SIDE),
            "epochs": 15,
            "task": "pose",
            "targets": "points",
        }
    )


def posed(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: heat_maps(folders, **change),
        data="generated people of six joints",
        network="heat maps of 16x16",
        source=source,
        cause=cause,
        of="heat_maps_of_people" if cause else "",
        also=also,
    )


def located(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: coordinates(folders, **change),
        data="generated people of six joints",
        network="soft argmax and refinement",
        source=source,
        cause=cause,
        of="soft_argmax_of_people" if cause else "",
        also=also,
    )


CASES = (
    posed(
        "heat_maps_of_people", None, "joints outside of the image are stored as zeros and left out; mirrored in pairs"
    ),
    posed(
        "flip_index_in_order",
        "augment.pairs_not_swapped",
        "ultralytics/ultralytics issue 19619: flip_idx of 0, 1, 2, ... with mirroring on",
        swap=[0, 1, 2, 3, 4, 5],
    ),
    posed(
        "unlabelled_joints_at_origin",
        "data.keypoint_outside",
        "COCO stores joints without a label as (0, 0, 0); a reader that sets the third number to 1 learns the corner",
        all_visible=True,
    ),
    posed(
        "hidden_joints_in_heat_loss",
        "loss.ignored_counted",
        "a plain MSELoss over the maps as for sets that label every joint, the target's visibility unused",
        loss=heat_loss_of_all,
    ),
    posed(
        "validation_mirrored",
        "augment.on_validation",
        "one data set class with its mirror on is made for both splits",
        val_augmented=True,
    ),
    posed(
        "pck_mean_of_batches",
        "metric.averaged_batches",
        "AverageMeter.update(value) without the count of visible joints that the value was a mean of",
        evaluate=batch_means,
        metric=False,
    ),
    located("soft_argmax_of_people", None, "integral regression, Sun et al. 2018, with a second head that refines"),
    located(
        "argmax_of_cells",
        "network.no_gradient",
        "argmax as in the decoding of heat maps used in the forward pass: only the refinement learns",
        hard=True,
    ),
    located(
        "pck_counts_hidden",
        "metric.ignored_counted",
        "PCK over all joints, those without a label at (0, 0) among them",
        visible_only=False,
    ),
)
