"""Sentences about what lies on a shelf, word by word: an LSTM that starts with the picture, dict batches."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

COLORS = {"red": (210, 50, 40), "blue": (40, 70, 200), "green": (40, 160, 60), "white": (235, 235, 235)}
THINGS = ("box", "ball", "cone")
WORDS = ("<pad>", "<start>", "<end>", "a", "left", "of", "alone", *COLORS, *THINGS)
NUMBER = {word: number for number, word in enumerate(WORDS)}
SIZE = 48


def _ground(rng: np.random.Generator, height: int, width: int, ends: tuple[int, int]) -> np.ndarray:
    """Soft patches of colour, other ones in each picture."""
    coarse = Image.fromarray(rng.integers(*ends, (5, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)


def _paint(draw: ImageDraw.ImageDraw, thing: str, x: int, y: int, color: tuple[int, int, int]) -> None:
    if thing == "box":
        draw.rectangle((x - 7, y - 7, x + 7, y + 7), fill=color)
    elif thing == "ball":
        draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=color)
    else:
        draw.polygon(((x, y - 9), (x - 8, y + 8), (x + 8, y + 8)), fill=color)


def shelf(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A shelf with one or two things on it, and a sentence about them."""
    picture = Image.fromarray(_ground(rng, SIZE, SIZE, (70, 160)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    words = []
    for x in (13, 35) if rng.random() < 0.6 else (24,):
        color, thing = rng.choice(list(COLORS)), rng.choice(THINGS)
        _paint(draw, thing, x + int(rng.integers(-3, 4)), int(rng.integers(14, 35)), COLORS[color])
        words.append(f"a {color} {thing}")
    noise = rng.normal(0, 7, (SIZE, SIZE, 3))
    picture = Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))
    return picture, " left of ".join(words) if len(words) == 2 else f"{words[0]} alone"


def write_shelves(root: Path, seed: int, count: int) -> None:
    """Pictures 0.png, 1.png, ..., and a line for each of them, in that order."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        picture, sentence = shelf(rng)
        picture.save(root / f"{number}.png")
        lines.append(sentence)
    (root / "captions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Shelves(Dataset):
    def __init__(self, root: Path, *, by_name: bool) -> None:
        files = sorted(root.glob("*.png"), key=None if by_name else lambda path: int(path.stem))
        self.images = []
        for path in files:
            with Image.open(path) as opened:
                self.images.append(np.array(opened))
        self.sentences = (root / "captions.txt").read_text(encoding="utf-8").splitlines()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = [NUMBER[word] for word in ("<start>", *self.sentences[index].split(), "<end>")]
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1) / 255.0 - 0.45
        return {"image": image, "tokens": torch.tensor(tokens)}


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    tokens = pad_sequence([sample["tokens"] for sample in samples], batch_first=True, padding_value=NUMBER["<pad>"])
    return {"image": torch.stack([sample["image"] for sample in samples]), "tokens": tokens}


class Speaker(nn.Module):
    """Scores of the word behind each word, of a picture and the words so far."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 24), (24, 32)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.ReLU()]
        self.look = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 36, width), nn.Tanh())
        self.words = nn.Embedding(len(WORDS), width, padding_idx=NUMBER["<pad>"])
        self.memory = nn.LSTM(2 * width, width, batch_first=True)
        self.scores = nn.Linear(width, len(WORDS))

    def forward(self, images: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        seen = self.look(images)[:, None].expand(-1, words.shape[1], -1)
        return self.scores(self.memory(torch.cat([self.words(words), seen], 2))[0])


def next_word(outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), batch["tokens"][:, 1:].flatten(), ignore_index=0)


def same_word(outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), batch["tokens"][:, :-1].flatten(), ignore_index=0)


def make(folders: Folders, mistake: str = "") -> Plain:
    torch.manual_seed(29)
    loaders = {}
    for split, seed, count in (("train", 51, 256), ("val", 52, 64)):
        write_shelves(folders.scratch / split, seed, count)
        shelves = Shelves(folders.scratch / split, by_name=mistake == "names" and split == "train")
        loaders[split] = DataLoader(shelves, batch_size=16, shuffle=split == "train", collate_fn=collate)
    model = Speaker()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return Plain(
        {
            "model": model,
            **loaders,
            "loss": same_word if mistake == "same" else next_word,
            "forward": lambda model, batch: model(batch["image"], batch["tokens"][:, :-1]),
            "optimizer": optimizer,
            "classes": WORDS,
            "epochs": 40,
            "task": "captions",
        }
    )


_case = partial(Case, data="generated shelves", network="LSTM on convolutions", of="later_shelves")
CASES: tuple[Case, ...] = (
    Case(
        "later_shelves",
        make,
        "generated shelves",
        "LSTM on convolutions",
        "sentences of two lengths, padded by the collate function and ignored by the loss; fifteen words",
    ),
    _case(
        "later_shelves_answers_what_it_is_told",
        partial(make, mistake="same"),
        source="inputs and targets are the same slice; models of Hugging Face shift inside, hand-written ones do not",
        cause="loss.shifted_tokens",
    ),
    _case(
        "later_shelves_sorted_by_name",
        partial(make, mistake="names"),
        source="sorted() puts 10.png before 2.png, and the lines of captions.txt are in the order of the numbers",
        cause="data.target_mismatch",
        also=("data.label_noise",),
    ),
)
