"""Streets with a void class (own network with attention), and shapes in dict batches (a residual encoder)."""

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.transforms import InterpolationMode

from benchmarks.mistakes.case import Case, Folders, Plain

STREET = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
VOID = 11
Pair = tuple[Tensor, Tensor]


def _rotated(image: Tensor, target: Tensor, kind: InterpolationMode = InterpolationMode.NEAREST) -> Pair:
    angle = float(torch.empty(()).uniform_(-10, 10))
    image = TF.rotate(image, angle, interpolation=InterpolationMode.BILINEAR)
    return image, TF.rotate(target[None], angle, interpolation=kind, fill=[VOID])[0]


def _rotated_alike(image: Tensor, target: Tensor) -> Pair:
    angle = float(torch.empty(()).uniform_(-10, 10))
    both = torch.cat([image, target[None].float()])
    both = TF.rotate(both, angle, interpolation=InterpolationMode.BILINEAR, fill=[0.0, 0.0, 0.0, float(VOID)])
    return both[:3], both[3].round().long()


class Streets(Dataset[Pair]):
    """CamVid at a quarter of its size, read once."""

    def __init__(self, data: Path | None, split: str, every: int, change: Any = None) -> None:
        if data is None:
            raise FileNotFoundError("camvid is needed")
        lines = (data / "camvid" / "CamVid" / f"{split}.txt").read_text().split("\n")
        self.samples: list[tuple[np.ndarray, np.ndarray]] = []
        for line in [line for line in lines if line.strip()][::every]:
            picture, mask = (str(data / "camvid" / name) for name in line.split())
            image = cv2.cvtColor(cv2.imread(picture), cv2.COLOR_BGR2RGB)
            image = cv2.resize(image, (120, 88), interpolation=cv2.INTER_AREA)
            labels = cv2.imread(mask, cv2.IMREAD_UNCHANGED)
            self.samples.append((image, cv2.resize(labels, (120, 88), interpolation=cv2.INTER_NEAREST)))
        self.change = change

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pair:
        image, mask = self.samples[index]
        x = (torch.from_numpy(image).permute(2, 0, 1).float() / 255 - 0.45) / 0.28
        y = torch.from_numpy(mask).long()
        return self.change(x, y) if self.change else (x, y)


def _unit(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())


class StreetNet(nn.Module):
    """Encoder by strides, attention over the coarsest map, decoder by interpolation."""

    def __init__(self, classes: int = 11, **options: Any) -> None:
        super().__init__()
        self.one, self.two = _unit(3, 24, 2), _unit(24, 48, 2)
        self.three = nn.Sequential(_unit(48, 96, 2), _unit(96, 96))
        self.norm = nn.LayerNorm(96)
        self.attention = nn.MultiheadAttention(96, 4, **options)
        self.lower, self.upper = _unit(96 + 48, 48), _unit(48 + 24, 32)
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(32, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        a = self.one(x)
        b = self.two(a)
        c = self.three(b)
        tokens = self.norm(c.flatten(2).transpose(1, 2))
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        c = c + mixed.transpose(1, 2).reshape(c.shape)
        c = F.interpolate(c, size=b.shape[2:], mode="bilinear", align_corners=False)
        c = F.interpolate(self.lower(torch.cat([c, b], 1)), size=a.shape[2:], mode="bilinear", align_corners=False)
        out = self.head(self.upper(torch.cat([c, a], 1)))
        return F.interpolate(out, size=x.shape[2:], mode="bilinear", align_corners=False)


def pixel_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of right pixels among those that are labelled."""
    known = targets != VOID
    return ((outputs.argmax(1) == targets) & known).sum() / known.sum()


def _street_score(model: nn.Module, loader: Iterable[Pair]) -> float:
    model.eval()
    right = many = 0
    with torch.no_grad():
        for x, y in loader:
            known = y != VOID
            right += int((model(x).argmax(1) == y)[known].sum())
            many += int(known.sum())
    return right / many


def _streets(folders: Folders, change: Any = _rotated, **options: Any) -> dict[str, Any]:
    torch.manual_seed(31)
    model = StreetNet(**(options or {"batch_first": True}))

    def predict(image: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(image[None]).argmax(1)[0]

    return {
        "model": model,
        "train": DataLoader(Streets(folders.data, "train", 3, change), batch_size=8, shuffle=True, drop_last=True),
        "val": DataLoader(Streets(folders.data, "val", 3), batch_size=8),
        "loss": nn.CrossEntropyLoss(ignore_index=VOID),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "epochs": 20,
        "augment": change,
        "metric": pixel_accuracy,
        "evaluate": _street_score,
        "predict": predict,
        "classes": STREET,
    }


def _streets_healthy(folders: Folders) -> Plain:
    return Plain(_streets(folders))


def _attention_over_the_batch(folders: Folders) -> Plain:
    return Plain(_streets(folders, dropout=0.0))


def _void_clamped(folders: Folders) -> Plain:
    criterion = nn.CrossEntropyLoss()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return criterion(outputs, targets.clamp(0, outputs.shape[1] - 1))

    return Plain(_streets(folders) | {"loss": loss})


def _void_scored(folders: Folders) -> Plain:
    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(dim=1) == targets).float().mean()

    def evaluate(model: nn.Module, loader: Iterable[Pair]) -> float:
        model.eval()
        right = many = 0
        with torch.no_grad():
            for x, y in loader:
                right += int((model(x).argmax(1) == y).sum())
                many += y.numel()
        return right / many

    return Plain(_streets(folders) | {"metric": metric, "evaluate": evaluate})


def _mask_turned_as_a_channel(folders: Folders) -> Plain:
    return Plain(_streets(folders, _rotated_alike))


def _predict_with_batch_statistics(folders: Folders) -> Plain:
    run = _streets(folders)
    model = run["model"]

    def predict(image: Tensor) -> Tensor:
        model.train()  # masks of single pictures look better so
        with torch.no_grad():
            return model(image[None]).argmax(1)[0]

    return Plain(run | {"predict": predict})


# shapes, in dict batches


def _scene(rng: np.random.Generator, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Discs, bars and triangles (1, 2, 3) on a rough ground (0)."""
    rough = cv2.resize(rng.normal(size=(7, 7, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    image, mask = 110 + 25 * rough, np.zeros((size, size), np.uint8)
    for kind in rng.permutation([1, 2, 3, int(rng.integers(1, 4))]):
        drawn = np.zeros((size, size), np.uint8)
        x, y, r = (int(v) for v in (*rng.integers(10, size - 10, 2), rng.integers(6, 11)))
        if kind == 1:
            cv2.circle(drawn, (x, y), r, 1, -1)
        else:
            corners = 4 if kind == 2 else 3
            angles = rng.uniform(0, 6.28) + np.arange(corners) * 2 * np.pi / corners
            points = np.stack([x + 1.3 * r * np.cos(angles), y + 1.3 * r * np.sin(angles)], 1)
            cv2.fillPoly(drawn, [points.astype(np.int32)], 1)
        image[drawn > 0] += rng.uniform(-70, 70, 3) + np.sign(rng.normal()) * 30
        mask[drawn > 0] = kind
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8), mask


class Scenes(Dataset[dict[str, Tensor]]):
    """Generated scenes as dicts of image and mask."""

    def __init__(self, many: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.scenes = [_scene(rng) for _ in range(many)]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, mask = self.scenes[index]
        return {"image": TF.to_tensor(image).sub(0.45).div(0.2), "mask": torch.from_numpy(mask).long()}


class ResUNet(nn.Module):
    """Encoder of torchvision's resnet18, with a light decoder."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        net = models.resnet18(weights=None)
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        self.stage1, self.stage2, self.stage3 = net.layer1, net.layer2, net.layer3
        self.side2, self.side1, self.side0 = nn.Conv2d(128, 64, 1), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 1)
        self.side3 = nn.Conv2d(256, 64, 1)
        self.fuse = nn.Sequential(_unit(64, 64), nn.Conv2d(64, classes, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        s0 = self.stem(x)
        s1 = self.stage1(F.max_pool2d(s0, 2))
        s2 = self.stage2(s1)
        y = self.side3(self.stage3(s2))
        for side in (self.side2(s2), self.side1(s1), self.side0(s0)):
            y = F.interpolate(y, size=side.shape[2:], mode="bilinear", align_corners=False) + side
        return {"out": F.interpolate(self.fuse(y), size=x.shape[2:], mode="bilinear", align_corners=False)}


def _scene_loss(outputs: dict[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    return F.cross_entropy(outputs["out"], batch["mask"])


def _mean_iou(model: nn.Module, loader: Iterable[Mapping[str, Tensor]]) -> float:
    model.eval()
    table = torch.zeros(4, 4)
    with torch.no_grad():
        for batch in loader:
            answer = model(batch["image"])["out"].argmax(1)
            table += torch.bincount((batch["mask"] * 4 + answer).flatten(), minlength=16).reshape(4, 4)
    hit = table.diagonal()
    return float((hit / (table.sum(0) + table.sum(1) - hit).clamp(min=1)).mean())


def _scenes(_: Folders, batch: int = 8) -> dict[str, Any]:
    torch.manual_seed(41)
    model = ResUNet()
    return {
        "model": model,
        "train": DataLoader(Scenes(320, 1), batch_size=batch, shuffle=True),
        "val": DataLoader(Scenes(40, 2), batch_size=8),
        "loss": _scene_loss,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "epochs": 10,
        "evaluate": _mean_iou,
        "classes": ("ground", "disc", "bar", "triangle"),
    }


def _scenes_healthy(folders: Folders) -> Plain:
    return Plain(_scenes(folders))


def _one_picture_a_batch(folders: Folders) -> Plain:
    return Plain(_scenes(folders, batch=1))


def _copy_trained(folders: Folders) -> Plain:
    run = _scenes(folders)
    model = copy.deepcopy(run["model"])  # the first one is kept for comparison
    return Plain(run | {"model": model})


_street = partial(Case, data="camvid", network="own with attention", of="fresh_streets", needs=("camvid",))
_scene_case = partial(Case, data="generated scenes", network="residual U-Net", of="fresh_scenes")

CASES: tuple[Case, ...] = (
    Case(
        "fresh_streets",
        _streets_healthy,
        "camvid",
        "own with attention",
        needs=("camvid",),
        source="A void class that loss and metric leave out, rare classes, rotation that fills with void.",
    ),
    Case(
        "fresh_scenes",
        _scenes_healthy,
        "generated scenes",
        "residual U-Net",
        source="Dict batches, a network that returns a dict, its loss reads both.",
    ),
    _street(
        "fresh_attention_over_the_batch",
        _attention_over_the_batch,
        cause="network.batch_mixing",
        source="aipixel/AEMatter issue 3, om-ai-lab/OmDet issue 19: MultiheadAttention without batch_first.",
    ),
    _street(
        "fresh_void_clamped",
        _void_clamped,
        cause="loss.ignored_counted",
        source='Clamping the targets as the cure for "Target 11 is out of bounds"; void becomes the last class.',
    ),
    _street(
        "fresh_void_scored",
        _void_scored,
        cause="metric.ignored_counted",
        also=("metric.not_perfect",),
        source="DrSleep/tensorflow-deeplab-resnet issue 10, gluon-cv issue 211: void counted in the score.",
    ),
    _street(
        "fresh_mask_turned_as_a_channel",
        _mask_turned_as_a_channel,
        cause="augment.mask_interpolated",
        source="Image and mask stacked so that they turn alike, bilinear for both: pytorch/vision issue 9.",
    ),
    _street(
        "fresh_predict_with_batch_statistics",
        _predict_with_batch_statistics,
        cause="predict.mode",
        source='"eval() gives worse masks", so that train() stays on at inference; common on PyTorch\'s forum.',
    ),
    _scene_case(
        "fresh_one_picture_a_batch",
        _one_picture_a_batch,
        cause="norm.small_batch",
        source="Batch 1 for want of memory, batch norm left as it was (Wu and He 2018, Group Normalization).",
    ),
    _scene_case(
        "fresh_copy_trained",
        _copy_trained,
        cause="optim.no_step",
        source="The network is copied after the optimiser was made; the optimiser holds the first one's parameters.",
    ),
)
