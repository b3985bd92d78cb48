"""Joints of one person, as maps and as numbers: generated people who face the camera, in plain PyTorch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

NAMES = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
PAIRS = ((1, 2), (3, 4))
SIDE, MAP = 64, 16
TRAIN, VAL = 320, 96


def draw_person(rng: np.random.Generator, width: int = SIDE, height: int = SIDE) -> tuple[Image.Image, np.ndarray]:
    """A person in front of clutter, and the five joints in pixels; the person's left is to the right in the image."""
    clutter = Image.fromarray(rng.integers(30, 200, (8, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    image = clutter.filter(ImageFilter.GaussianBlur(1.5))
    size = rng.uniform(0.62, 0.9) * min(width, height)
    middle = np.array([width / 2, height / 2]) + rng.uniform(-0.08, 0.08, 2) * min(width, height)
    neck, hip = middle + np.array([0, -0.24 * size]), middle + np.array([0, 0.08 * size])
    head = neck + np.array([rng.uniform(-0.04, 0.04) * size, -0.1 * size])
    joints = [head]
    for sign in (1, -1):
        angle = rng.uniform(-0.9, 1.2)
        joints.append(neck + 0.36 * size * np.array([sign * np.cos(angle), np.sin(angle)]))
    for sign in (1, -1):
        angle = rng.uniform(0.75, 1.45)
        joints.append(hip + 0.4 * size * np.array([sign * np.cos(angle), np.sin(angle)]))
    pen = ImageDraw.Draw(image)
    skin = tuple(int(value) for value in rng.integers(200, 255, 3))
    cloth = tuple(int(value) for value in rng.integers(0, 60, 3))
    thick = max(2, int(0.07 * size))
    for end in joints[1:3]:
        pen.line([*neck, *end], fill=cloth, width=thick)
    for end in joints[3:]:
        pen.line([*hip, *end], fill=cloth, width=thick)
    pen.line([*neck, *hip], fill=cloth, width=2 * thick)
    for at, radius in [(head, 0.1), *((end, 0.045) for end in joints[1:])]:
        pen.ellipse([*(at - radius * size), *(at + radius * size)], fill=skin)
    return image, np.array(joints, dtype=np.float32)


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def heatmaps(joints: Tensor, visible: Tensor, sigma: float = 1.0) -> Tensor:
    """A Gaussian for each joint on a map of a quarter of the image's side."""
    grid = torch.arange(MAP).float()
    at = (joints + 0.5) * MAP / SIDE - 0.5
    maps = torch.exp(-((grid - at[:, :1]) ** 2)[:, None, :] / (2 * sigma**2))
    maps = maps * torch.exp(-((grid - at[:, 1:]) ** 2)[:, :, None] / (2 * sigma**2))
    return maps * visible[:, None, None]


def mirror(image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    joints = torch.stack([SIDE - 1 - joints[:, 0], joints[:, 1]], 1)
    for left, right in PAIRS:
        joints[[left, right]] = joints[[right, left]]
    return image.flip(-1), joints


class People(Dataset):
    """Samples as dicts: image, joints in its pixels, which of them are seen, and the maps to learn."""

    def __init__(
        self, count: int, seed: int, *, flips: bool = False, viewer: float = 0.0, sideways: bool = False
    ) -> None:
        rng = np.random.default_rng(seed)
        self.flips = flips
        self.samples = []
        for _ in range(count):
            if sideways:  # wider than high: made smaller, and laid on the middle of a grey square
                wide, joints = draw_person(rng, int(rng.integers(80, 128)), 64)
                scale = SIDE / wide.width
                small = wide.resize((SIDE, round(wide.height * scale)), Image.BILINEAR)
                image = Image.new("RGB", (SIDE, SIDE), (114, 114, 114))
                image.paste(small, (0, (SIDE - small.height) // 2))
                joints = joints * np.float32(scale)
            else:
                image, joints = draw_person(rng)
            if rng.random() < viewer:
                joints = joints[[0, 2, 1, 4, 3]]
            visible = (rng.random(len(NAMES)) > 0.12).astype(np.float32)
            self.samples.append((to_tensor(image), torch.from_numpy(joints), torch.from_numpy(visible)))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, joints, visible = self.samples[index]
        if self.flips and torch.rand(()) < 0.5:
            image, joints = mirror(image, joints)
            visible = visible[[0, 2, 1, 4, 3]]
        return {"image": image, "joints": joints, "visible": visible, "maps": heatmaps(joints, visible)}


class Baseline(nn.Module):
    """Down by 16, up again by transposed convolutions, as Simple Baselines does it."""

    def __init__(self, kernel: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in (16, 32, 64, 96):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.backbone = nn.Sequential(*layers)
        up: list[nn.Module] = []
        for width in (64, 64):
            extra = 0 if kernel == 4 else 1
            up += [nn.ConvTranspose2d(before, width, kernel, 2, 1, output_padding=extra, bias=False)]
            up += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.deconv = nn.Sequential(*up)
        self.final = nn.Conv2d(before, len(NAMES), 1)
        nn.init.normal_(self.final.weight, std=0.001)
        nn.init.zeros_(self.final.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.final(self.deconv(self.backbone(image)))


def map_loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    squares = (outputs - batch["maps"]).pow(2).mean((2, 3)) * batch["visible"]
    return 100 * squares.sum() / batch["visible"].sum().clamp(min=1)


def peaks(maps: Tensor) -> Tensor:
    best = maps.flatten(2).argmax(2)
    return (torch.stack([best % MAP, best // MAP], 2) + 0.5) * SIDE / MAP - 0.5


def pck(outputs: Tensor, batch: dict[str, Tensor], within: float = 6.0) -> Tensor:
    """Share of the joints that are seen whose answer lies within 6 pixels."""
    near = ((peaks(outputs) - batch["joints"]).norm(dim=2) < within).float()
    return (near * batch["visible"]).sum() / batch["visible"].sum().clamp(min=1)


def pck_of_all(outputs: Tensor, batch: dict[str, Tensor], within: float = 6.0) -> Tensor:
    distance = torch.linalg.norm(peaks(outputs) - batch["joints"], dim=-1)
    return (distance < within).float().mean()


def maps_run(
    folders: Folders,
    *,
    data: Callable[..., People] = People,
    kernel: int = 4,
    metric: Callable[[Tensor, dict[str, Tensor]], Tensor] = pck,
) -> Plain:
    torch.manual_seed(3)
    train, val = data(TRAIN, 11, flips=True), data(VAL, 12)
    model = Baseline(kernel)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 16, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(0)),
            "val": DataLoader(val, 32),
            "loss": map_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": metric,
            "augment": mirror,
            "epochs": 15,
            "task": "pose",
        }
    )


# As numbers ---------------------------------------------------------------------------------------------------------


class Regressor(nn.Module):
    """Joints as 2K numbers from a small network with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        before = 3
        for width in (24, 48, 64, 96):
            self.features.append(nn.Conv2d(before, width, 3, 2, 1))
            self.features.append(nn.GroupNorm(8, width))
            self.features.append(nn.ReLU())
            before = width
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(96 * 16, 128), nn.ReLU(), nn.Linear(128, 2 * len(NAMES)))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image - 0.5))


class Batches:
    """Batches of (images, joints), drawn anew each time it is run."""

    def __init__(self, people: People, unit: float, *, hidden: float | None, shuffle: bool) -> None:
        self.images = torch.stack([image for image, _, _ in people.samples])
        joints = torch.stack([joints for _, joints, _ in people.samples])
        visible = torch.stack([visible for _, _, visible in people.samples])
        if hidden is not None:  # what the annotation file holds where the annotator saw nothing
            joints = torch.where(visible[..., None] > 0, joints, torch.full_like(joints, hidden))
        self.joints = joints.flatten(1) / unit
        self.shuffle = shuffle

    def __len__(self) -> int:
        return -(-len(self.images) // 32)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.images)) if self.shuffle else torch.arange(len(self.images))
        for part in order.split(32):
            yield self.images[part], self.joints[part]


def numbers_run(folders: Folders, *, unit: float = SIDE, hidden: float | None = None) -> Plain:
    torch.manual_seed(4)
    model = Regressor()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    loss = F.mse_loss

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        images, joints = batch
        model.train()
        optimizer.zero_grad()
        value = loss(model(images), joints)
        value.backward()
        optimizer.step()
        return value.detach()

    def mean_error(outputs: Tensor, joints: Tensor) -> float:
        return float(((outputs - joints) * unit).view(len(outputs), -1, 2).norm(dim=2).mean())

    return Plain(
        {
            "model": model,
            "train": Batches(People(TRAIN, 21), unit, hidden=hidden, shuffle=True),
            "val": Batches(People(VAL, 22), unit, hidden=hidden, shuffle=False),
            "loss": loss,
            "optimizer": optimizer,
            "step": step,
            "metric": mean_error,
            "epochs": 25,
            "task": "pose",
        }
    )


def _case(name: str, make: Callable[[Folders], Plain], network: str, source: str, **more: Any) -> Case:
    return Case(name, make, "generated people", network, source, **more)


MAPS, NUMBERS = "joint_maps_of_people_who_face_us", "joint_numbers_in_shares_of_the_side"
CASES = (
    _case(
        MAPS,
        maps_run,
        "simple baseline, 4 stages",
        "Some maps are empty; flips swap pairs.",
    ),
    _case(
        NUMBERS,
        numbers_run,
        "4 convolutions, group norm",
        "Regression by a closure as step.",
    ),
    _case(
        "a_second_annotator_used_the_viewers_left",
        partial(maps_run, data=partial(People, viewer=0.4)),
        "simple baseline, 4 stages",
        "Annotators differ in whose left is meant; MPII and LSP define it by the person, many tools by the viewer.",
        cause="data.left_right",
        of=MAPS,
    ),
    _case(
        "joints_scaled_without_the_border_of_the_letterbox",
        partial(maps_run, data=partial(People, sideways=True)),
        "simple baseline, 4 stages",
        "Wide pictures are laid on the middle of a square; the joints are multiplied by its factor, the border above "
        "is forgotten: usual where a resize was exchanged for a letterbox.",
        cause="data.mask_misaligned",
        of=MAPS,
    ),
    _case(
        "transposed_convolutions_of_kernel_three",
        partial(maps_run, kernel=3),
        "simple baseline, 4 stages",
        "Odena et al. 2016, Deconvolution and Checkerboard Artifacts: kernel 3 at stride 2 overlaps unevenly.",
        cause="network.checkerboard",
        of=MAPS,
    ),
    _case(
        "pck_counts_joints_that_nobody_sees",
        partial(maps_run, metric=pck_of_all),
        "simple baseline, 4 stages",
        "The loss weighs by visibility as published code does, the score was written in one line without it.",
        cause="metric.ignored_counted",
        of=MAPS,
    ),
    _case(
        "joints_regressed_in_pixels_of_a_full_hd_frame",
        partial(numbers_run, unit=SIDE / 1920),
        "4 convolutions, group norm",
        "Annotations of a video tool are pixels of the frame; the picture is resized, the loss takes them as they are.",
        cause="loss.target_scale",
        of=NUMBERS,
    ),
    _case(
        "unseen_joints_are_minus_one_hundred",
        partial(numbers_run, hidden=-100.0),
        "4 convolutions, group norm",
        "LSP extended and COCO hold numbers without meaning where a joint is not visible; loaders ignore the flag.",
        cause="data.keypoint_outside",
        of=NUMBERS,
    ),
)
