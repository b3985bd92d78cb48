"""Each word is learned from those before it: not from itself, and not one later than the next."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unpool.checks.answers import scores_of, targets_of
from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.checks.source import Batch, picked, split

SAMPLES = 8


def look_shift(setup: Setup) -> Finding:
    """Measures which words an output depends on and which word it is taught."""
    if setup.target_form != "tokens" or setup.loss is None:
        return not_applicable("the targets are no sentences" if setup.loss else "give loss=")
    batch = picked(setup.train.batches(1)[0], slice(0, SAMPLES))
    words = _words_of(batch)
    if words is None:
        return not_applicable("the words that the network reads are no tensor of whole numbers")
    with setup.trying(training=False):
        scores = scores_of(setup.outputs(batch))
        if scores is None or scores.ndim != 3:
            return not_applicable("the outputs are no scores of words by position")
        again = scores_of(setup.outputs(batch))
        if again is None or not torch.equal(scores, again):
            return not_applicable("the network draws at random in evaluation mode")
        taught = _taught(setup, batch, words, scores)
        read = _read(setup, batch, words, scores)
    if taught is None or read is None:
        return not_applicable("the positions of the loss cannot be told from the words")
    about = f"The output at position {read[0]} depends on words up to {read[1]} and is taught word {taught}"
    ahead = taught - read[1]
    if ahead == 1:
        return passed(f"{about}, the next one.", ahead)
    what = "the word to be predicted is among those that are read" if ahead < 1 else f"{ahead - 1} words are skipped"
    return Finding(
        "fail", f"{about}: {what}.", ahead, "loss.shifted_tokens",
        "Read words[:, :-1] and learn words[:, 1:], once: not in the data set and in the loss.",
        (f"words {tuple(words.shape)}, outputs {tuple(scores.shape)}",),
    )  # fmt: skip


def _words_of(batch: Batch) -> Tensor | None:
    """(B, T): the words that the network reads: a tensor of the inputs, else of the batch."""
    inputs = split(batch)[0]
    values = (
        list(batch.values()) if isinstance(batch, Mapping) else [*(inputs if isinstance(inputs, tuple | list) else ())]
    )
    values += [] if isinstance(batch, Mapping) else [targets_of(batch)]
    whole = [one for one in values if isinstance(one, Tensor) and not one.is_floating_point() and one.ndim == 2]
    return whole[0] if whole else None


def _changed(batch: Batch, words: Tensor, other: Tensor) -> Batch:
    """The batch with other words wherever these stand."""
    if isinstance(batch, Mapping):
        return {key: other if value is words else value for key, value in batch.items()}
    inputs = split(batch)[0]
    if isinstance(inputs, tuple | list):
        return (type(inputs)([other if one is words else one for one in inputs]), *batch[1:])
    return batch


def _read(setup: Setup, batch: Batch, words: Tensor, scores: Tensor) -> tuple[int, int] | None:
    """A position of the output, and the last word that it depends on."""
    last: list[tuple[int, int]] = []
    position = min(2, scores.shape[1] - 1)
    with torch.no_grad():
        base = scores_of(setup.outputs(batch))
        for index in range(words.shape[1]):
            other = words.clone()
            other[:, index] = (other[:, index] % max(2, int(words.max()) - 1)) + 1
            after = scores_of(setup.outputs(_changed(batch, words, other)))
            if base is None or after is None or base.shape != after.shape:
                return None
            if not torch.allclose(base[:, position], after[:, position], rtol=1e-4, atol=1e-6):
                last.append((position, index))
    return max(last, key=lambda item: item[1], default=None)


def _taught(setup: Setup, batch: Batch, words: Tensor, scores: Tensor) -> int | None:
    """Index of the word that the output at position 2 is taught, over the samples where only one index agrees."""
    position = min(2, scores.shape[1] - 1)
    leaf = scores.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(setup.loss_of(leaf, batch), leaf, allow_unused=True)
    if gradient is None:
        return None
    wanted = gradient[:, position].argmin(1)
    counts = gradient[:, position].abs().sum(1) > 0
    agreeing = (words == wanted[:, None])[counts]
    if not len(agreeing):
        return None
    share = agreeing.float().mean(0)
    best = int(share.argmax())
    is_clear = float(share[best]) > 0.99 and int((share > 0.99).sum()) == 1
    return best if is_clear else None


CHECKS = (
    Check(
        name="words are learned from those before",
        subject="loss",
        causes={"loss.shifted_tokens": "Read words[:, :-1] and learn words[:, 1:], once."},
        symptom="The loss is almost 0 after minutes and captions are one word again and again, or every second word "
        "is missing.",
        measure="Which words the output at the third position depends on, by changing them, and which word the "
        "gradient of the loss "
        "raises there.",
        threshold="It must be the word after the last one that is read.",
        origin="Exact.",
        look=look_shift,
        is_quick=True,
    ),
)
