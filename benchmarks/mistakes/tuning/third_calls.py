"""Calls of animals as spectrograms, one channel: a convolutional network with a GRU over time."""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

CLASSES = ("falling", "rising", "steady", "trill", "two_notes")
RATE, SAMPLES = 4000, 2100
EPOCHS, BATCH = 8, 16


def call(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A waveform of half a second: the call of one kind in noise."""
    time = np.arange(SAMPLES) / RATE
    low, high = rng.uniform(350, 600), rng.uniform(1000, 1500)
    middle = rng.uniform(600, 1200)
    start, length = rng.uniform(0.02, 0.12), rng.uniform(0.28, 0.36)
    share = np.clip((time - start) / length, 0, 1)
    pitch = (high + (low - high) * share, low + (high - low) * share, 0 * time + middle, 0 * time + middle, time)[kind]
    if kind == 4:
        pitch = np.where(share < 0.5, high, low)
    loud = ((time > start) & (time < start + length)).astype(float)
    if kind == 3:
        loud *= np.sin(2 * np.pi * rng.uniform(12, 18) * time) > 0
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE + rng.uniform(0, 6))
    return rng.uniform(0.4, 1.0) * loud * tone + rng.uniform(0.1, 0.3) * rng.standard_normal(SAMPLES)


def decibels(waveform: np.ndarray) -> Tensor:
    """The spectrogram in decibels, low pitch at the bottom, 48 bands by 62 frames."""
    wave = torch.from_numpy(waveform).float()
    power = torch.stft(wave, 128, 32, window=torch.hann_window(128), return_complex=True).abs().square()
    return (10 * power.clamp(min=1e-8).log10()).flip(0)[-48:, 2:64][None]


def recordings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.arange(count) % len(CLASSES))
    return torch.stack([decibels(call(int(kind), rng)) for kind in kinds]), torch.from_numpy(kinds).long()


def masked(spectrum: Tensor, rng: np.random.Generator) -> Tensor:
    """SpecAugment: one band of frequencies and one of times set to the mean."""
    result = spectrum.clone()
    row, column = rng.integers(0, 42), rng.integers(0, 56)
    result[:, row : row + rng.integers(1, 7)] = 0
    result[:, :, column : column + rng.integers(1, 7)] = 0
    return result


class Calls(Dataset):
    """Spectrograms, each augmented when it is asked for."""

    def __init__(self, spectra: Tensor, kinds: Tensor, *, augment: bool, flip: bool, fixed: bool) -> None:
        self.spectra, self.kinds = spectra, kinds
        self.augments, self.flip, self.fixed = augment, flip, fixed
        self.rng = np.random.default_rng(3)

    def __len__(self) -> int:
        return len(self.kinds)

    def augment(self, spectrum: Tensor, kind: Tensor, rng: np.random.Generator | None = None) -> tuple[Tensor, Tensor]:
        draws = rng or self.rng
        spectrum = masked(spectrum, draws)
        if self.flip and draws.random() < 0.5:
            spectrum = spectrum.flip(-2)
        return spectrum, kind

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        spectrum, kind = self.spectra[index], self.kinds[index]
        if not self.augments:
            return spectrum, kind
        return self.augment(spectrum, kind, np.random.default_rng(1000 + index) if self.fixed else None)


class CallNet(nn.Module):
    """Convolutions that keep time, then a GRU over the frames."""

    def __init__(self, momentum: float, *, batch_first: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 48)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after, momentum=momentum)]
            layers += [nn.ReLU(), nn.MaxPool2d((2, 2))]
        self.features = nn.Sequential(*layers)
        self.time = nn.GRU(48 * 6, 48, batch_first=batch_first)
        self.head = nn.Linear(48, len(CLASSES))

    def forward(self, spectra: Tensor) -> Tensor:
        frames = self.features(spectra).flatten(1, 2).transpose(1, 2)
        states, _ = self.time(frames)
        return self.head(states.mean(1))


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for spectra, kinds in loader:
            right += int((model(spectra).argmax(1) == kinds).sum())
            total += len(kinds)
    return right / total


def run(
    folders: Folders,
    *,
    flip: bool = False,
    momentum: float = 0.1,
    batch_first: bool = True,
    per_epoch: bool = False,
    val_raw: bool = False,
    fixed: bool = False,
) -> Plain:
    torch.manual_seed(0)
    spectra, kinds = recordings(320, 1)
    others, their_kinds = recordings(100, 2)
    mean, deviation = spectra.mean(), spectra.std()
    spectra = (spectra - mean) / deviation
    if not val_raw:
        others = (others - mean) / deviation
    made = Calls(spectra, kinds, augment=True, flip=flip, fixed=fixed)
    train = DataLoader(made, BATCH, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(0))
    val = DataLoader(Calls(others, their_kinds, augment=False, flip=False, fixed=False), 50)
    model = CallNet(momentum, batch_first=batch_first)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=EPOCHS, steps_per_epoch=len(train))
    done = 0

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal done
        model.train()
        spectra, kinds = batch
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(spectra), kinds)
        loss.backward()
        optimizer.step()
        done += 1
        if not per_epoch or done % len(train) == 0:
            schedule.step()
        return loss.detach()

    arguments = {
        "model": model,
        "train": train,
        "val": val,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "step": step,
        "schedule": schedule,
        "epochs": EPOCHS,
        "augment": made.augment,
        "evaluate": accuracy,
        "classes": CLASSES,
        "task": "classification",
    }
    return Plain(arguments)


HEALTHY = "calls_by_convolutions_and_a_gru"
planted = partial(Case, data="generated calls", network="convolutions and GRU", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated calls",
        "convolutions and GRU",
        "spectrograms are not photographs: one channel, no flip, masks of SpecAugment (Park et al. 2019), time is kept",
    ),
    planted(
        "calls_flipped_in_pitch",
        partial(run, flip=True),
        cause="augment.changes_meaning",
        source="albumentations #2121 adds TimeReverse for spectrograms; flips of a photograph's list turn rising calls "
        "into falling ones, as fastai's aug_transforms(flip_vert=True) does",
    ),
    planted(
        "calls_onecycle_stepped_by_epoch",
        partial(run, per_epoch=True),
        cause="optim.schedule",
        source="pytorch/pytorch #65417, Lightning-AI/pytorch-lightning #5631: OneCycleLR counts batches, its step "
        "stands "
        "in the loop over epochs",
    ),
    planted(
        "calls_batch_norm_momentum_of_tensorflow",
        partial(run, momentum=0.001),
        cause="norm.slow_momentum",
        source="kazuto1011/deeplab-pytorch #79 and lukemelas/EfficientNet-PyTorch #3: decay 0.999 of the original "
        "becomes "
        "0.001 here; right for 100,000 steps, not for 160",
        also=("norm.train_eval_gap",),
    ),
    planted(
        "calls_gru_reads_batch_as_time",
        partial(run, batch_first=False),
        cause="network.batch_mixing",
        source="torch.nn.GRU's documentation: batch_first is False by default; ports from Keras give (batch, time, "
        "features)",
    ),
    planted(
        "calls_validated_in_raw_decibels",
        partial(run, val_raw=True),
        cause="data.normalization",
        source="people normalise the training tensors in place and read the validation files by another function",
    ),
    planted(
        "calls_masks_seeded_by_index",
        partial(run, fixed=True),
        cause="augment.same_randomness",
        source="Lightning-AI/pytorch-lightning #20412: the same augmentation in each epoch; here a generator is "
        "seeded with "
        "the index to make a run repeatable",
    ),
)
