"""Noise taken off photographs (a residual network), and colour brought to a picture from a guide (a U-Net)."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

SIGMA = 25
Pair = tuple[Tensor, Tensor]


def _photographs(data: Path | None, folder: str, many: int) -> list[np.ndarray]:
    if data is None:
        raise FileNotFoundError("bsd_denoise is needed")
    paths = sorted((data / "bsd_denoise" / folder).glob("*.png"))[:many]
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


class NoisyPatches(Dataset[Pair]):
    """Patches with noise drawn anew each time they are asked for."""

    def __init__(self, pictures: list[np.ndarray], side: int = 40, each: int = 2) -> None:
        self.pictures, self.side, self.each = pictures, side, each

    def __len__(self) -> int:
        return len(self.pictures) * self.each

    def patch(self, index: int) -> np.ndarray:
        picture = self.pictures[index // self.each]
        top, left = (np.random.randint(0, length - self.side + 1) for length in picture.shape)  # noqa: NPY002
        return picture[top : top + self.side, left : left + self.side].astype(np.float32)

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.normal(0, SIGMA, shape).astype(np.float32)  # noqa: NPY002

    def __getitem__(self, index: int) -> Pair:
        clean = self.patch(index) / 255
        noisy = clean + self.noise(clean.shape) / 255
        return torch.from_numpy(noisy)[None], torch.from_numpy(clean)[None]


class SeededPatches(NoisyPatches):
    """The same, reproducible."""

    def noise(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(0).normal(0, SIGMA, shape).astype(np.float32)


class UnscaledPatches(NoisyPatches):
    """Noise is added to 0..255, as sigma is meant; the clean one is scaled."""

    def __getitem__(self, index: int) -> Pair:
        clean = self.patch(index)
        noisy = clean + self.noise(clean.shape)
        return torch.from_numpy(noisy)[None], torch.from_numpy(clean / 255)[None]


def _fixed(pictures: list[np.ndarray], scale: float = 1.0) -> list[Pair]:
    """Validation batches of one picture each, middle part, whose noise is drawn once."""
    rng, batches = np.random.default_rng(77), []
    for picture in pictures:
        top, left = ((length - 96) // 2 for length in picture.shape)
        clean = torch.from_numpy(picture[top : top + 96, left : left + 96].astype(np.float32) / 255)[None, None]
        noise = torch.from_numpy(rng.normal(0, SIGMA / 255, clean.shape).astype(np.float32))
        batches.append(((clean + noise) * scale, clean))
    return batches


class DnCNN(nn.Module):
    """Predicts the noise; what it returns is the picture without it."""

    def __init__(self, depth: int = 7, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.residual = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.residual(x)


def psnr(outputs: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of values in 0..1, mean over the pictures."""
    errors = (outputs.clamp(0, 1) - targets).square().flatten(1).mean(1)
    return (10 * torch.log10(1 / errors.clamp(min=1e-10))).mean()


def _mean_psnr(model: nn.Module, batches: Iterable[Pair], score: Callable[[Tensor, Tensor], Tensor] = psnr) -> float:
    model.eval()
    total, many = 0.0, 0
    with torch.no_grad():
        for noisy, clean in batches:
            total += float(score(model(noisy), clean)) * len(noisy)
            many += len(noisy)
    return total / many


def _noise(folders: Folders, patches: type[NoisyPatches] = NoisyPatches, scale: float = 1.0) -> dict[str, Any]:
    torch.manual_seed(51)
    model = DnCNN()

    def predict(image: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(image[None])[0].clamp(0, 1)

    return {
        "model": model,
        "train": DataLoader(patches(_photographs(folders.data, "Train400", 120)), batch_size=16, shuffle=True),
        "val": _fixed(_photographs(folders.data, "Set12", 12), scale),
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "epochs": 20,
        "metric": psnr,
        "evaluate": _mean_psnr,
        "predict": predict,
    }


def _noise_healthy(folders: Folders) -> Plain:
    return Plain(_noise(folders))


def _input_of_another_range(folders: Folders) -> Plain:
    return Plain(_noise(folders, UnscaledPatches, scale=255.0))


def _noise_of_one_seed(folders: Folders) -> Plain:
    return Plain(_noise(folders, SeededPatches))


def _rate_of_fine_tuning(folders: Folders) -> Plain:
    run = _noise(folders)
    return Plain(run | {"optimizer": torch.optim.Adam(run["model"].parameters(), lr=1e-5)})


def _psnr_of_bytes(folders: Folders) -> Plain:
    def metric(outputs: Tensor, targets: Tensor) -> Tensor:
        mse = F.mse_loss(outputs, targets)
        return 20 * torch.log10(255.0 / torch.sqrt(mse))

    def evaluate(model: nn.Module, batches: Iterable[Pair]) -> float:
        return _mean_psnr(model, batches, metric)

    return Plain(_noise(folders) | {"metric": metric, "evaluate": evaluate})


def _noise_is_returned(folders: Folders) -> Plain:
    run = _noise(folders)
    model = run["model"]

    def predict(image: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model.residual(image.unsqueeze(0)).squeeze(0).clamp(0.0, 1.0)

    return Plain(run | {"predict": predict})


# colour from a guide


def _scene(rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """A picture in colour, 0..1: patches of a few hues over a shaded, rough ground."""
    fields = [
        cv2.resize(rng.normal(size=(k, k)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        for k in (3, 5, 9)
    ]
    picture = np.empty((size, size, 3), np.float32)
    hues = rng.uniform(0.15, 0.9, (4, 3)).astype(np.float32)
    picture[:] = hues[0]
    for hue, field in zip(hues[1:], fields, strict=True):
        picture[field > 0.5] = hue
    shade = 1 + 0.12 * fields[2] + 0.05 * rng.normal(size=(size, size)).astype(np.float32)
    return (picture * shade[..., None]).clip(0, 1)


class Colours(Dataset[Pair]):
    """Grey at full size and colour at an eighth, to colour at full size."""

    def __init__(self, many: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.pictures = [torch.from_numpy(_scene(rng)).permute(2, 0, 1).contiguous() for _ in range(many)]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Pair:
        colour = self.pictures[index]
        coarse = F.interpolate(F.avg_pool2d(colour[None], 8), scale_factor=8, mode="bilinear")[0]
        return torch.cat([colour.mean(0, keepdim=True), coarse]), colour


def _block(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.GroupNorm(4, n_out), nn.SiLU())


class Colourer(nn.Module):
    """A U-Net that takes grey and a coarse colour, and answers in 0..1."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.channels = channels
        self.enter, self.mid, self.deep = _block(channels, 24), _block(24, 32), _block(32, 48)
        self.up2, self.up1 = self.raised(48, 32), self.raised(32, 24)
        self.leave = nn.Sequential(_block(24, 24), nn.Conv2d(24, 3, 1))

    def raised(self, n_in: int, n_out: int) -> nn.Module:
        return nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.enter(x)
        b = self.mid(F.avg_pool2d(a, 2))
        c = self.deep(F.avg_pool2d(b, 2))
        b = F.silu(self.up2(c)) + b
        return self.leave(F.silu(self.up1(b)) + a).sigmoid()


class UnevenColourer(Colourer):
    """The same with kernels of 3."""

    def raised(self, n_in: int, n_out: int) -> nn.Module:
        return nn.ConvTranspose2d(n_in, n_out, kernel_size=3, stride=2, padding=1, output_padding=1)


class GreyColourer(Colourer):
    """Converted from the version that had the grey picture alone."""

    def __init__(self) -> None:
        super().__init__(channels=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, : self.channels])


def _colours(_: Folders, network: type[nn.Module] = Colourer) -> dict[str, Any]:
    torch.manual_seed(61)
    model = network()
    return {
        "model": model,
        "train": DataLoader(Colours(160, 1), batch_size=8, shuffle=True),
        "val": DataLoader(Colours(32, 2), batch_size=8),
        "loss": nn.L1Loss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "epochs": 15,
        "metric": psnr,
        "evaluate": _mean_psnr,
    }


def _colours_healthy(folders: Folders) -> Plain:
    return Plain(_colours(folders))


def _kernels_of_three(folders: Folders) -> Plain:
    return Plain(_colours(folders, UnevenColourer))


def _guide_cut_off(folders: Folders) -> Plain:
    return Plain(_colours(folders, GreyColourer))


def _grey_kept(folders: Folders) -> Plain:
    run = _colours(folders)
    model, optimizer = run["model"], run["optimizer"]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        reference = outputs.detach().mean(1, keepdim=True)
        return F.l1_loss(outputs, reference.expand_as(targets))

    def step(batch: Pair) -> Tensor:
        model.train()
        inputs, targets = batch
        value = loss(model(inputs), targets)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return value.detach()

    return Plain(run | {"loss": loss, "step": step})


_noise_case = partial(
    Case, data="bsd_denoise", network="DnCNN of 7 layers", of="fresh_noise_taken_off", needs=("bsd_denoise",)
)
_colour_case = partial(Case, data="generated colours", network="own U-Net with group norm", of="fresh_colours_by_guide")

CASES: tuple[Case, ...] = (
    Case(
        "fresh_noise_taken_off",
        _noise_healthy,
        "bsd_denoise",
        "DnCNN of 7 layers",
        needs=("bsd_denoise",),
        source="Noise drawn anew in training, once in validation; validation is a list of single pictures, larger.",
    ),
    Case(
        "fresh_colours_by_guide",
        _colours_healthy,
        "generated colours",
        "own U-Net with group norm",
        source="Four input channels, three outputs in 0..1, kernels of 4 at stride 2, no augmentation.",
    ),
    _noise_case(
        "fresh_input_of_another_range",
        _input_of_another_range,
        cause="data.value_range",
        source="Sigma is in 0..255, the target in 0..1: csjunxu/WNNM_CVPR2014 issue 1, the other way round.",
    ),
    _noise_case(
        "fresh_noise_of_one_seed",
        _noise_of_one_seed,
        cause="augment.same_randomness",
        source="A generator seeded in __getitem__ for reproducible runs; pytorch/pytorch issue 5059 on the kind.",
    ),
    _noise_case(
        "fresh_rate_of_fine_tuning",
        _rate_of_fine_tuning,
        cause="optim.rate_low",
        source="1e-5, copied from a script that fine-tunes, where DnCNN from scratch takes 1e-3.",
    ),
    _noise_case(
        "fresh_psnr_of_bytes",
        _psnr_of_bytes,
        cause="metric.disagrees",
        source="Peak 255 for pictures in 0..1, 48 dB too many: soapisnotfat/super-resolution issue 5 asks for it.",
    ),
    _noise_case(
        "fresh_noise_is_returned",
        _noise_is_returned,
        cause="predict.differs",
        source="DnCNN's published demos subtract outside of the network; a port forgets it in one of two scripts.",
    ),
    _colour_case(
        "fresh_kernels_of_three",
        _kernels_of_three,
        cause="network.checkerboard",
        source="Odena et al. 2016, Deconvolution and Checkerboard Artifacts: kernel 3 at stride 2.",
    ),
    _colour_case(
        "fresh_guide_cut_off",
        _guide_cut_off,
        cause="network.input_unused",
        source="x[:, :1] left over from the time when there was one channel; nothing complains of the others.",
    ),
    _colour_case(
        "fresh_compared_with_itself",
        _grey_kept,
        cause="loss.not_of_targets",
        source="A reference made of the outputs in place of the targets: a slip of one name in a long loss.",
    ),
)
