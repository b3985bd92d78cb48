"""Blood cells of BCCD found by a grid of cells, as YOLO finds things."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.ops import box_iou, nms

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("RBC", "WBC", "Platelets")
SIDE = 96
STRIDE = 8
MOST = 40


def read(root: Path, split: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of 160x120, and rows of class, x1, y1, x2, y2 in their pixels."""
    lines = (root / "ImageSets/Main" / f"{split}.txt").read_text().split()[:count]
    scenes = []
    for name in lines:
        with Image.open(root / "JPEGImages" / f"{name}.jpg") as file:
            file.draft("RGB", (160, 120))
            scale = 160 / 640
            picture = np.asarray(file.convert("RGB").resize((160, 120), Image.Resampling.BILINEAR))
        rows = []
        for thing in ElementTree.parse(root / "Annotations" / f"{name}.xml").iter("object"):
            box = [float(thing.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")]
            if box[2] - box[0] >= 8 and box[3] - box[1] >= 8:
                rows.append([CLASSES.index(thing.findtext("name", "")), *(value * scale for value in box)])
        scenes.append((picture, np.array(rows, dtype=np.float32).reshape(-1, 5)))
    return scenes


class Cells(Dataset):
    """Windows of 96x96 at random places in training, else whole pictures; boxes with their middle outside are left out.

    The targets are 40 rows of class, x1, y1, x2, y2; class -1 fills the rest.
    """

    def __init__(
        self, scenes: list[tuple[np.ndarray, np.ndarray]], *, training: bool, corners: bool = True, keep: bool = False
    ) -> None:
        self.scenes = scenes
        self.training = training
        self.corners = corners
        self.keep = keep

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture, rows = self.scenes[index]
        height, width = picture.shape[:2]
        x = y = 0
        if self.training:
            x, y = (int(torch.randint(0, side - SIDE + 1, ())) for side in (width, height))
            width = height = SIDE
        window = torch.from_numpy(picture[y : y + height, x : x + width].copy())
        boxes = rows.copy()
        boxes[:, 1:] -= (x, y, x, y)
        middles = (boxes[:, 1:3] + boxes[:, 3:]) / 2
        if not self.keep:
            boxes = boxes[((middles >= 0) & (middles < (width, height))).all(1)]
        boxes[:, 1:] = boxes[:, 1:].clip(0, (width, height) * 2)
        if not self.corners:
            boxes[:, 3:] -= boxes[:, 1:3]
        target = torch.full((MOST, 5), -1.0)
        target[: len(boxes)] = torch.from_numpy(boxes)[:MOST]
        return window.permute(2, 0, 1).float() / 255, target

    def raw(self, index: int) -> np.ndarray:
        """The whole picture."""
        return self.scenes[index][0]


def layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.GroupNorm(4, outputs), nn.SiLU()
    )


class Grid(nn.Module):
    """For each cell of 8x8 pixels: is there a middle, its place, the logarithms of the sides, and the classes."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((3, 16, 2), (16, 32, 2), (32, 48, 2), (48, 64, 1), (64, 64, 1))
        self.body = nn.Sequential(*(layer(*size) for size in sizes))
        self.head = nn.Conv2d(64, 5 + len(CLASSES), 1)
        nn.init.constant_(self.head.bias[:1], -2.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images)).permute(0, 2, 3, 1)


def grid_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Presence in all cells; place, sides and class where a middle is."""
    rows, columns = outputs.shape[1:3]
    batch, slot = (targets[..., 0] >= 0).nonzero(as_tuple=True)
    kind, box = targets[batch, slot, 0].long(), targets[batch, slot, 1:]
    middle = (box[:, :2] + box[:, 2:]) / 2 / STRIDE
    x = middle[:, 0].long().clamp(0, columns - 1)
    y = middle[:, 1].long().clamp(0, rows - 1)
    there = torch.zeros(outputs.shape[:3])
    there[batch, y, x] = 1
    answers = outputs[batch, y, x]
    inside = torch.sigmoid(answers[:, 1:3])
    sides = ((box[:, 2:] - box[:, :2]).clamp(min=1) / STRIDE).log()
    count = max(len(kind), 1)
    return (
        F.binary_cross_entropy_with_logits(outputs[..., 0], there, reduction="sum") / count
        + F.mse_loss(inside, middle - torch.stack([x, y], 1), reduction="sum") / count
        + F.smooth_l1_loss(answers[:, 3:5], sides, reduction="sum") / count
        + F.cross_entropy(answers[:, 5:], kind, reduction="sum") / count
    )


def decoded(outputs: Tensor, *, linear: bool = False) -> list[Tensor]:
    """Of each image rows of class, score, x1, y1, x2, y2; `linear` takes the sides as they come."""
    rows, columns = outputs.shape[1:3]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    middle = (torch.stack([x, y], -1) + torch.sigmoid(outputs[..., 1:3])) * STRIDE
    sides = (outputs[..., 3:5] if linear else outputs[..., 3:5].clamp(max=4).exp()) * STRIDE
    boxes = torch.cat([middle - sides / 2, middle + sides / 2], -1).flatten(1, 2)
    scores = torch.sigmoid(outputs[..., 0]).flatten(1)
    kinds = outputs[..., 5:].argmax(-1).flatten(1)
    answers = []
    for box, score, kind in zip(boxes, scores, kinds, strict=True):
        sure = (score > 0.3).nonzero()[:, 0]
        sure = sure[nms(box[sure], score[sure], 0.4)]
        answers.append(torch.cat([kind[sure, None].float(), score[sure, None], box[sure]], 1))
    return answers


class F1:
    """F1 over the set of boxes found with an IoU of one half and the right class."""

    def __init__(self, *, linear: bool = False) -> None:
        self.linear = linear
        self.reset()

    def reset(self) -> None:
        self.right = self.answered = self.there = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        for answer, target in zip(decoded(outputs, linear=self.linear), targets, strict=True):
            truth = target[target[:, 0] >= 0]
            self.answered += len(answer)
            self.there += len(truth)
            if len(answer) and len(truth):
                pairs = box_iou(answer[:, 2:], truth[:, 1:]) * (answer[:, :1] == truth[:, 0])
                self.right += int((pairs.max(0).values > 0.5).sum())

    def compute(self) -> float:
        return 2 * self.right / max(self.answered + self.there, 1)


def detector(
    folders: Folders,
    *,
    corners: bool = True,
    keep: bool = False,
    linear: bool = False,
    squeezed: bool = False,
    clip: float = 10.0,
) -> Plain:
    torch.manual_seed(0)
    root = folders.data / "bccd" / "BCCD"
    train = Cells(read(root, "train", 160), training=True, corners=corners, keep=keep)
    val = Cells(read(root, "val", 40), training=False, corners=corners, keep=keep)
    model = Grid()
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=1e-4)

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = grid_loss(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.detach()

    def predict(picture: np.ndarray) -> Tensor:
        """Boxes, x1, y1, x2, y2, in the picture."""
        model.eval()
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1).float()[None] / 255
        if squeezed:
            image = F.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)
        with torch.no_grad():
            return decoded(model(image), linear=linear)[0][:, 2:]

    def evaluate(model: nn.Module, batches: Any) -> float:
        model.eval()
        metric = F1(linear=linear)
        with torch.no_grad():
            for images, targets in DataLoader(batches, 20) if isinstance(batches, Dataset) else batches:
                metric.update(model(images), targets)
        return metric.compute()

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 8, shuffle=True, drop_last=True),
            "val": val,
            "loss": grid_loss,
            "optimizer": optimizer,
            "step": step,
            "metric": F1(linear=linear),
            "evaluate": evaluate,
            "predict": predict,
            "classes": CLASSES,
            "epochs": 20,
            "task": "boxes",
            "targets": "things",
        }
    )


def case(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: detector(folders, **change),
        data="bccd at a quarter of its size",
        network="grid of 12x12 with group norm",
        source=source,
        cause=cause,
        of="grid_on_blood_cells" if cause else "",
        also=also,
        needs=("bccd",),
    )


CASES = (
    case("grid_on_blood_cells", None, "windows in training, whole pictures in predict, a crowd of boxes of one class"),
    case(
        "boxes_left_as_xywh",
        "data.box_format",
        "COCO's x, y, width, height handed to code that takes corners: pytorch/vision issue 1093, pull request 7225",
        corners=False,
    ),
    case(
        "cropped_away_boxes_kept",
        "data.box_invalid",
        "a random crop moves and clamps the boxes and leaves those that are outside in the list, without extent",
        keep=True,
    ),
    case(
        "sides_decoded_without_exp",
        "loss.box_encoding",
        "the loss learns logarithms of the sides as YOLOv2's does, decoding takes them for sides",
        linear=True,
    ),
    case(
        "boxes_of_resized_picture",
        "predict.size",
        "predict resizes the picture to the training side and draws the boxes into the original: letterbox without "
        "its way back",
        ("predict.preprocessing",),
        squeezed=True,
    ),
    case(
        "clipped_as_detr",
        "optim.always_clipped",
        "clip_grad_norm_ of 0.1, as DETR's recipe has with AdamW, kept with SGD whose gradients are larger",
        ("optim.rate_low",),
        clip=0.1,
    ),
)
