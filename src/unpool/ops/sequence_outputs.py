"""Outputs of networks whose answer is a sequence: words of a caption, characters of a string."""

from typing import NamedTuple

from torch import Tensor


class SeenImage(NamedTuple):
    """What a captioner gives for an image, in every mode; its `begin` and `step` go on, word by word.

    Attributes:
        scores: (B, V) logits of the first word; number 0 ends a caption.
        features: (B, C) of the image, or (B, C, h, w) of places on it.
    """

    scores: Tensor
    features: Tensor


class Begun(NamedTuple):
    """What a captioner keeps from word to word.

    Attributes:
        state: tensors with leading B that each word changes.
        fixed: tensors with leading B that stay.
    """

    state: tuple[Tensor, ...]
    fixed: tuple[Tensor, ...] = ()


class Spoken(NamedTuple):
    """One step of a captioner.

    Attributes:
        hidden: (B, H) of which `model.scores` makes logits of the next word.
        state: as in `Begun`.
        weights: (B, h, w) of the places that were looked at, adding up to 1; None of a network without attention.
    """

    hidden: Tensor
    state: tuple[Tensor, ...]
    weights: Tensor | None = None


class ReadSteps(NamedTuple):
    """Output of a network that reads a string column by column, in every mode.

    Attributes:
        scores: (B, K + 1, T) logits of the characters at each column from left to right; number 0 is none.
    """

    scores: Tensor


class ReadPositions(NamedTuple):
    """Output of a network with a head for each position of a string, in every mode.

    Attributes:
        scores: (B, K + 1, P) logits of the characters at each position; number 0 is none, behind the end.
    """

    scores: Tensor
