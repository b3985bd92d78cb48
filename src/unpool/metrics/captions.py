"""Scores of captions: BLEU, ROUGE-L, CIDEr-D and METEOR over a whole set."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from unpool.metrics.meteor_program import meteor
from unpool.metrics.sentences import bleu, cider_d, rouge_l
from unpool.ops.words import texts_of, words_of
from unpool.types import Batch, Prediction


class Described(NamedTuple):
    """One image: the words of the answer, and those of each reference."""

    answer: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]


class CaptionScores:
    """Answers and references of a set, whole: scores of a corpus are no means of those of its parts.

    References keep the words that the network cannot say.

    Args:
        words: of the network's answers, by number.
        with_meteor: whether METEOR is computed too, which takes seconds and a process of Java.
    """

    def __init__(self, words: Sequence[str], *, with_meteor: bool = False) -> None:
        self.words, self.with_meteor = tuple(words), with_meteor
        self.images: list[Described] = []

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: in the prediction captions, numbers of words (T,) of each image, in the batch their texts."""
        for i, numbers in enumerate(prediction["captions"]):
            answer = tuple(self.words[number] for number in numbers.tolist())
            references = tuple(words_of(text) for text in texts_of(batch["captions"][i]))
            self.images.append(Described(answer, references))

    def merge(self, other: "CaptionScores") -> None:
        self.images += other.images

    def compute(self) -> dict[str, Any]:
        """Computes the scores, None where there is no image.

        Returns:
            bleu1 to bleu4, rouge_l and meteor in 0..1, cider in 0..10; words: of an answer, on average; distinct:
            how many different answers there are, for each image.
        """
        answers, references = [one.answer for one in self.images], [one.references for one in self.images]
        names = ("bleu1", "bleu2", "bleu3", "bleu4")
        if not answers:
            return dict.fromkeys((*names, "rouge_l", "cider", "words", "distinct"))
        return {
            **dict(zip(names, bleu(answers, references), strict=True)),
            "rouge_l": rouge_l(answers, references),
            "cider": cider_d(answers, references),
            **({"meteor": meteor(answers, references)} if self.with_meteor else {}),
            "words": sum(map(len, answers)) / len(answers),
            "distinct": len(set(answers)) / len(answers),
        }
