"""Captions of generated scenes by a small transformer that attends to a map of the image."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

COLOURS = {"red": (210, 50, 40), "green": (50, 180, 60), "blue": (50, 70, 210), "white": (235, 235, 235)}
SHAPES = ("square", "disc", "cross")
WORDS = ("<pad>", "<start>", "<end>", "a", "left", "right", "of", "above", *COLOURS, *SHAPES)
SIDE = 48
LENGTH = 12


def paint(image: np.ndarray, shape: str, colour: str, x: float, y: float) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    across, down = abs(columns - x), abs(rows - y)
    inside = {
        "square": np.maximum(across, down) <= 5,
        "disc": across**2 + down**2 <= 36,
        "cross": (np.minimum(across, down) <= 1.5) & (np.maximum(across, down) <= 6),
    }
    image[inside[shape]] = COLOURS[colour]


def scene(draw: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """One thing, or two beside or above each other, and a sentence about them."""
    image = draw.normal(100, 15, (SIDE, SIDE, 3))
    things = [(str(draw.choice(SHAPES)), str(draw.choice(list(COLOURS)))) for _ in range(2)]
    names = [["a", colour, shape] for shape, colour in things]
    layout = int(draw.integers(0, 4))
    if layout == 0:
        paint(image, *things[0], *draw.uniform(8, 40, 2))
        words = names[0]
    elif layout == 1:
        x = draw.uniform(8, 40)
        paint(image, *things[0], x + draw.normal(0, 1), draw.uniform(8, 17))
        paint(image, *things[1], x + draw.normal(0, 1), draw.uniform(30, 40))
        words = [*names[0], "above", *names[1]]
    else:
        y = draw.uniform(8, 40)
        paint(image, *things[0], draw.uniform(8, 17), y + draw.normal(0, 1))
        paint(image, *things[1], draw.uniform(30, 40), y + draw.normal(0, 1))
        words = [*names[0], "left", "of", *names[1]]
        if layout == 3:
            words = [*names[1], "right", "of", *names[0]]
    return image.clip(0, 255).astype(np.uint8), words


class Captioned(Dataset):
    """Dicts of an image and the numbers of its words, from <start> to <end>, with <pad> behind."""

    def __init__(self, count: int, seed: int, *, mirrored: bool = False, by_name: bool = False) -> None:
        draw = np.random.default_rng(seed)
        scenes = [scene(draw) for _ in range(count)]
        self.images = {f"{number}.png": image for number, (image, _) in enumerate(scenes)}
        captions = {f"{number}.png": words for number, (_, words) in enumerate(scenes)}
        names = sorted(self.images) if by_name else list(self.images)
        self.pairs = list(zip(names, captions.values(), strict=True))
        self.mirrored = mirrored

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        name, words = self.pairs[index]
        image = torch.from_numpy(self.images[name]).permute(2, 0, 1).float() / 127.5 - 1
        if self.mirrored:
            image, words = mirror(image, words)
        numbers = [WORDS.index(word) for word in ("<start>", *words, "<end>")]
        tokens = torch.zeros(LENGTH, dtype=torch.long)
        tokens[: len(numbers)] = torch.tensor(numbers)
        return {"image": image, "tokens": tokens}


def mirror(image: Tensor, caption: Any) -> tuple[Tensor, Any]:
    """Half of the images from right to left."""
    return (image.flip(-1), caption) if torch.rand(()) < 0.5 else (image, caption)


class Captioner(nn.Module):
    """A map of 6x6 places, and one decoder layer over the words so far."""

    def __init__(self, *, causal: bool = True, learned_encoder: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 32, 2), (32, 48, 2), (48, 64, 2), (64, 64, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.cells = nn.Parameter(torch.randn(36, 64) * 0.3)
        self.words = nn.Embedding(len(WORDS), 64)
        self.positions = nn.Parameter(torch.randn(LENGTH, 64) * 0.3)
        layer = nn.TransformerDecoderLayer(64, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, 2)
        self.out = nn.Linear(64, len(WORDS))
        self.causal = causal
        self.learned_encoder = learned_encoder

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Scores of the word after each of `tokens`."""
        with torch.set_grad_enabled(self.learned_encoder and torch.is_grad_enabled()):
            features = self.encoder(images)
        memory = features.flatten(2).transpose(1, 2) + self.cells
        words = self.words(tokens) + self.positions[: tokens.shape[1]]
        length = tokens.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1) if self.causal else None
        return self.out(self.decoder(words, memory, tgt_mask=mask))


def forward(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return model(batch["image"], batch["tokens"][:, :-1])


def next_word(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), batch["tokens"][:, 1:].flatten(), ignore_index=0)


def next_word_and_pad(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(outputs.flatten(0, 1), batch["tokens"][:, 1:].flatten())


def word_after_next(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """As a model does that shifts its labels itself."""
    labels = batch["tokens"][:, 1:]
    return F.cross_entropy(outputs[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=0)


def exact(model: nn.Module, batches: Any) -> float:
    """Share of the captions that are generated word by word as they stand."""
    model.eval()
    right = count = 0
    with torch.no_grad():
        for batch in batches:
            tokens = torch.ones(len(batch["image"]), 1, dtype=torch.long)
            for _ in range(LENGTH - 1):
                following = model(batch["image"], tokens)[:, -1].argmax(-1)
                following = torch.where((tokens[:, -1] == 2) | (tokens[:, -1] == 0), 0, following)
                tokens = torch.cat([tokens, following[:, None]], 1)
            right += int((tokens == batch["tokens"]).all(1).sum())
            count += len(tokens)
    return right / count


def captions(
    folders: Folders,
    *,
    loss: Any = next_word,
    mirrored: bool = False,
    by_name: bool = False,
    **network: bool,
) -> Plain:
    torch.manual_seed(0)
    model = Captioner(**network)
    arguments = {
        "model": model,
        "train": DataLoader(Captioned(1200, 1, mirrored=mirrored, by_name=by_name), 24, shuffle=True, drop_last=True),
        "val": DataLoader(Captioned(96, 2, by_name=by_name), 24),
        "loss": loss,
        "optimizer": torch.optim.Adam(model.parameters(), 1.5e-3),
        "forward": forward,
        "evaluate": exact,
        "epochs": 12,
        "task": "captions",
        "targets": "tokens",
    }
    if mirrored:
        arguments["augment"] = mirror
    return Plain(arguments)


def case(name: str, cause: str | None, source: str, also: tuple[str, ...] = (), **change: Any) -> Case:
    return Case(
        name=name,
        make=lambda folders: captions(folders, **change),
        data="generated scenes with sentences",
        network="transformer decoder on four convolutions",
        source=source,
        cause=cause,
        of="sentences_of_scenes" if cause else "",
        also=also,
    )


CASES = (
    case("sentences_of_scenes", None, "batches are dicts; each word follows from those before; padding at the end"),
    case(
        "decoder_without_mask",
        "loss.shifted_tokens",
        "huggingface/transformers issue 48745 and alex-matton/causal-transformer-decoder issue 1: no causal mask, so "
        "that each position sees the word it has to say",
        causal=False,
    ),
    case(
        "shifted_by_both",
        "loss.shifted_tokens",
        "causal models of HuggingFace shift the labels; a collate function that has shifted them already asks for the "
        "word after the next",
        loss=word_after_next,
    ),
    case(
        "padding_in_caption_loss",
        "loss.ignored_counted",
        "mlfoundations/open_clip pull request 316: the loss ignored -100, the padding is 0",
        loss=next_word_and_pad,
    ),
    case(
        "left_and_right_mirrored",
        "augment.changes_meaning",
        "saahiluppal/catr issue 28, SPRIGHT-T2I/SPRIGHT issue 7: images with left and right in their captions mirrored",
        ("augment.target_left",),
        mirrored=True,
    ),
    case(
        "names_sorted_as_text",
        "data.target_mismatch",
        "files by sorted(), so that 10.png comes before 2.png, captions in the order of their numbers",
        by_name=True,
    ),
    case(
        "encoder_under_no_grad",
        "network.no_gradient",
        "the tutorial's encoder is pre-trained and runs under torch.no_grad(); the line stayed with one from scratch",
        ("norm.frozen",),
        learned_encoder=False,
    ),
)
