"""Healthy runs whose answers are maps: segmentation, denoising and pose by heatmaps."""

from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.pieces import MeanIoU, Pairs, answers, batched, loader

SIGMA = 25 / 255


def mean_iou(model: nn.Module, val: Any, classes: int = 3) -> float:
    """Mean intersection over union, counted over the set."""
    metric = MeanIoU(classes)
    for outputs, masks in answers(model, batched(val)):
        metric.update(outputs, masks)
    return metric.compute()


def moved(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors image and mask together."""
    if torch.rand(()) < 0.5:
        image, mask = image.flip(-1), mask.flip(-1)
    return image, mask


def scenes_run(_: Folders) -> Plain:
    """Discs and squares, edges not counted, flips of both, a small U-Net."""
    torch.manual_seed(0)
    model = networks.UNet(3)
    return Plain(
        {
            "model": model,
            "train": loader(Pairs(*generated.scenes(160, 21), augment=moved), 8, shuffle=True),
            "val": loader(TensorDataset(*generated.scenes(60, 22)), 10),
            "loss": nn.CrossEntropyLoss(ignore_index=255),
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "augment": moved,
            "metric": MeanIoU(3),
            "evaluate": mean_iou,
            "classes": ["ground", "disc", "square"],
            "epochs": 10,
        }
    )


def pair_batches_run(_: Folders) -> Plain:
    """The scenes in batches of two, which group norm does not mind."""
    run = scenes_run(_)
    torch.manual_seed(0)
    model = networks.UNet(3, norm="group")
    return Plain(
        {
            **run.arguments,
            "model": model,
            "train": loader(Pairs(*generated.scenes(160, 23), augment=moved), 2, shuffle=True),
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "epochs": 6,
        }
    )


class Fcn(nn.Module):
    """MobileNetV3's features at a sixteenth and an eighth of the size, added and enlarged."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        features = torchvision.models.mobilenet_v3_small(weights=None).features
        for layer in features.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1  # torchvision's 0.01 is too slow for a run as short as this
        self.fine, self.coarse = features[:4], features[4:9]
        self.from_fine, self.from_coarse = nn.Conv2d(24, classes, 1), nn.Conv2d(48, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = self.from_coarse(self.coarse(fine))
        scores = self.from_fine(fine) + F.interpolate(coarse, fine.shape[2:], mode="bilinear")
        return F.interpolate(scores, x.shape[2:], mode="bilinear")


def streets_run(folders: Folders) -> Plain:
    """CamVid at a fifth of its size, 11 classes and void, an FCN on MobileNetV3."""
    torch.manual_seed(0)
    model = Fcn(11)
    images, masks = sets.streets(folders, "train", 96)
    val_images, val_masks = sets.streets(folders, "val", 40)
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3))
    train = TensorDataset((images - mean[:, None, None]) / std[:, None, None], masks)
    val = TensorDataset((val_images - mean[:, None, None]) / std[:, None, None], val_masks)
    return Plain(
        {
            "model": model,
            "train": loader(train, 8, shuffle=True),
            "val": loader(val, 10),
            "loss": nn.CrossEntropyLoss(ignore_index=255),
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "metric": MeanIoU(11),
            "evaluate": lambda network, data: mean_iou(network, data, 11),
            "epochs": 14,
        }
    )


def membranes_run(folders: Folders) -> Plain:
    """Cells in electron microscopy, one channel, a sigmoid at the end and binary cross-entropy of probabilities."""
    torch.manual_seed(0)
    model = nn.Sequential(networks.UNet(1, channels=1), nn.Sigmoid())
    images, masks = sets.membranes(folders, range(12), each=5)
    val_images, val_masks = sets.membranes(folders, range(20, 24), each=5, seed=1)
    return Plain(
        {
            "model": model,
            "train": loader(TensorDataset(images - 0.5, (masks > 127).float()), 4, shuffle=True),
            "val": loader(TensorDataset(val_images - 0.5, (val_masks > 127).float()), 4),
            "loss": nn.BCELoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": foreground_iou,
            "evaluate": lambda network, val: iou_at(network, val, 0.5, background=True),
            "task": "segmentation",
            "epochs": 8,
        }
    )


def foreground_iou(outputs: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of what is at least half sure."""
    answer, truth = outputs > 0.5, masks > 0.5
    return (answer & truth).sum() / (answer | truth).sum().clamp(min=1)


def iou_at(model: nn.Module, val: Any, threshold: float, *, background: bool = False) -> float:
    """Intersection over union of the foreground, or of the background, counted over the set."""
    both = either = 0
    for outputs, masks in answers(model, batched(val)):
        answer, truth = outputs > threshold, masks > 0.5
        if background:
            answer, truth = ~answer, ~truth
        both += int((answer & truth).sum())
        either += int((answer | truth).sum())
    return both / max(either, 1)


class Noisy(torch.utils.data.Dataset):
    """Clean pictures and what noise of one level makes of them; a validation set keeps its noise."""

    def __init__(self, clean: Tensor, *, sigma: float = SIGMA, fixed: bool = False) -> None:
        self.clean, self.sigma, self.fixed = clean, sigma, fixed

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean = self.clean[index]
        generator = torch.Generator().manual_seed(index) if self.fixed else None
        return clean + self.sigma * torch.randn(clean.shape, generator=generator), clean


def psnr(outputs: Tensor, clean: Tensor) -> Tensor:
    """Mean over the images of their peak signal-to-noise ratio in dB, values from 0 to 1."""
    return (-10 * (outputs - clean).square().mean((1, 2, 3)).log10()).mean()


def mean_psnr(model: nn.Module, val: Any) -> float:
    """Mean over the set of each image's ratio."""
    ratios = [
        -10 * (outputs - clean).square().mean((1, 2, 3)).log10() for outputs, clean in answers(model, batched(val))
    ]
    return float(torch.cat(ratios).mean())


def leaves_run(_: Folders) -> Plain:
    """Generated leaves with noise, a small DnCNN."""
    torch.manual_seed(0)
    model = networks.DnCNN()
    return Plain(
        {
            "model": model,
            "train": loader(Noisy(generated.leaves(160, 31)), 8, shuffle=True),
            "val": loader(Noisy(generated.leaves(48, 32), fixed=True), 16),
            "loss": nn.MSELoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "metric": psnr,
            "evaluate": mean_psnr,
            "task": "denoising",
            "epochs": 10,
        }
    )


def photographs_run(folders: Folders) -> Plain:
    """Berkeley photographs with noise, a DnCNN a little wider, absolute differences, a rate that falls."""
    torch.manual_seed(0)
    model = networks.DnCNN(depth=5, width=24)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    train = loader(Noisy(sets.photographs(folders, "Train400", 160, crop=32)), 8, shuffle=True)
    return Plain(
        {
            "model": model,
            "train": train,
            "val": loader(Noisy(sets.photographs(folders, "BSD68", 34, crop=64), fixed=True), 8),
            "loss": nn.L1Loss(),
            "optimizer": optimizer,
            "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 6, 0.3),
            "metric": psnr,
            "evaluate": mean_psnr,
            "task": "denoising",
            "epochs": 10,
        }
    )


def heatmaps(keypoints: Tensor, size: int, sigma: float = 1.5) -> Tensor:
    """(B, K, size, size) with a peak where each joint is, half as fine as the picture."""
    rows, columns = generated.grid(size)
    x, y = (keypoints[..., i, None, None] / 2 for i in (0, 1))
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def heatmap_loss(outputs: Tensor, keypoints: Tensor) -> Tensor:
    """Squared differences of the heatmaps of visible joints."""
    visible = keypoints[..., 2]
    error = (outputs - heatmaps(keypoints, outputs.shape[-1])).square().mean((2, 3))
    return (100 * error * visible).sum() / visible.sum().clamp(min=1)


def peaks(outputs: Tensor) -> Tensor:
    """(B, K, 2) where each heatmap is highest, as x and y in pixels of the picture."""
    best = outputs.flatten(2).argmax(2)
    return 2 * torch.stack([best % outputs.shape[3], best // outputs.shape[3]], 2).float()


class Pck:
    """The share of visible joints answered within a tenth of the picture's side, counted over the set."""

    def __init__(self, distance: float = 4.8) -> None:
        self.distance = distance
        self.reset()

    def reset(self) -> None:
        """Forgets all counts."""
        self.right = self.total = 0

    def update(self, outputs: Tensor, keypoints: Tensor) -> None:
        """Counts the joints of a batch."""
        near = (peaks(outputs) - keypoints[..., :2]).norm(dim=2) <= self.distance
        visible = keypoints[..., 2] > 0
        self.right += int((near & visible).sum())
        self.total += int(visible.sum())

    def compute(self) -> float:
        """The share of right joints."""
        return self.right / max(self.total, 1)


def pck(model: nn.Module, val: Any) -> float:
    """The share of visible joints that are answered right."""
    metric = Pck()
    for outputs, keypoints in answers(model, batched(val)):
        metric.update(outputs, keypoints)
    return metric.compute()


def mirrored_figure(image: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Mirrors half of the images, their joints, and which of them are left and right."""
    if torch.rand(()) < 0.5:
        keypoints = keypoints[[0, 2, 1, 4, 3]].clone()
        keypoints[:, 0] = torch.where(keypoints[:, 2] > 0, image.shape[-1] - 1 - keypoints[:, 0], keypoints[:, 0])
        image = image.flip(-1)
    return image, keypoints


def figures_run(_: Folders) -> Plain:
    """Generated figures, a heatmap a joint, hidden joints left out."""
    torch.manual_seed(0)
    model = networks.PoseNet(5)
    return Plain(
        {
            "model": model,
            "train": loader(Pairs(*generated.figures(400, 41), augment=mirrored_figure), 16, shuffle=True),
            "val": loader(TensorDataset(*generated.figures(80, 42)), 16),
            "loss": heatmap_loss,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "augment": mirrored_figure,
            "metric": Pck(),
            "evaluate": pck,
            "task": "pose",
            "classes": list(generated.JOINTS),
            "epochs": 14,
        }
    )


SCENES = Case(
    "scenes_are_segmented",
    scenes_run,
    "generated scenes",
    "U-Net of three levels",
    "edges of value 255 are left out by loss and metric",
)
PAIR_BATCHES = Case(
    "batches_of_two_with_group_norm",
    pair_batches_run,
    "generated scenes",
    "U-Net, group norm",
    "batches of two are right here",
)
STREETS = Case(
    "streets_at_a_fifth",
    streets_run,
    "camvid",
    "FCN on MobileNetV3",
    "11 unbalanced classes and void",
    needs=("camvid",),
)
MEMBRANES = Case(
    "membranes_by_a_sigmoid",
    membranes_run,
    "isbi2012_em",
    "U-Net and sigmoid",
    "probabilities and the loss for probabilities; one channel; batches of four",
    needs=("isbi2012_em",),
)
LEAVES = Case(
    "leaves_are_denoised", leaves_run, "generated leaves", "DnCNN", "noise drawn anew each time, validation's kept"
)
PHOTOGRAPHS = Case(
    "photographs_are_denoised",
    photographs_run,
    "bsd_denoise",
    "DnCNN of 24",
    "a schedule stepped by epochs",
    needs=("bsd_denoise",),
)
FIGURES = Case(
    "figures_are_located", figures_run, "generated figures", "heatmap network", "hidden joints are at (-1, -1)"
)
HEALTHY = (SCENES, PAIR_BATCHES, STREETS, MEMBRANES, LEAVES, PHOTOGRAPHS, FIGURES)
