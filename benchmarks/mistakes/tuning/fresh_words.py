"""Captions of generated scenes: a small CNN begins an LSTM, words are learned with the true ones before them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

COLOURS = {"red": (210, 50, 40), "green": (50, 170, 70), "blue": (50, 80, 210), "yellow": (225, 205, 60)}
SHAPES = ("square", "circle", "triangle")
WORDS = ("<pad>", "<start>", "<end>", "a", "small", "large", *COLOURS, *SHAPES, "is", "above", "alone")
NUMBER = {word: number for number, word in enumerate(WORDS)}
Batch = dict[str, Tensor]


def draw_thing(pen: ImageDraw.ImageDraw, at: tuple[int, int], rng: np.random.Generator) -> str:
    colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
    is_large = bool(rng.random() < 0.5)
    radius = int(rng.integers(9, 11)) if is_large else int(rng.integers(4, 6))
    x, y = at[0] + int(rng.integers(-10, 11)), at[1] + int(rng.integers(-3, 4))
    fill = tuple(int(value) for value in np.clip(np.array(COLOURS[colour]) + rng.normal(0, 12, 3), 0, 255))
    box = [x - radius, y - radius, x + radius, y + radius]
    if shape == "square":
        pen.rectangle(box, fill=fill)
    elif shape == "circle":
        pen.ellipse(box, fill=fill)
    else:
        pen.polygon([(x - radius, y + radius), (x, y - radius), (x + radius, y + radius)], fill=fill)
    return f"a {'large' if is_large else 'small'} {colour} {shape}"


def draw_scene(rng: np.random.Generator) -> tuple[Tensor, list[int]]:
    """A picture of one or two things, and the numbers of its words."""
    paper = rng.integers(110, 160, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(paper).resize((48, 48), Image.BICUBIC)
    pen = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        text = f"{draw_thing(pen, (24, 24), rng)} is alone"
    else:
        upper = draw_thing(pen, (24, 12), rng)
        text = f"{upper} is above {draw_thing(pen, (24, 36), rng)}"
    pixels = np.asarray(image).astype(np.float32) / 255 + rng.normal(0, 0.02, (48, 48, 3)).astype(np.float32)
    numbers = [NUMBER[word] for word in ("<start>", *text.split(), "<end>")]
    return torch.from_numpy(pixels).permute(2, 0, 1), numbers


class Captions(Dataset):
    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.scenes = [draw_scene(rng) for _ in range(count)]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, numbers = self.scenes[index]
        return image, torch.tensor(numbers)


def collate(samples: list[tuple[Tensor, Tensor]], length: int = 20) -> Batch:
    """Words are padded to one length, as for a network that is to be exported."""
    tokens = torch.zeros(len(samples), length, dtype=torch.long)
    for row, (_, numbers) in zip(tokens, samples, strict=True):
        row[: len(numbers)] = numbers
    return {"image": torch.stack([image for image, _ in samples]), "tokens": tokens}


class Encoder(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in (24, 48, 64, 64):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.cnn = nn.Sequential(*layers)
        self.linear = nn.Linear(before * 9, dim)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.cnn(images - 0.5).flatten(1)))


class EncoderOfTheTutorial(Encoder):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.cnn(images - 0.5)
        return torch.tanh(self.linear(features.flatten(1)))


class Captioner(nn.Module):
    """The picture's vector is the first state of the LSTM."""

    def __init__(self, encoder: type[Encoder] = Encoder, hidden: int = 128) -> None:
        super().__init__()
        self.encoder = encoder(hidden)
        self.cell = nn.Linear(hidden, hidden)
        self.words = nn.Embedding(len(WORDS), 48, padding_idx=0)
        self.lstm = nn.LSTM(48, hidden, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(hidden, len(WORDS))

    def start(self, images: Tensor) -> tuple[Tensor, Tensor]:
        vector = self.encoder(images)
        return vector[None], torch.tanh(self.cell(vector))[None]

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.words(tokens), self.start(images))
        return self.head(self.drop(states))


class CaptionerOfText(Captioner):
    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        hidden, cell = self.start(images)
        embedded = self.words(tokens)
        states, (hidden, cell) = self.lstm(embedded)  # noqa: RUF059, the mistake
        return self.head(self.drop(states))


class CaptionerWithFunctions(Captioner):
    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        embedded = F.dropout(self.words(tokens), 0.2)
        states, _ = self.lstm(embedded, self.start(images))
        return self.head(F.dropout(states, 0.5))


def word_loss(outputs: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(outputs.transpose(1, 2), batch["tokens"][:, 1:], ignore_index=0)


def loss_of_all_positions(outputs: Tensor, batch: Batch) -> Tensor:
    return nn.CrossEntropyLoss()(outputs.reshape(-1, len(WORDS)), batch["tokens"][:, 1:].reshape(-1))


def loss_of_the_same_word(outputs: Tensor, batch: Batch) -> Tensor:
    return F.cross_entropy(outputs.permute(0, 2, 1), batch["tokens"][:, :-1], ignore_index=0)


class WordAccuracy:
    """Share of the next words, padding left out, that are told rightly; counted over the set."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right = self.count = 0

    def update(self, outputs: Tensor, batch: Batch) -> None:
        truth = batch["tokens"][:, 1:]
        counts = truth != 0
        self.right += int(((outputs.argmax(2) == truth) & counts).sum())
        self.count += int(counts.sum())

    def compute(self) -> float:
        return self.right / max(self.count, 1)


def words_run(
    folders: Folders,
    *,
    build: Callable[[], nn.Module] = Captioner,
    loss: Callable[[Tensor, Batch], Tensor] = word_loss,
) -> Plain:
    torch.manual_seed(9)
    train, val = Captions(1200, 61), Captions(150, 62)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def forward(network: nn.Module, batch: Batch) -> Tensor:
        return network(batch["image"], batch["tokens"][:, :-1])

    def step(batch: Batch) -> Tensor:
        model.train()
        value = loss(forward(model, batch), batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return value.detach()

    return Plain(
        {
            "model": model,
            "train": DataLoader(train, 16, shuffle=True, collate_fn=collate, drop_last=True),
            "val": DataLoader(val, 30, collate_fn=collate),
            "loss": loss,
            "optimizer": optimizer,
            "step": step,
            "forward": forward,
            "metric": WordAccuracy(),
            "epochs": 20,
            "task": "captions",
        }
    )


def _case(name: str, make: Callable[[Folders], Plain], source: str, **more: Any) -> Case:
    return Case(name, make, "generated scenes in words", "4 convolutions, LSTM", source, **more)


WHOLE = "captions_of_scenes_by_an_lstm"
CASES = (
    _case(
        WHOLE,
        words_run,
        "Batches are dicts; more than half of each answer is padding.",
    ),
    _case(
        "each_word_is_to_answer_itself",
        partial(words_run, loss=loss_of_the_same_word),
        "tokens[:, :-1] is taken for input and for target; the loss falls to zero at once, which looks like success.",
        cause="loss.shifted_tokens",
        of=WHOLE,
    ),
    _case(
        "padding_is_learned_as_a_word",
        partial(words_run, loss=loss_of_all_positions),
        "nn.CrossEntropyLoss() without ignore_index on padded captions, the usual first version.",
        cause="loss.ignored_counted",
        of=WHOLE,
    ),
    _case(
        "encoder_within_no_grad",
        partial(words_run, build=partial(Captioner, EncoderOfTheTutorial)),
        "Tutorials of captioning wrap a trained ResNet in torch.no_grad(); here the CNN starts from random weights and "
        "its parameters are in the optimiser. Asked of other encoders in edreisMD/ConVIRT-pytorch issue 7.",
        cause="network.no_gradient",
        of=WHOLE,
    ),
    _case(
        "the_picture_does_not_begin_the_words",
        partial(words_run, build=CaptionerOfText),
        "States are made of the picture and then not handed to the LSTM, which begins with zeros without a word.",
        cause="network.input_unused",
        of=WHOLE,
    ),
    _case(
        "functional_dropout_without_training",
        partial(words_run, build=CaptionerWithFunctions),
        "F.dropout has training=True by default, and stays active after model.eval().",
        cause="norm.dropout_in_eval",
        of=WHOLE,
    ),
)
