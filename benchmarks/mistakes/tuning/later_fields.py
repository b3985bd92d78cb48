"""Fields from the air: class maps with void pixels, functions in the manner of albumentations, a small U-Net."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from skimage.draw import polygon
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("soil", "wheat", "water", "wood", "road")
VOID, SIZE = 255, 64
COLORS = np.array([(150, 115, 85), (190, 175, 80), (60, 90, 140), (40, 85, 45), (130, 130, 130)])


def _outline(rng: np.random.Generator) -> np.ndarray:
    """Corners (x, y) of a field: an irregular polygon, as an annotation tool exports it."""
    x, y = rng.uniform(8, 56, 2)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radii = rng.uniform(9, 22, 7)
    return np.stack([x + 1.4 * radii * np.cos(angles), y + 0.7 * radii * np.sin(angles)], 1)


def scene(rng: np.random.Generator, *, swapped: bool) -> tuple[np.ndarray, np.ndarray]:
    """A view from the air and its mask, painted from the outlines; the frame of the camera is void."""
    ids = np.zeros((SIZE, SIZE), np.int64)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for kind in rng.permutation([1, 2, 3, 1, 3]):
        corners = _outline(rng)
        ids[polygon(corners[:, 1], corners[:, 0], ids.shape)] = kind
        rows, columns = (corners[:, 0], corners[:, 1]) if swapped else (corners[:, 1], corners[:, 0])
        mask[polygon(rows, columns, mask.shape)] = kind
    lane = rng.integers(6, 58)
    for painted in (ids, mask):
        painted[lane : lane + 4] = 4
    picture = COLORS[ids] + rng.normal(0, 10, (1, 1, 3)) + rng.normal(0, 13, (SIZE, SIZE, 3))
    picture[-7:] = 25 + rng.normal(0, 5, (7, SIZE, 3))
    mask[-7:] = VOID
    return picture.clip(0, 255).astype(np.uint8), mask


def _resized(array: np.ndarray, size: int, mode: str) -> np.ndarray:
    planes = torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)[None].float()
    options = {} if mode == "nearest" else {"align_corners": False}
    planes = functional.interpolate(planes, size=(size, size), mode=mode, **options)
    return planes[0].permute(1, 2, 0).numpy().round().astype(np.uint8).reshape(size, size, *array.shape[2:])


def augmented(image: np.ndarray, mask: np.ndarray, mask_mode: str = "nearest") -> tuple[np.ndarray, np.ndarray]:
    """Scales up, crops and mirrors a picture and its mask; ids outside of the classes are void."""
    size = int(torch.randint(SIZE, 96, ()))
    image, mask = _resized(image, size, "bilinear"), _resized(mask, size, mask_mode)
    y, x = torch.randint(0, size - SIZE + 1, (2,)).tolist()
    image, mask = image[y : y + SIZE, x : x + SIZE], mask[y : y + SIZE, x : x + SIZE].copy()
    if torch.rand(()) < 0.5:
        image, mask = image[:, ::-1].copy(), mask[:, ::-1].copy()
    mask[mask >= len(CLASSES)] = VOID
    return image, mask


class Fields(Dataset):
    def __init__(
        self, seed: int, count: int, transform: Callable[..., tuple[np.ndarray, np.ndarray]] | None, *, swapped: bool
    ) -> None:
        rng = np.random.default_rng(seed)
        self.scenes = [scene(rng, swapped=swapped) for _ in range(count)]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.scenes[index]
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        return torch.from_numpy(image).permute(2, 0, 1) / 255.0 - 0.4, torch.from_numpy(mask.astype(np.int64))


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SmallUNet(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.first, self.second = _double(3, width), _double(width, 2 * width)
        self.third = _double(2 * width, 4 * width)
        self.up2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.back2 = _double(4 * width, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.back1 = _double(2 * width, width)
        self.head = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.first(x)
        two = self.second(functional.max_pool2d(one, 2))
        three = self.third(functional.max_pool2d(two, 2))
        two = self.back2(torch.cat([two, self.up2(three)], 1))
        return self.head(self.back1(torch.cat([one, self.up1(two)], 1)))


class FocalLoss(nn.Module):
    """Cross-entropy with less weight on what is easy already; void pixels do not count."""

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        valid = target != VOID
        entropy = functional.cross_entropy(logits, target.where(valid, 0), reduction="none")
        focal = (1 - torch.exp(-entropy)) ** self.gamma * entropy
        return focal[valid].mean()


class ClampedFocalLoss(FocalLoss):
    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        target = target.clamp(max=logits.shape[1] - 1)  # gather fails on 255
        entropy = functional.cross_entropy(logits, target, reduction="none")
        return ((1 - torch.exp(-entropy)) ** self.gamma * entropy).mean()


class MeanIoU:
    """Intersection over union by class, over the whole set."""

    def __init__(self, *, masked: bool = True) -> None:
        self.masked = masked
        self.reset()

    def reset(self) -> None:
        self.intersection = torch.zeros(len(CLASSES))
        self.union = torch.zeros(len(CLASSES))

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        answer = outputs.argmax(1)
        if self.masked:
            answer, targets = answer[targets != VOID], targets[targets != VOID]
        for kind in range(len(CLASSES)):
            a, t = answer == kind, targets == kind
            self.intersection[kind] += (a & t).sum()
            self.union[kind] += (a | t).sum()

    def compute(self) -> float:
        return (self.intersection / self.union.clamp(min=1)).mean().item()


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(2)
    transform = partial(augmented, mask_mode="bilinear" if mistake == "interpolated" else "nearest")
    train = Fields(3, 160, transform, swapped=mistake == "swapped")
    val = Fields(4, 40, None, swapped=mistake == "swapped")
    model = SmallUNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    arguments = {
        "model": model,
        "train": DataLoader(train, batch_size=8, shuffle=True, drop_last=True),
        "val": DataLoader(val, batch_size=8),
        "loss": ClampedFocalLoss() if mistake == "counted" else FocalLoss(),
        "optimizer": optimizer,
        "metric": MeanIoU(masked=mistake != "union"),
        "classes": CLASSES,
        "epochs": 40,
        "task": "segmentation",
    }
    if mistake in ("", "interpolated"):
        arguments["augment"] = transform
    return Plain(arguments)


_case = partial(Case, data="generated fields from the air", network="small U-Net", of="later_fields")
CASES: tuple[Case, ...] = (
    Case(
        "later_fields",
        make,
        "generated fields from the air",
        "small U-Net",
        "focal loss of its own, a frame of void pixels, a metric class, augment of arrays before tensors",
    ),
    _case(
        "later_fields_outlines_as_rows",
        partial(make, mistake="swapped"),
        source="skimage.draw.polygon takes rows first, annotation tools export x first; nothing fails on squares",
        cause="data.mask_misaligned",
    ),
    _case(
        "later_fields_mask_bilinear",
        partial(make, mistake="interpolated"),
        source="one resize for both; albumentations and torchvision.transforms.v2 choose nearest for masks for it",
        cause="augment.mask_interpolated",
    ),
    _case(
        "later_fields_void_clamped",
        partial(make, mistake="counted"),
        source="public focal losses gather by target and fail on 255, so people clamp it to the last class",
        cause="loss.ignored_counted",
    ),
    _case(
        "later_fields_iou_counts_void",
        partial(make, mistake="union"),
        source="union of answer and target over all pixels: what is answered on void counts as false",
        cause="metric.ignored_counted",
        also=("metric.disagrees",),
    ),
)
