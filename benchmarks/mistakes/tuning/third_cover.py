"""Land cover of coloured aerial pictures, four classes and void: a dilated network with group norm, batches of two."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("water", "field", "forest", "town")
VOID, SIDE, GATHERED = 255, 64, 4


def land(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Regions of four textures, and their ids with void along the borders, as annotators leave it."""
    heights = np.stack([gaussian_filter(rng.standard_normal((SIDE, SIDE)), 9) for _ in CLASSES])
    ids = heights.argmax(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    fine = rng.standard_normal((SIDE, SIDE))
    rows = np.sin((x * np.cos(rng.uniform(0, 3)) + y * np.sin(rng.uniform(0, 3))) * 1.2)
    roofs = (((x + rng.integers(9)) % 6 < 3) & ((y + rng.integers(9)) % 6 < 3)).astype(float)
    textures = np.stack([0.03 * fine, 0.13 * rows, 0.22 * gaussian_filter(fine, 0.8), 0.4 * roofs])
    colours = np.array([[0.25, 0.35, 0.45], [0.4, 0.45, 0.3], [0.3, 0.42, 0.3], [0.35, 0.35, 0.35]])
    colours = colours + rng.normal(0, 0.05, colours.shape)
    picture = colours[ids] + np.take_along_axis(textures, ids[None], 0)[0][..., None]
    border = np.zeros((SIDE, SIDE), bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    mask = np.where(binary_dilation(border, iterations=2), VOID, ids)
    return (picture + rng.normal(0, 0.03, picture.shape)).clip(0, 1), mask


def lands(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(seed)
    made = [land(rng) for _ in range(count)]
    return [
        (torch.from_numpy((picture - 0.4) / 0.2).float().permute(2, 0, 1), torch.from_numpy(mask).long())
        for picture, mask in made
    ]


def zoomed(picture: Tensor, mask: Tensor, rule: InterpolationMode = InterpolationMode.NEAREST) -> tuple[Tensor, Tensor]:
    """A crop of the same place of both, brought back to the size."""
    box = RandomResizedCrop.make_params(RandomResizedCrop(SIDE, scale=(0.4, 1.0)), [picture])
    where = [box[key] for key in ("top", "left", "height", "width")]
    picture = resized_crop(picture, *where, [SIDE, SIDE], antialias=True)
    mask = resized_crop(mask[None].float(), *where, [SIDE, SIDE], interpolation=rule)[0].long()
    mask[mask >= len(CLASSES)] = VOID  # whatever is no class is void
    return picture, mask


class Lands(Dataset):
    def __init__(self, pairs: list[tuple[Tensor, Tensor]], augment: Callable | None = None) -> None:
        self.pairs, self.augment = pairs, augment

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.augment(*self.pairs[index]) if self.augment else self.pairs[index]


def stage(before: int, after: int, stride: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False), nn.GroupNorm(8, after), nn.ReLU()
    )


class Dilated(nn.Module):
    """Two strides, three dilations, and bilinear upsampling to the size of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            stage(3, 16, 1, 1),
            stage(16, 32, 2, 1),
            stage(32, 32, 1, 1),
            stage(32, 48, 2, 1),
            stage(48, 48, 1, 2),
            stage(48, 48, 1, 4),
            nn.Conv2d(48, len(CLASSES), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.body(x), size=x.shape[-2:], mode="bilinear", align_corners=False)


def overlap(probabilities: Tensor, hot: Tensor) -> Tensor:
    """Dice's loss, the mean of the classes."""
    both = (probabilities * hot).sum((0, 2, 3))
    return 1 - ((2 * both + 1) / (probabilities.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + 1)).mean()


def mixed(outputs: Tensor, mask: Tensor) -> Tensor:
    seen = (mask != VOID)[:, None]
    hot = functional.one_hot(mask.where(mask != VOID, 0), len(CLASSES)).permute(0, 3, 1, 2)
    entropy = functional.cross_entropy(outputs, mask, ignore_index=VOID)
    return entropy + overlap(outputs.softmax(1) * seen, hot * seen)


def mixed_over_void(outputs: Tensor, mask: Tensor) -> Tensor:
    last = len(CLASSES) - 1
    hot = functional.one_hot(mask.clamp(max=last), len(CLASSES)).permute(0, 3, 1, 2)
    entropy = functional.cross_entropy(outputs, mask.clamp(max=last))
    return entropy + overlap(outputs.softmax(1), hot)


class PixelAccuracy:
    """The share of right pixels, of those that have a class."""

    def __init__(self, void: int | None = VOID) -> None:
        self.void = void
        self.reset()

    def reset(self) -> None:
        self.right = self.total = 0

    def update(self, outputs: Tensor, mask: Tensor) -> None:
        counted = torch.ones_like(mask, dtype=torch.bool) if self.void is None else mask != self.void
        self.right += int(((outputs.argmax(1) == mask) & counted).sum())
        self.total += int(counted.sum())

    def compute(self) -> float:
        return self.right / max(self.total, 1)


def scored(model: nn.Module, loader: DataLoader, metric: PixelAccuracy) -> float:
    model.eval()
    metric.reset()
    with torch.no_grad():
        for pictures, masks in loader:
            metric.update(model(pictures), masks)
    return metric.compute()


def run(
    folders: Folders,
    *,
    rule: InterpolationMode = InterpolationMode.NEAREST,
    loss: Callable[[Tensor, Tensor], Tensor] = mixed,
    share: int = GATHERED,
    void_of_metric: int | None = VOID,
) -> Plain:
    torch.manual_seed(0)
    augment = partial(zoomed, rule=rule)
    train = DataLoader(Lands(lands(120, 1), augment), 2, shuffle=True, generator=torch.Generator().manual_seed(0))
    val = DataLoader(Lands(lands(40, 2)), 4)
    model = Dilated()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    metric = PixelAccuracy(void_of_metric)
    seen = 0

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal seen
        model.train()
        pictures, masks = batch
        value = loss(model(pictures), masks)
        (value / share).backward()
        seen += 1
        if seen % GATHERED == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    arguments = {
        "model": model,
        "train": train,
        "val": val,
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
        "epochs": 20,
        "augment": augment,
        "metric": metric,
        "evaluate": partial(scored, metric=metric),
        "classes": CLASSES,
        "task": "segmentation",
    }
    return Plain(arguments)


HEALTHY = "cover_with_void_gathered_gradients"
planted = partial(Case, data="generated land cover", network="dilated with group norm", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated land cover",
        "dilated with group norm",
        "batches of two under group norm, gradients of four batches gathered, void of 255 left out by both losses",
    ),
    planted(
        "cover_masks_zoomed_bilinearly",
        partial(run, rule=InterpolationMode.BILINEAR),
        cause="augment.mask_interpolated",
        source="torchvision's transforms v2: a plain tensor is an image, only tv_tensors.Mask is resized by nearest",
    ),
    planted(
        "cover_void_clamped_to_last_class",
        partial(run, loss=mixed_over_void),
        cause="loss.ignored_counted",
        source="people clamp a mask to silence `Target 255 is out of bounds`; void then counts as town",
    ),
    planted(
        "cover_gathered_gradients_not_divided",
        partial(run, share=1),
        cause="optim.accumulation",
        source="torch's notes on automatic mixed precision divide the loss by iters_to_accumulate; loops at hand "
        "forget it",
    ),
    planted(
        "cover_accuracy_over_void",
        partial(run, void_of_metric=None),
        cause="metric.ignored_counted",
        source="people write (outputs.argmax(1) == mask).float().mean() while the loss has ignore_index=255",
        also=("metric.not_perfect",),
    ),
)
