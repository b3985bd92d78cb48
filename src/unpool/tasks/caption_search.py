"""Finds likely captions: word by word, by beam search; a beam of one takes the likeliest word each time."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from unpool.ops.sequence_outputs import Begun, Spoken

END = 0  # the number that begins and ends a caption


class Speaker(Protocol):
    """What the search asks of a captioner."""

    def step(self, word: Tensor, begun: Begun) -> Spoken: ...
    def scores(self, hidden: Tensor) -> Tensor: ...


class Likeliest(NamedTuple):
    """The likeliest captions of B images that the search met.

    Attributes:
        words: numbers (T,) of the words of each, without the end.
        score: (B,) log-probability, the end included where the caption has one.
        weights: (T, h, w) what was looked at for each word; (T, 0, 0) of a network without attention.
    """

    words: list[Tensor]
    score: Tensor
    weights: list[Tensor]


def search(speaker: Speaker, begun: Begun, *, beam: int, longest: int) -> Likeliest:
    """Keeps the `beam` likeliest beginnings of captions, and takes every next word of each.

    A caption that has ended stays among them as it is. The search ends where all have ended, or after `longest` words.

    Args:
        speaker: the network, in evaluation mode.
        begun: of B images.
        beam: captions that are kept.
        longest: words of a caption.
    """
    images, device = len(begun.state[0]), begun.state[0].device
    state, fixed = ([part.repeat_interleave(beam, 0) for part in parts] for parts in begun)
    score = torch.full((images, beam), -torch.inf, device=device)
    score[:, 0] = 0.0  # one beginning; the others would be the same
    words = torch.zeros(images, beam, 0, dtype=torch.int64, device=device)
    looked: list[Tensor] = []
    word, ended = torch.zeros(images, beam, dtype=torch.int64, device=device), torch.zeros_like(score, dtype=torch.bool)
    row = torch.arange(images, device=device)[:, None]
    for _ in range(longest):
        spoken = speaker.step(word.flatten(), Begun(tuple(state), tuple(fixed)))
        likely = speaker.scores(spoken.hidden).float().log_softmax(1).unflatten(0, (images, beam))
        likely = torch.where(ended[..., None], _only_end(likely), likely)
        score, best = (score[..., None] + likely).flatten(1).topk(beam)  # (B, beam)
        parent, word = best // likely.shape[2], best % likely.shape[2]
        state = [part.unflatten(0, (images, beam))[row, parent].flatten(0, 1) for part in spoken.state]
        words = torch.cat([words[row, parent], word[..., None]], dim=2)
        if spoken.weights is not None:
            looked = [weights[row, parent] for weights in (*looked, spoken.weights.unflatten(0, (images, beam)))]
        ended = ended[row, parent] | (word == END)
        if ended.all():
            break
    return _first(words[:, 0], score[:, 0], [weights[:, 0] for weights in looked])


def _only_end(likely: Tensor) -> Tensor:
    """Log-probabilities of what follows an ended caption: the end again, for sure."""
    only = torch.full_like(likely, -torch.inf)
    only[..., END] = 0.0
    return only


def _first(words: Tensor, score: Tensor, looked: list[Tensor]) -> Likeliest:
    """The captions (B, T) up to their ends, what was looked at with them."""
    lengths = (words != END).int().cumprod(1).sum(1).tolist()
    weights = torch.stack(looked, dim=1) if looked else torch.zeros(*words.shape, 0, 0)
    captions = [one[:length] for one, length in zip(words, lengths, strict=True)]
    return Likeliest(captions, score, [one[:length] for one, length in zip(weights, lengths, strict=True)])
