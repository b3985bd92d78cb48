"""Denoising of grey patches by a DnCNN and super-resolution of colour patches by sub-pixel convolution."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

NOISE = 25 / 255


def grey_patches(folder: Path, count: int, a_picture: int, seed: int) -> list[np.ndarray]:
    """Grey patches of 40x40 as bytes."""
    draw = np.random.default_rng(seed)
    patches = []
    for path in sorted(folder.glob("*.png"))[:count]:
        picture = np.asarray(Image.open(path).convert("L"))
        for _ in range(a_picture):
            y, x = (int(draw.integers(0, side - 40)) for side in picture.shape)
            patches.append(picture[y : y + 40, x : x + 40].copy())
    return patches


class Noisy(Dataset):
    """Clean patches and their noisy versions; of validation the noise is always the same."""

    def __init__(self, patches: Sequence[np.ndarray], *, training: bool, one_noise: bool = False) -> None:
        self.patches = patches
        self.training = training
        self.one_noise = one_noise

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        patch = self.patches[index]
        if self.training and torch.rand(()) < 0.5:
            patch = patch[:, ::-1].copy()
        clean = torch.from_numpy(patch).float()[None] / 255
        if self.one_noise:
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        elif self.training:
            noise = torch.randn(clean.shape)
        else:
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(index))
        noisy = (clean + NOISE * noise).clamp(0, 1)
        return (noisy * 255).round() / 255, clean

    def raw(self, index: int) -> np.ndarray:
        """The noisy picture as the camera writes it: bytes."""
        return (self[index][0][0].numpy() * 255).round().astype(np.uint8)


class DnCNN(nn.Module):
    """Subtracts the noise that it finds."""

    def __init__(self, width: int = 24, depth: int = 6, momentum: float = 0.1) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width, momentum=momentum)]
            layers += [nn.ReLU()]
        self.noise = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return images - self.noise(images)


class PSNR:
    """Mean over the pictures of the peak signal-to-noise ratio, of values in 0..1."""

    def __init__(self, peak: float = 1.0) -> None:
        self.peak = peak
        self.reset()

    def reset(self) -> None:
        self.values: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        errors = (outputs.clamp(0, 1) - targets).square().flatten(1).mean(1).clamp(min=1e-10)
        self.values.append(10 * torch.log10(self.peak**2 / errors))

    def compute(self) -> float:
        return float(torch.cat(self.values).mean())


def evaluate(model: nn.Module, batches: Any) -> float:
    metric = PSNR()
    model.eval()
    with torch.no_grad():
        for inputs, targets in batches:
            metric.update(model(inputs), targets)
    return metric.compute()


def denoising(
    folders: Folders, *, momentum: float = 0.1, one_noise: bool = False, bytes_in: bool = False, peak: float = 1.0
) -> Plain:
    torch.manual_seed(0)
    root = folders.data / "bsd_denoise"
    train = Noisy(grey_patches(root / "Train400", 100, 6, 0), training=True, one_noise=one_noise)
    val = Noisy(grey_patches(root / "Set12", 12, 8, 1), training=False)
    model = DnCNN(momentum=momentum)

    def predict(picture: np.ndarray) -> Tensor:
        model.eval()
        image = torch.from_numpy(picture).float()[None, None]
        with torch.no_grad():
            return model(image if bytes_in else image / 255)[0].clamp(0, 1)

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 16, shuffle=True, drop_last=True),
            "val": val,
            "loss": F.mse_loss,
            "optimizer": torch.optim.Adam(model.parameters(), 2e-3),
            "metric": PSNR(peak),
            "predict": predict,
            "epochs": 5,
            "task": "denoising",
        }
    )


class Halves(Dataset):
    """Colour patches of 48x48 and their halves, mirrored at random in training."""

    def __init__(self, patches: Sequence[np.ndarray], *, training: bool, mirror: str = "both") -> None:
        self.patches = patches
        self.training = training
        self.mirror = mirror

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        large = self.patches[index]
        small = np.asarray(Image.fromarray(large).resize((24, 24), Image.Resampling.BICUBIC))
        pair = tuple(torch.from_numpy(part.copy()).permute(2, 0, 1).float() / 255 for part in (small, large))
        return self.augmented(*pair) if self.training else pair

    def augmented(self, small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            small = small.flip(-1)
            if self.mirror == "both":
                large = large.flip(-1)
        return small, large


class SubPixel(nn.Module):
    """ESPCN with a skip of the enlarged picture."""

    def __init__(self, *, transposed: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1))
        if transposed:
            self.enlarge = nn.ConvTranspose2d(32, 3, 3, stride=2, padding=1, output_padding=1)
        else:
            self.enlarge = nn.Sequential(nn.Conv2d(32, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, images: Tensor) -> Tensor:
        detail = self.enlarge(F.relu(self.features(images)))
        return detail + F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


def colour_patches(folder: Path, first: int, last: int, seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    patches = []
    for path in sorted(folder.glob("*.jpg"))[first:last]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        for _ in range(12):
            y, x = (int(draw.integers(0, side - 48)) for side in picture.shape[:2])
            patches.append(picture[y : y + 48, x : x + 48].copy())
    return patches


def smooth_l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """Absolute error and a total variation that is summed over all pixels."""
    variation = outputs.diff(dim=-1).abs().sum() + outputs.diff(dim=-2).abs().sum()
    return F.l1_loss(outputs, targets) + 1e-3 * variation


def enlarging(folders: Folders, *, transposed: bool = False, mirror: str = "both", summed: bool = False) -> Plain:
    torch.manual_seed(0)
    root = folders.data / "bsd_denoise" / "CBSD68"
    train = Halves(colour_patches(root, 0, 26, 0), training=True, mirror=mirror)
    val = Halves(colour_patches(root, 26, 34, 1), training=False)
    model = SubPixel(transposed=transposed)
    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 16, shuffle=True, drop_last=True),
            "val": DataLoader(val, 16),
            "loss": smooth_l1 if summed else F.l1_loss,
            "optimizer": torch.optim.Adam(model.parameters(), 1e-3),
            "metric": PSNR(),
            "augment": train.augmented,
            "evaluate": evaluate,
            "epochs": 10,
            "task": "denoising",
        }
    )


def denoised(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: denoising(folders, **change),
        data="bsd_denoise grey patches",
        network="dncnn of 6 layers",
        source=source,
        cause=cause,
        of="dncnn_on_bsd" if cause else "",
        also=also,
        needs=("bsd_denoise",),
    )


def enlarged(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: enlarging(folders, **change),
        data="bsd_denoise colour patches",
        network="espcn",
        source=source,
        cause=cause,
        of="espcn_on_bsd" if cause else "",
        also=also,
        needs=("bsd_denoise",),
    )


CASES = (
    denoised("dncnn_on_bsd", None, "the network subtracts the noise it finds; fresh noise in every epoch of training"),
    denoised(
        "noise_seeded_in_getitem",
        "augment.same_randomness",
        "a generator made anew in __getitem__ so that runs repeat: every sample gets the same field of noise",
        one_noise=True,
    ),
    denoised(
        "momentum_of_deeplab",
        "norm.slow_momentum",
        "TensorFlow DeepLab's batch_norm_decay 0.9997 carried over as a momentum of 0.0003, kept for a short run",
        ("norm.train_eval_gap",),
        momentum=3e-4,
    ),
    denoised(
        "predict_in_bytes",
        "predict.preprocessing",
        "a test script reads pictures as bytes and leaves out the division that the data set does",
        bytes_in=True,
    ),
    denoised(
        "psnr_of_255",
        "metric.disagrees",
        "PSNR of values in 0..1 with a peak of 255; PSNR done on other values in opteroncx/SESR issue 5 and "
        "soapisnotfat/super-resolution issue 30",
        peak=255.0,
    ),
    enlarged("espcn_on_bsd", None, "the output is twice as large as the input; input and target mirrored together"),
    enlarged(
        "low_resolution_mirrored_alone",
        "augment.target_left",
        "paired augmentation where only the low-resolution picture goes through the flip",
        mirror="small",
    ),
    enlarged(
        "transposed_3_by_2",
        "network.checkerboard",
        "Odena et al., Deconvolution and Checkerboard Artifacts, Distill 2016: kernel 3 and stride 2",
        transposed=True,
    ),
    enlarged(
        "variation_summed",
        "loss.scale",
        "a total variation summed over pixels beside a mean absolute error, its weight copied from a loss of means",
        summed=True,
    ),
)
