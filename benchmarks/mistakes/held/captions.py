"""Captions and tags of drawn scenes, captions of photographs: mistakes of words, of padding and of several labels."""

from collections import Counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held import drawn
from benchmarks.mistakes.held.networks import Captioner, ConvNet
from benchmarks.mistakes.held.runs import Pictures, batches, plain, to_tensor

PAD, START, END, OTHER = range(4)
LENGTH = 12


class Captioned(Dataset):
    """Pictures with the words of one caption: `image`, and `words` (12) from START to END, then PAD."""

    def __init__(self, pictures: Any, captions: list[str], vocabulary: dict[str, int], *, augment: Any = None) -> None:
        self.pictures, self.augment = pictures, augment
        self.words = torch.full((len(captions), LENGTH), PAD)
        for row, caption in zip(self.words, captions, strict=True):
            ids = [START, *(vocabulary.get(word, OTHER) for word in caption.split()), END][:LENGTH]
            row[: len(ids)] = torch.tensor(ids)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = to_tensor(self.pictures[index])
        if self.augment is not None:
            image, _ = self.augment(image, self.words[index])
        return {"image": image, "words": self.words[index]}


def vocabulary_of(captions: list[str], *, least: int = 1) -> dict[str, int]:
    """Numbers from 4 of the words that occur often enough."""
    counts = Counter(word for caption in captions for word in caption.split())
    return {word: i + 4 for i, word in enumerate(sorted(w for w, n in counts.items() if n >= least))}


def forward(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Scores of each next word, (B, T, words), from the picture and the words before it."""
    return model(batch["image"], batch["words"][:, :-1])


def next_word(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the next words, padding left out."""
    return F.cross_entropy(outputs.flatten(0, 1), batch["words"][:, 1:].flatten(), ignore_index=PAD)


def words_right(model: nn.Module, val: Any) -> float:
    """The share over a set of the words that are guessed from those before them and the picture."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for batch in batches(val):
            wanted = batch["words"][:, 1:]
            right += ((forward(model, batch).argmax(2) == wanted) & (wanted != PAD)).sum().item()
            total += (wanted != PAD).sum().item()
    model.train()
    return right / total


def step_of(model: nn.Module, loss: Any, optimizer: torch.optim.Optimizer) -> Any:
    """A training step on batches that are dicts, clipped at a norm that is seldom reached."""

    def step(batch: dict[str, Tensor]) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = loss(forward(model, batch), batch)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        return value.detach()

    return step


def captions_run(model: nn.Module, sets: tuple[Dataset, Dataset], *, rate: float = 3e-3, **more: Any) -> Plain:
    """A run that learns the next word of captions."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    loss = more.pop("loss", next_word)
    more = {
        "forward": forward, "evaluate": words_right, "step": step_of(model, loss, optimizer), "task": "captions",
    } | more  # fmt: skip
    return plain(model, DataLoader(sets[0], 32, shuffle=True), sets[1], loss, optimizer=optimizer, **more)


def scene_sets(**options: Any) -> tuple[tuple[Captioned, Captioned], int]:
    """640 scenes to train on and 120 to validate, and the number of words."""
    (pictures, captions, _), (val_pictures, val_captions, _) = drawn.scenes(640, 1), drawn.scenes(120, 2)
    vocabulary = vocabulary_of(captions)
    train = Captioned(pictures, captions, vocabulary, **options)
    return (train, Captioned(val_pictures, val_captions, vocabulary)), len(vocabulary) + 4


def scenes(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets, words = scene_sets()
    return captions_run(Captioner(words), sets)


def mirrored_scenes(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def augment(image: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        return (image.flip(2) if torch.rand(()) < 0.5 else image), words

    sets, words = scene_sets(augment=augment)
    return captions_run(Captioner(words), sets, augment=augment)


def words_not_shifted(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["words"][:, :-1].flatten(), ignore_index=PAD)

    sets, words = scene_sets()
    return captions_run(Captioner(words), sets, loss=loss)


def padding_is_learned(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["words"][:, 1:].flatten())

    sets, words = scene_sets()
    return captions_run(Captioner(words), sets, loss=loss)


def time_before_batch(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets, words = scene_sets()
    model = Captioner(words)
    model.rnn = nn.GRU(48, 96)
    return captions_run(model, sets)


class _BlindCaptioner(Captioner):
    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        first = self.encoder(image)[:, None]
        x = torch.cat([torch.zeros_like(first), self.embed(words)], 1)
        return self.head(self.rnn(x)[0][:, 1:])


def picture_not_passed_on(folders: Folders) -> Plain:
    torch.manual_seed(0)
    sets, words = scene_sets()
    return captions_run(_BlindCaptioner(words), sets)


def read_flickr(folders: Folders, split: str, count: int) -> tuple[np.ndarray, list[str]]:
    """Photographs at 48x48 and the first caption of each."""
    assert folders.data is not None
    root = folders.data / "flickr8k_mini"
    names = (root / "Flickr8k_text" / f"Flickr_8k.{split}Images.txt").read_text().split()[:count]
    lines = (root / "Flickr8k_text" / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines()
    first = dict(line.split("#0\t") for line in lines if "#0\t" in line)
    pictures = [Image.open(root / "Flicker8k_Dataset" / name).convert("RGB").resize((48, 48)) for name in names]
    return np.stack([np.asarray(picture) for picture in pictures]), [first[name].lower() for name in names]


def photographs(folders: Folders) -> Plain:
    torch.manual_seed(0)
    (pictures, captions), (val_pictures, val_captions) = (
        read_flickr(folders, s, n) for s, n in (("train", 800), ("dev", 150))
    )
    vocabulary = vocabulary_of(captions, least=4)
    sets = Captioned(pictures, captions, vocabulary), Captioned(val_pictures, val_captions, vocabulary)
    return captions_run(Captioner(len(vocabulary) + 4), sets, rate=2e-3)


def tags_right(model: nn.Module, val: Any) -> float:
    """The share over a set of the tags that are judged rightly."""
    model.eval()
    with torch.no_grad():
        right = [((model(images) > 0.5) == (tags > 0.5)).float() for images, tags in batches(val)]
    model.train()
    return torch.cat(right).mean().item()


def tags_run(model: nn.Module, *, loss: Any, **more: Any) -> Plain:
    """A run that names the shapes of a scene, several at a time."""
    sets = [Pictures(s[0], list(torch.from_numpy(s[2]))) for s in (drawn.scenes(640, 1), drawn.scenes(120, 2))]
    more = {"classes": drawn.SHAPES, "evaluate": tags_right} | more
    return plain(model, DataLoader(sets[0], 32, shuffle=True), sets[1], loss, **more)


def tags(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return tags_run(nn.Sequential(ConvNet(3), nn.Sigmoid()), loss=F.binary_cross_entropy)


def one_of_several_tags(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def evaluate(model: nn.Module, val: Any) -> float:
        model.eval()
        with torch.no_grad():
            right = [((model(images).softmax(1) > 0.5) == (tags > 0.5)).float() for images, tags in batches(val)]
        model.train()
        return torch.cat(right).mean().item()

    return tags_run(ConvNet(3), loss=F.cross_entropy, evaluate=evaluate)


CASES: tuple[Case, ...] = (
    Case(
        "scenes",
        scenes,
        "generated scenes",
        "Captioner",
        "captions of several lengths, padded; clipping that seldom clips; its own forward and step",
    ),
    Case(
        "mirrored_scenes",
        mirrored_scenes,
        "generated scenes",
        "Captioner",
        "mirrored pictures whose captions say left of",
        cause="augment.changes_meaning",
        of="scenes",
        also=("augment.target_left",),
    ),
    Case(
        "words_not_shifted",
        words_not_shifted,
        "generated scenes",
        "Captioner",
        "sgrvinod/a-PyTorch-Tutorial-to-Image-Captioning#94: targets that are the inputs themselves",
        cause="loss.shifted_tokens",
        of="scenes",
    ),
    Case(
        "padding_is_learned",
        padding_is_learned,
        "generated scenes",
        "Captioner",
        "saahiluppal/catr#12, lukas-blecher/LaTeX-OCR#305: padding counts in the loss",
        cause="loss.ignored_counted",
        of="scenes",
    ),
    Case(
        "time_before_batch",
        time_before_batch,
        "generated scenes",
        "Captioner",
        "Svito-zar/gesticulator#62, huyanxin/phasen#13: a GRU without batch_first reads across samples",
        cause="network.batch_mixing",
        of="scenes",
        also=("network.input_unused",),
    ),
    Case(
        "picture_not_passed_on",
        picture_not_passed_on,
        "generated scenes",
        "Captioner",
        "a placeholder of the first word left in place of the picture: a model of language alone",
        cause="network.input_unused",
        of="scenes",
        also=("network.no_gradient",),
    ),
    Case(
        "captions_of_photographs",
        photographs,
        "flickr8k_mini",
        "Captioner",
        "rare words as one; a picture tells little, the words before it much",
        needs=("flickr8k_mini",),
    ),
    Case(
        "tags",
        tags,
        "generated scenes",
        "ConvNet with sigmoid",
        "several labels at a time; sigmoid in the network and the loss that belongs to it",
    ),
    Case(
        "one_of_several_tags",
        one_of_several_tags,
        "generated scenes",
        "ConvNet",
        "cross-entropy takes rows of 0 and 1 as if they were probabilities that sum to 1",
        cause="loss.wrong_kind",
        of="tags",
    ),
)
