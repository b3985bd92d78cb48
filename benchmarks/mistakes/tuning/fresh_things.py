"""Boxes of several things an image: a grid of cells of our own, and torchvision's Faster R-CNN, on generated scenes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, box_iou, nms

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("cup", "plate", "leaf")
SIDE, CELLS = 64, 8
STRIDE = SIDE // CELLS
Target = dict[str, Tensor]
Decode = Callable[[Tensor], Tensor]


def draw_scene(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Picture (H, W, 3) of bytes, boxes left, top, right, bottom, and the class of each."""
    low = rng.integers(60, 140, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(low).resize((SIDE, SIDE), Image.BICUBIC)
    pen = ImageDraw.Draw(image)
    boxes: list[list[int]] = []
    labels: list[int] = []
    for _ in range(rng.integers(1, 5)):
        label = int(rng.integers(len(CLASSES)))
        wide, high = rng.integers(12, 26, 2)
        if label == 1:
            high = wide
        left, top = rng.integers(1, SIDE - wide - 1), rng.integers(1, SIDE - high - 1)
        box = [int(left), int(top), int(left + wide), int(top + high)]
        if any(_overlap(box, other) > 0.05 for other in boxes):
            continue
        colour = tuple(int(value) for value in rng.integers(170, 255, 3))
        if label == 0:
            pen.rectangle([left, top, box[2] - 1, box[3] - 1], fill=colour)
        elif label == 1:
            pen.ellipse([left, top, box[2] - 1, box[3] - 1], fill=colour)
        else:
            pen.polygon([(left, box[3] - 1), (left + wide / 2, top), (box[2] - 1, box[3] - 1)], fill=colour)
        boxes.append(box)
        labels.append(label)
    noise = rng.normal(0, 5, (SIDE, SIDE, 3))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.5))).astype(float) + noise
    return pixels.clip(0, 255).astype(np.uint8), np.array(boxes, dtype=np.float32), np.array(labels)


def _overlap(one: list[int], other: list[int]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / min((one[2] - one[0]) * (one[3] - one[1]), (other[2] - other[0]) * (other[3] - other[1]))


def to_image(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    boxes = target["boxes"]
    boxes = torch.stack([SIDE - boxes[:, 2], boxes[:, 1], SIDE - boxes[:, 0], boxes[:, 3]], 1)
    return image.flip(-1), {**target, "boxes": boxes}


def flip_of_pixels(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    return torch.flip(image, dims=[2]), target


class Scenes(Dataset):
    def __init__(
        self,
        count: int,
        seed: int,
        augment: Callable[[Tensor, Target], tuple[Tensor, Target]] | None = None,
        *,
        first: int = 0,
        normalize: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.scenes = [draw_scene(rng) for _ in range(count)]
        self.augment = augment
        self.first = first
        self.normalize = normalize

    def __len__(self) -> int:
        return len(self.scenes)

    def raw(self, index: int) -> np.ndarray:
        return self.scenes[index][0]

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        picture, boxes, labels = self.scenes[index]
        image = to_image(picture)
        target = {"boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels) + self.first}
        if self.augment is not None and torch.rand(()) < 0.5:
            image, target = self.augment(image, target)
        if self.normalize:
            mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
            image = (image - mean[:, None, None]) / std[:, None, None]
        return image, target


def stacked(samples: list[tuple[Tensor, Target]]) -> tuple[Tensor, list[Target]]:
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]


def listed(samples: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


# A grid of cells, each of which answers for the thing whose middle it holds -------------------------------


class Grid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width, stride in ((16, 2), (32, 2), (64, 2), (64, 1), (64, 1)):
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(before, 5 + len(CLASSES), 1)
        with torch.no_grad():
            self.head.bias[0] = -3.0  # few cells hold a thing

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def encode(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column of each box's cell, and the numbers to learn: place in the cell, logarithm of the size."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE
    cell = middle.long().clamp(0, CELLS - 1)
    size = ((boxes[:, 2:] - boxes[:, :2]) / STRIDE).log()
    return cell[:, 1], cell[:, 0], torch.cat([middle - cell, size], 1)


def decode(outputs: Tensor, *, side: float = STRIDE) -> Tensor:
    """Boxes (B, cells, 4) in pixels."""
    grid = torch.arange(CELLS, device=outputs.device).float()
    corner = torch.stack(torch.meshgrid(grid, grid, indexing="xy"))
    middle = (outputs[:, 1:3] + corner) * STRIDE
    half = outputs[:, 3:5].exp() * side / 2
    return torch.cat([middle - half, middle + half], 1).flatten(2).transpose(1, 2)


def grid_loss(outputs: Tensor, targets: list[Target]) -> Tensor:
    thing = torch.zeros_like(outputs[:, 0])
    box, kind, count = outputs.new_zeros(()), outputs.new_zeros(()), 0
    for index, target in enumerate(targets):
        row, column, numbers = encode(target["boxes"])
        thing[index, row, column] = 1
        answers = outputs[index, :, row, column].T
        box = box + F.smooth_l1_loss(answers[:, 1:5], numbers, reduction="sum", beta=0.1)
        kind = kind + F.cross_entropy(answers[:, 5:], target["labels"], reduction="sum")
        count += len(numbers)
    found = F.binary_cross_entropy_with_logits(outputs[:, 0], thing, reduction="sum")
    return (found + box + kind) / max(count, 1)


def answers_of(outputs: Tensor, decoding: Decode = decode, least: float = 0.4) -> list[Target]:
    scores, kinds = outputs[:, 0].flatten(1).sigmoid(), outputs[:, 5:].flatten(2).argmax(1)
    answers = []
    for boxes, score, kind in zip(decoding(outputs), scores, kinds, strict=True):
        likely = score > least
        kept = likely.nonzero()[:, 0]
        kept = kept[nms(boxes[kept], score[kept], 0.4)]
        answers.append({"boxes": boxes[kept], "labels": kind[kept], "scores": score[kept]})
    return answers


def hits(answers: list[Target], targets: list[Target]) -> tuple[int, int, int]:
    """How many things are found (right class, overlap of a half), how many answers and things there are."""
    right = asked = truth = 0
    for answer, target in zip(answers, targets, strict=True):
        asked, truth = asked + len(answer["boxes"]), truth + len(target["boxes"])
        overlap = box_iou(target["boxes"], answer["boxes"])
        same = target["labels"][:, None] == answer["labels"][None]
        right += int(((overlap > 0.5) & same).any(1).sum())
    return right, asked, truth


def f_score(model: nn.Module, loader: DataLoader, decoding: Decode = decode) -> float:
    model.eval()
    with torch.no_grad():
        counts = [hits(answers_of(model(images), decoding), targets) for images, targets in loader]
    right, asked, truth = np.sum(counts, axis=0)
    return float(2 * right / max(asked + truth, 1))


def f_score_of_batches(model: nn.Module, loader: DataLoader, decoding: Decode = decode) -> float:
    model.eval()
    scores = []
    with torch.no_grad():
        for images, targets in loader:
            right, asked, truth = hits(answers_of(model(images), decoding), targets)
            precision, recall = right / max(asked, 1), right / max(truth, 1)
            scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return sum(scores) / len(scores)


def asked_fairly(model: nn.Module, picture: np.ndarray, *, decoding: Decode = decode) -> Target:
    """Of a picture of any size: brought to the network's, and the boxes back to the picture's."""
    high, wide = picture.shape[:2]
    answer = _ask(model, to_image(_small(picture)), decoding)
    return {**answer, "boxes": answer["boxes"] * torch.tensor([wide, high, wide, high]) / SIDE}


def asked_without_return(model: nn.Module, picture: np.ndarray, *, decoding: Decode = decode) -> Target:
    return _ask(model, to_image(_small(picture)), decoding)


def asked_in_bytes(model: nn.Module, picture: np.ndarray, *, decoding: Decode = decode) -> Target:
    high, wide = picture.shape[:2]
    answer = _ask(model, torch.tensor(_small(picture), dtype=torch.float32).permute(2, 0, 1), decoding)
    return {**answer, "boxes": answer["boxes"] * torch.tensor([wide, high, wide, high]) / SIDE}


def _small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.BILINEAR)).copy()


def _ask(model: nn.Module, image: Tensor, decoding: Decode) -> Target:
    model.eval()
    with torch.no_grad():
        return answers_of(model(image[None]), decoding)[0]


def grid_run(
    folders: Folders,
    *,
    augment: Callable[[Tensor, Target], tuple[Tensor, Target]] = flip,
    decoding: Decode = decode,
    score: Callable[..., float] = f_score,
    ask: Callable[..., Target] = asked_fairly,
) -> Plain:
    torch.manual_seed(7)
    train, val = Scenes(300, 31, augment), Scenes(90, 32)
    model = Grid()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 12, shuffle=True, drop_last=True, collate_fn=stacked),
            "val": DataLoader(val, 4, collate_fn=stacked),
            "loss": grid_loss,
            "optimizer": optimizer,
            "evaluate": partial(score, decoding=decoding),
            "predict": partial(ask, model, decoding=decoding),
            "augment": augment,
            "classes": CLASSES,
            "epochs": 20,
            "task": "boxes",
        }
    )


# torchvision's detector on a body of three convolutions ---------------------------------------------------------------


def small_rcnn() -> FasterRCNN:
    body = nn.Sequential(
        *(nn.Conv2d(3, 24, 3, 2, 1), nn.GroupNorm(4, 24), nn.ReLU()),
        *(nn.Conv2d(24, 48, 3, 2, 1), nn.GroupNorm(8, 48), nn.ReLU()),
        *(nn.Conv2d(48, 64, 3, 2, 1), nn.GroupNorm(8, 64), nn.ReLU()),
    )
    body.out_channels = 64
    return FasterRCNN(
        body,
        num_classes=1 + len(CLASSES),
        min_size=SIDE,
        max_size=SIDE,
        rpn_anchor_generator=AnchorGenerator(sizes=((14, 20, 28),), aspect_ratios=((0.6, 1.0, 1.7),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=5, sampling_ratio=1),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=64,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=48,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_score_thresh=0.3,
    )


def rcnn_run(folders: Folders, *, first: int = 1, normalize: bool = False) -> Plain:
    torch.manual_seed(8)
    train = Scenes(240, 41, flip, first=first, normalize=normalize)
    val = Scenes(60, 42, first=first, normalize=normalize)
    model = small_rcnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)

    def forward(network: nn.Module, batch: tuple[list[Tensor], list[Target]]) -> Any:
        images, targets = batch
        return network(images, targets) if network.training else network(images)

    def step(batch: tuple[list[Tensor], list[Target]]) -> Tensor:
        model.train()
        losses = model(*batch)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        return total.detach()

    def evaluate(network: nn.Module, loader: DataLoader) -> float:
        network.eval()
        with torch.no_grad():
            counts = [hits(network(images), targets) for images, targets in loader]
        right, asked, truth = np.sum(counts, axis=0)
        return float(2 * right / max(asked + truth, 1))

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 6, shuffle=True, collate_fn=listed),
            "val": DataLoader(val, 6, collate_fn=listed),
            "loss": lambda losses, targets: sum(losses.values()),
            "optimizer": optimizer,
            "step": step,
            "forward": forward,
            "evaluate": evaluate,
            "classes": CLASSES,
            "epochs": 12,
            "task": "boxes",
        }
    )


def _case(name: str, make: Callable[[Folders], Plain], source: str, network: str = "cells", **more: Any) -> Case:
    return Case(name, make, "generated table scenes", network, source, **more)


GRID, RCNN = "things_in_a_grid_of_cells", "small_faster_rcnn_of_torchvision"
CASES = (
    _case(GRID, grid_run, "A detector of one's own in 100 lines; loss is a sum over things, divided by their number."),
    _case(RCNN, rcnn_run, "Lists of targets; the loss comes out of the network.", "small Faster R-CNN"),
    _case(
        "pixels_are_flipped_and_boxes_stay",
        partial(grid_run, augment=flip_of_pixels),
        "A transform of pictures alone is put into a set for detection, as for classes.",
        cause="augment.target_left",
        of=GRID,
    ),
    _case(
        "sizes_decoded_in_shares_of_another_grid",
        partial(grid_run, decoding=partial(decode, side=2 * STRIDE)),
        "The head was once at stride 16; encoding was changed to the new stride, decoding keeps the old one for sizes.",
        cause="loss.box_encoding",
        of=GRID,
    ),
    _case(
        "f_score_is_a_mean_over_batches",
        partial(grid_run, score=f_score_of_batches),
        "Scores are appended batch by batch and averaged, as losses are.",
        cause="metric.averaged_batches",
        of=GRID,
    ),
    _case(
        "answers_stay_in_pixels_of_the_networks_input",
        partial(grid_run, ask=asked_without_return),
        "Boxes of the network's 64x64 are drawn on the photograph: right as long as one tries pictures of that size.",
        cause="predict.size",
        of=GRID,
    ),
    _case(
        "asked_with_bytes_in_place_of_shares",
        partial(grid_run, ask=asked_in_bytes),
        "The set divides by 255 in ToTensor, the program that serves uses torch.tensor(array).",
        cause="predict.preprocessing",
        of=GRID,
    ),
    _case(
        "first_class_has_the_number_of_the_background",
        partial(rcnn_run, first=0),
        "pytorch/vision issue 1952: the label of the object is 0, which Faster R-CNN takes for background.",
        "small Faster R-CNN",
        cause="data.label_range",
        of=RCNN,
    ),
    _case(
        "normalised_for_a_detector_that_normalises",
        partial(rcnn_run, normalize=True),
        "pytorch/vision issues 1103 and 2397: GeneralizedRCNNTransform normalises, and so does the set.",
        "small Faster R-CNN",
        cause="data.normalization",
        of=RCNN,
    ),
)
