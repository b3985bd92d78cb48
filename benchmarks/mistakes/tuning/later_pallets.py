"""Parcels on pallets: boxes in lists, one box a cell of a grid, losses as a dict."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from skimage.measure import label, regionprops
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

NAMES = ("carton", "drum")
SIZE, STRIDE, ANCHOR = 64, 8, 16.0
Targets = list[dict[str, torch.Tensor]]


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A floor with one to three parcels apart from each other; their ids: 1 a carton, 2 a drum."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    ids = np.zeros((SIZE, SIZE), np.uint8)
    picture = _ground(rng, SIZE, SIZE, (50, 115))
    for corner in rng.permutation([(0, 0), (0, 32), (32, 0), (32, 32)])[: rng.integers(1, 4)]:
        height, width = rng.integers(7, 17), rng.integers(14, 29)
        y, x = corner + np.array([rng.integers(1, 31 - height), rng.integers(1, 31 - width)])
        kind = int(rng.integers(1, 3))
        inside = (rows >= y) & (rows < y + height) & (columns >= x) & (columns < x + width)
        if kind == 2:
            inside = ((rows - y - height / 2) / height) ** 2 + ((columns - x - width / 2) / width) ** 2 < 0.25
        ids[inside] = kind
        picture[inside] = rng.uniform(120, 240, 3)
    return (picture + rng.normal(0, 8, picture.shape)).clip(0, 255).astype(np.uint8), ids


def boxes_of(ids: np.ndarray, *, rows_first: bool) -> tuple[list[list[float]], list[int]]:
    """Boxes and classes of the parts of a mask."""
    boxes, kinds = [], []
    for part in regionprops(label(ids > 0)):
        top, left, bottom, right = part.bbox
        boxes.append(list(part.bbox) if rows_first else [left, top, right, bottom])
        row, column = part.coords[len(part.coords) // 2]
        kinds.append(int(ids[row, column]) - 1)
    return boxes, kinds


class Pallets(Dataset):
    def __init__(self, seed: int, count: int, *, rows_first: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.items = []
        for _ in range(count):
            picture, ids = scene(rng)
            self.items.append((picture, *boxes_of(ids, rows_first=rows_first)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        picture, boxes, kinds = self.items[index]
        target = {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(kinds)}
        return torch.from_numpy(picture).permute(2, 0, 1) / 255.0, target


def collate(samples: list[tuple[torch.Tensor, dict[str, torch.Tensor]]]) -> tuple[torch.Tensor, Targets]:
    images, targets = zip(*samples, strict=True)
    return torch.stack(images), list(targets)


class GridNet(nn.Module):
    """Answers objectness, place, extent and classes of each cell of 8x8 pixels."""

    def __init__(self, *, drops: bool = False, frozen_trunk: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 48)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]
        self.trunk = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Conv2d(48, 64, 3, padding=1), nn.LeakyReLU(0.1))
        self.head = nn.Conv2d(64, 5 + len(NAMES), 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias[:1], -3.0)
        self.drops, self.frozen_trunk = drops, frozen_trunk

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.frozen_trunk:
            with torch.no_grad():
                features = self.trunk(images)
        else:
            features = self.trunk(images)
        features = self.neck(features)
        if self.drops:
            features = functional.dropout(features, 0.3)
        return self.head(features)


def encoded(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row and column of each box's cell; its place in the cell, and the logarithm of its extent over the anchor's."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE
    cell = center.long().clamp(0, SIZE // STRIDE - 1)
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    return cell[:, 1], cell[:, 0], torch.cat([center - cell, (extent / ANCHOR).log()], 1)


def decoded(outputs: torch.Tensor, *, squared: bool = False) -> torch.Tensor:
    """The box (x1, y1, x2, y2) of each cell, in pixels, of outputs (B, channels, H, W): (B, H * W, 4)."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in outputs.shape[2:]), indexing="ij")
    center = (outputs[:, 1:3].sigmoid() + torch.stack([columns, rows])) * STRIDE
    extent = ANCHOR * ((2 * outputs[:, 3:5].sigmoid()) ** 2 if squared else outputs[:, 3:5].clamp(max=4).exp())
    return torch.cat([center - extent / 2, center + extent / 2], 1).flatten(2).transpose(1, 2)


def losses(outputs: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
    wanted = torch.zeros_like(outputs[:, 0])
    place, kinds = [], []
    for number, target in enumerate(targets):
        rows, columns, numbers = encoded(target["boxes"])
        wanted[number, rows, columns] = 1
        answer = outputs[number][:, rows, columns].T
        found = torch.cat([answer[:, 1:3].sigmoid(), answer[:, 3:5]], 1)
        place.append(functional.smooth_l1_loss(found, numbers, beta=0.1))
        kinds.append(functional.cross_entropy(answer[:, 5:], target["labels"]))
    objectness = functional.binary_cross_entropy_with_logits(outputs[:, 0], wanted, reduction="none")
    return {
        "objectness": objectness.sum() / wanted.sum().clamp(min=1),
        "place": torch.stack(place).mean(),
        "kind": torch.stack(kinds).mean(),
    }


def overlaps(first: torch.Tensor, second: torch.Tensor, extra: float = 0.0) -> torch.Tensor:
    """Intersection over union of each pair; `extra` is 1 where the last pixel belongs to the box, as in VOC."""
    corner = torch.maximum(first[:, None, :2], second[None, :, :2])
    other = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (other - corner + extra).clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + extra).prod(1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def best_overlap(outputs: torch.Tensor, targets: Targets, extra: float = 0.0) -> float:
    """How well the likeliest boxes cover the true ones, in shares of the picture."""
    found = []
    for scores, boxes, target in zip(outputs[:, 0].flatten(1), decoded(outputs), targets, strict=True):
        chosen = boxes[scores.topk(len(target["boxes"])).indices]
        found.append(overlaps(target["boxes"] / SIZE, chosen / SIZE, extra).amax(1))
    return torch.cat(found).mean().item()


def _predictor(model: nn.Module, *, squared: bool) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    @torch.no_grad()
    def predict(image: torch.Tensor) -> dict[str, torch.Tensor]:
        model.eval()
        outputs = model(image[None])
        scores = outputs[0, 0].flatten().sigmoid()
        chosen = scores.topk(3).indices
        kinds = outputs[0, 5:].flatten(1).argmax(0)
        return {
            "boxes": decoded(outputs, squared=squared)[0, chosen],
            "scores": scores[chosen],
            "labels": kinds[chosen],
        }

    return predict


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(17)
    train = Pallets(31, 224, rows_first=mistake == "rows")
    val = Pallets(32, 56, rows_first=mistake == "rows")
    model = GridNet(drops=mistake == "dropout", frozen_trunk=mistake == "no_grad")
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, batch_size=16, shuffle=True, collate_fn=collate),
            "val": DataLoader(val, batch_size=16, collate_fn=collate),
            "loss": losses,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": partial(best_overlap, extra=1.0) if mistake == "pixel" else best_overlap,
            "predict": _predictor(model, squared=mistake == "decoding"),
            "classes": NAMES,
            "epochs": 50,
            "task": "boxes",
        }
    )


_case = partial(Case, data="generated pallets", network="one box a cell", of="later_pallets")
CASES: tuple[Case, ...] = (
    Case(
        "later_pallets",
        make,
        "generated pallets",
        "one box a cell",
        "lists of dicts as targets, a dict of losses, a last layer that starts at a rare object's bias",
    ),
    _case(
        "later_pallets_rows_first",
        partial(make, mistake="rows"),
        source="regionprops' bbox is (min_row, min_col, max_row, max_col), taken for x1, y1, x2, y2",
        cause="data.box_format",
        also=("data.mask_misaligned",),
    ),
    _case(
        "later_pallets_decoded_as_yolov5",
        partial(make, mistake="decoding"),
        source="YOLOv3 trains log extents, YOLOv5 answers (2 sigmoid)^2; ultralytics/yolov5 explains the change",
        cause="loss.box_encoding",
        also=("predict.differs",),
    ),
    _case(
        "later_pallets_pixel_on_shares",
        partial(make, mistake="pixel"),
        source="the + 1 of VOC's IoU kept for boxes that are shares of the picture: all of them overlap",
        cause="metric.rewards_constant",
        also=("metric.disagrees",),
    ),
    _case(
        "later_pallets_functional_dropout",
        partial(make, mistake="dropout"),
        source="functional.dropout without training=self.training drops in evaluation too; pytorch forums",
        cause="norm.dropout_in_eval",
    ),
    _case(
        "later_pallets_trunk_without_gradient",
        partial(make, mistake="no_grad"),
        source="no_grad around the trunk, of the time when it had ImageNet's weights, kept in a run from scratch",
        cause="network.no_gradient",
    ),
)
