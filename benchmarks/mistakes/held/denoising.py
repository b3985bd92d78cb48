"""Noise taken off photographs and drawings: mistakes of values, losses, networks and metrics."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import Denoiser
from benchmarks.mistakes.held.runs import batches, plain

SIGMA = 25 / 255


def psnr(outputs: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of a batch, mean over images, of values from 0 to 1."""
    return -10 * torch.log10((outputs - clean).square().flatten(1).mean(1)).mean()


def mean_psnr(model: nn.Module, val: Any) -> float:
    """Mean peak signal-to-noise ratio over the images of a set."""
    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for noisy, clean in batches(val, 16):
            total += psnr(model(noisy), clean).item() * len(clean)
            count += len(clean)
    model.train()
    return total / count


def floats(pictures: np.ndarray) -> Tensor:
    """Grey bytes (N, H, W) as (N, 1, H, W) from 0 to 1."""
    return torch.from_numpy(pictures.astype(np.float32) / 255)[:, None]


class Noisy(Dataset):
    """Clean pictures with Gaussian noise that is drawn for each reading, or by the number of the picture."""

    def __init__(self, clean: Tensor, *, sigma: float = SIGMA, fixed: bool = False) -> None:
        self.clean, self.sigma, self.fixed = clean, sigma, fixed

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        clean = self.clean[index]
        generator = torch.Generator().manual_seed(index) if self.fixed else None
        return clean + self.sigma * torch.randn(clean.shape, generator=generator), clean


def drawing_sets() -> tuple[DataLoader, Noisy]:
    """320 drawings in batches of 16, and 60 to validate."""
    train, val = Noisy(floats(drawn.plates(320, 1))), Noisy(floats(drawn.plates(60, 2)), fixed=True)
    return DataLoader(train, 16, shuffle=True), val


def drawings_run(model: nn.Module, *, sets: tuple[Any, Any] | None = None, **more: Any) -> Plain:
    """A run that takes the noise off drawings."""
    train, val = sets or drawing_sets()

    more = {"metric": psnr, "evaluate": mean_psnr, "task": "denoising"} | more
    return plain(model, train, val, more.pop("loss", F.mse_loss), **more)


def drawings(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return drawings_run(Denoiser())


def noise_in_grey_levels(folders: Folders) -> Plain:
    torch.manual_seed(0)
    train = Noisy(floats(drawn.plates(320, 1)), sigma=25)
    val = Noisy(floats(drawn.plates(60, 2)), sigma=25, fixed=True)
    return drawings_run(Denoiser(), sets=(DataLoader(train, 16, shuffle=True), val))


def sum_of_squares(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Denoiser()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    return drawings_run(model, loss=nn.MSELoss(reduction="sum"), optimizer=optimizer)


class Batches(IterableDataset):
    """Patches of photographs in batches of dicts, drawn by a seed; each pass yields the same."""

    def __init__(self, pictures: list[np.ndarray], *, steps: int, seed: int, size: int = 40, batch: int = 16) -> None:
        self.pictures, self.steps, self.seed, self.size, self.batch = pictures, steps, seed, size, batch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            patches = []
            for i in rng.integers(len(self.pictures), size=self.batch):
                y, x = rng.integers(self.pictures[i].shape[0] - self.size), rng.integers(100)
                patches.append(self.pictures[i][y : y + self.size, x : x + self.size])
            clean = floats(np.stack(patches))
            noise = torch.from_numpy(rng.normal(0, SIGMA, clean.shape).astype(np.float32))
            yield {"image": clean + noise, "clean": clean}


def grey_photographs(folders: Folders, count: int, *, first: int) -> list[np.ndarray]:
    """Photographs of the 400 of 180x180."""
    assert folders.data is not None
    files = sorted((folders.data / "bsd_denoise" / "Train400").glob("*.png"))[first : first + count]
    return [np.asarray(Image.open(file).convert("L")) for file in files]


def patches_run(folders: Folders, model: nn.Module, **more: Any) -> Plain:
    """A run on patches of photographs, in batches that are dicts."""
    train = Batches(grey_photographs(folders, 120, first=0), steps=30, seed=1)
    val = Batches(grey_photographs(folders, 30, first=200), steps=4, seed=2)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.l1_loss(outputs, batch["clean"])

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            scores = [psnr(model(batch["image"]), batch["clean"]).item() for batch in val]
        model.train()
        return float(np.mean(scores))

    def metric(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return psnr(outputs, batch["clean"])

    loss = more.pop("loss", loss)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: dict[str, Tensor]) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = loss(model(batch["image"]), batch)
        value.backward()
        optimizer.step()
        return value.detach()

    more = {"evaluate": evaluate, "metric": metric, "step": step, "task": "denoising"} | more
    return plain(model, train, val, loss, optimizer=optimizer, **more)


def patches(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return patches_run(folders, Denoiser(width=32))


def compared_with_the_noisy(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.l1_loss(outputs, batch["image"])

    return patches_run(folders, Denoiser(width=32), loss=loss)


def peak_of_bytes(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def metric(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        errors = (outputs - batch["clean"]).square().flatten(1).mean(1)
        return (20 * np.log10(255) - 10 * torch.log10(errors)).mean()

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            scores = [metric(model(batch["image"]), batch).item() for batch in val]
        model.train()
        return float(np.mean(scores))

    return patches_run(folders, Denoiser(width=32), metric=metric, evaluate=evaluate)


def small_normal_weights(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = Denoiser(width=24, depth=14)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
    return drawings_run(model)


def names_sorted_as_words(folders: Folders) -> Plain:
    torch.manual_seed(0)
    clean = drawn.plates(240, 1)
    noisy = (clean + np.random.default_rng(1).normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    for name, pictures, form in (("noisy", noisy, "{:03d}.png"), ("clean", clean, "{}.png")):
        (folders.scratch / name).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(folders.scratch / name / form.format(i))
    pairs = zip(
        sorted((folders.scratch / "noisy").iterdir()), sorted((folders.scratch / "clean").iterdir()), strict=True
    )
    samples = [tuple(floats(np.asarray(Image.open(file))[None])[0] for file in pair) for pair in pairs]
    return drawings_run(Denoiser(), sets=(DataLoader(samples, 16, shuffle=True), drawing_sets()[1]))


CASES: tuple[Case, ...] = (
    Case(
        "drawings",
        drawings,
        "generated drawings",
        "Denoiser",
        "starts near the answer of doing nothing; no norms; noise of validation fixed by number",
    ),
    Case(
        "noise_in_grey_levels",
        noise_in_grey_levels,
        "generated drawings",
        "Denoiser",
        "csjunxu/WNNM_CVPR2014#1: a noise of 25 of 255 added to values from 0 to 1",
        cause="data.value_range",
        of="drawings",
    ),
    Case(
        "sum_of_squares",
        sum_of_squares,
        "generated drawings",
        "Denoiser",
        "a sum over batch and pixels with a rate that was found for a mean",
        cause="loss.scale",
        of="drawings",
        also=("optim.rate_high",),
    ),
    Case(
        "small_normal_weights",
        small_normal_weights,
        "generated drawings",
        "Denoiser",
        "weights of deviation 0.01, as AlexNet had them, in a deep network without norms (He et al., arXiv:1502.01852)",
        cause="network.variance",
        of="drawings",
    ),
    Case(
        "names_sorted_as_words",
        names_sorted_as_words,
        "generated drawings",
        "Denoiser",
        "EGE-UNet (JCruan519/EGE-UNet#1): two lists that are sorted otherwise, 10 before 2",
        cause="data.target_mismatch",
        of="drawings",
    ),
    Case(
        "patches",
        patches,
        "bsd_denoise",
        "Denoiser",
        "an IterableDataset that yields whole batches, as dicts, the same in each pass",
        needs=("bsd_denoise",),
    ),
    Case(
        "compared_with_the_noisy",
        compared_with_the_noisy,
        "bsd_denoise",
        "Denoiser",
        "a dict's `image` where `clean` is meant: the network learns to leave its input alone",
        cause="loss.not_of_targets",
        of="patches",
        needs=("bsd_denoise",),
    ),
    Case(
        "peak_of_bytes",
        peak_of_bytes,
        "bsd_denoise",
        "Denoiser",
        "cszn/KAIR#170, kregmi/cross-view-image-synthesis#38: a peak of 255 for values from 0 to 1",
        cause="metric.disagrees",
        of="patches",
        needs=("bsd_denoise",),
    ),
)
