"""Mistakes of captions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.mistakes.case import Folders, Plain
from benchmarks.mistakes.tuning import generated, networks, sets
from benchmarks.mistakes.tuning.healthy_vectors import (
    DESCRIBED,
    FLICKR,
    caption_run,
    described_run,
    flickr_run,
    next_words,
)
from benchmarks.mistakes.tuning.pieces import Dicts, answers, changed, loader, planted


def sized(run: Plain, model: networks.Captioner) -> Plain:
    """The run with another network, its waiting layers sized, and Adam over its parameters."""
    images, sentences = generated.described(2, 71)
    next_words(model.eval(), {"image": images, "caption": sentences})
    model.train()
    return changed(run, model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3))


def target_is_input(folders: Folders) -> Plain:
    """The words of the input are also the words to be predicted: nothing is shifted."""

    def forward(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return model(batch["image"], batch["caption"])

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["caption"].flatten(), ignore_index=0)

    def metric(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        words = batch["caption"]
        return ((outputs.argmax(2) == words) & (words > 0)).sum() / (words > 0).sum()

    def evaluate(model: nn.Module, val: Any) -> float:
        scores = [metric(outputs, batch) for outputs, batch in answers(model, val, forward)]
        return float(torch.stack(scores).mean())

    return changed(described_run(folders), forward=forward, loss=loss, metric=metric, evaluate=evaluate)


def padding_in_the_loss(folders: Folders) -> Plain:
    """Most positions are padding, and all count."""

    def loss(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, 1), batch["caption"][:, 1:].flatten())

    return changed(described_run(folders), loss=loss)


def padding_in_the_score(folders: Folders) -> Plain:
    """Padding counts as a word that is easily right, in the loss and in the score."""

    def metric(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return (
            (outputs.argmax(2).masked_fill(batch["caption"][:, 1:] == 0, 0) == batch["caption"][:, 1:]).float().mean()
        )

    def evaluate(model: nn.Module, val: Any) -> float:
        scores = [metric(outputs, batch) * len(outputs) for outputs, batch in answers(model, val, next_words)]
        return float(sum(scores)) / len(val.dataset)

    return changed(flickr_run(folders), metric=metric, evaluate=evaluate)


def time_first(folders: Folders) -> Plain:
    """A GRU without batch_first reads the batch as time."""
    torch.manual_seed(0)
    model = networks.Captioner(len(generated.WORDS))
    recurrent = nn.GRU(24, 64)

    class Swapped(networks.Captioner):
        def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
            state = torch.tanh(self.first(self.features(image).flatten(1)))
            embedded = self.embed(tokens) + state[:, None, :24]
            return self.words(self.gru(embedded)[0])

    model.__class__ = Swapped
    model.gru = recurrent
    return sized(described_run(folders), model)


class Blind(networks.Captioner):
    """Computes the features of the picture, and begins from zero."""

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        state = torch.tanh(self.first(self.features(image).flatten(1)))
        state = torch.zeros_like(state)
        return self.words(self.gru(self.embed(tokens), state[None])[0])


def picture_not_used(folders: Folders) -> Plain:
    """The state of the picture is overwritten by the one that every recurrent network begins with."""
    torch.manual_seed(0)
    return sized(described_run(folders), Blind(len(generated.WORDS)))


def sentences_of_neighbours(folders: Folders) -> Plain:
    """Each image has the sentence of the one before, as the list of sentences began one line later."""
    images, texts, _ = sets.sentences(folders, "train", 320, None)
    run = flickr_run(folders)
    return changed(run, train=loader(Dicts(image=images, caption=texts.roll(1, 0)), 16, shuffle=True))


def words_of_another_file(folders: Folders) -> Plain:
    """Validation numbers its words by its own list."""
    torch.manual_seed(0)
    images, texts, words = sets.sentences(folders, "train", 320, None)
    val_images, val_texts, _ = sets.sentences(folders, "dev", 80, None)
    run = caption_run(networks.Captioner(len(words)), (images, texts), (val_images, val_texts), 12, 3e-3)
    return changed(run, classes=words)


def only_the_words(folders: Folders) -> Plain:
    """The optimiser has the recurrent part; the convolutions, which are not trained before, stay as drawn."""
    run = described_run(folders)
    model = run.arguments["model"]
    optimizer = torch.optim.Adam(networks.parameters_of(model.embed, model.gru, model.words), lr=3e-3)
    return changed(run, optimizer=optimizer)


CASES = (
    planted(
        DESCRIBED,
        "words_not_shifted",
        "loss.shifted_tokens",
        target_is_input,
        "jadore801120/attention-is-all-you-need-pytorch#123 asks where the shift is",
    ),
    planted(
        DESCRIBED,
        "padding_in_the_loss",
        "loss.ignored_counted",
        padding_in_the_loss,
        "lukas-blecher/LaTeX-OCR#305; saahiluppal/catr#12",
    ),
    planted(
        FLICKR,
        "padding_in_the_score",
        "metric.ignored_counted",
        padding_in_the_score,
        "accuracy over a padded tensor is one line",
    ),
    planted(
        DESCRIBED,
        "batch_read_as_time",
        "network.batch_mixing",
        time_first,
        "batch_first=False is the default of torch's recurrent networks",
    ),
    planted(
        DESCRIBED,
        "picture_not_used",
        "network.input_unused",
        picture_not_used,
        "h0 = zeros is copied from a language model",
        also=("network.no_gradient", "network.unused_layer"),
    ),
    planted(
        FLICKR,
        "sentences_of_the_image_before",
        "data.target_mismatch",
        sentences_of_neighbours,
        "five lines an image, and a header or not",
    ),
    planted(
        FLICKR,
        "words_numbered_anew",
        "data.class_one_split",
        words_of_another_file,
        "the vocabulary is built for each file",
        also=("data.label_range",),
    ),
    planted(
        DESCRIBED,
        "convolutions_not_optimised",
        "optim.missing_parameters",
        only_the_words,
        "the encoder of Show and Tell is frozen because it is trained; this one is not",
    ),
)
