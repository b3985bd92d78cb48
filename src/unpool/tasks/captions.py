"""Captions: a sentence for each image, learned word by word from those that people wrote.

While training, each word is predicted from the true words before it, the number 0 before the first one, and the last
one is followed by 0 (Karpathy & Fei-Fei 2015, arXiv:1412.2306, section 3.2). Words outside of the vocabulary are left
out of what is learned, as in Karpathy's release; the references that answers are measured by keep them.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import torch
from annotated_types import Interval, Len
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.limits import WEIGHT, AuxiliaryWeight, check_number
from unpool.metrics.captions import CaptionScores
from unpool.metrics.meteor_program import missing_for_meteor
from unpool.ops.drawing_captions import attention_sheet, looked_at, words_below
from unpool.ops.sequence_outputs import Begun, SeenImage, Spoken
from unpool.ops.words import texts_of, words_of
from unpool.task import Baseline, Description, Exhibit, Task, TrainingSetup
from unpool.tasks.caption_search import END, search
from unpool.tasks.frozen_features import FrozenFeatures
from unpool.tasks.word_vectors import read_vectors, skip_gram
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term

BEAM, LONGEST = Interval(ge=1, le=100), Interval(ge=1, le=1000)
SKIP_GRAM = "skip_gram"
_SHOWN = 12  # words of which the report shows what was looked at
_LEFT_OUT = "METEOR is left out: %s"
_log = logging.getLogger(__name__)


@runtime_checkable
class Captioning(Protocol):
    """What is asked of a network: `models.captions.captioner` says what each part gives."""

    seen: str
    words: nn.Embedding

    @property
    def seeing(self) -> Sequence[nn.Module]: ...
    def see(self, image: Tensor) -> Tensor: ...
    def begin(self, features: Tensor) -> Begun: ...
    def step(self, word: Tensor, begun: Begun, kept: tuple[Tensor, ...] | None = None) -> Spoken: ...
    def drawn(self, images: int) -> tuple[Tensor, ...] | None: ...
    def scores(self, hidden: Tensor) -> Tensor: ...
    def __call__(self, image: Tensor) -> SeenImage: ...


class Captions(Task):
    """Cross-entropy of the next word, beam search, BLEU, ROUGE-L and CIDEr-D.

    Args:
        info: the vocabulary.
        beam: beginnings of a caption that the search keeps; 1 takes the likeliest word each time.
        longest: words of an answer.
        attention_weight: of the doubly stochastic term of networks with attention, by which every part of the image is
            looked at as much over a caption (Xu et al. 2015, arXiv:1502.03044, eq. 14).
        word_vectors: first vectors of words: "skip_gram" learns them from the training captions; or a text file of
            word2vec or GloVe, of whose words they are taken. `model.frozen: [words]` keeps them as they are.
        meteor: whether METEOR is measured, which needs Java and the package pycocoevalcap.
        samples: the training set.
    """

    needs = ("image", "captions")
    best = "cider"
    takes = ("words",)

    def __init__(
        self,
        info: DataInfo,
        *,
        beam: Annotated[int, BEAM] = 1,
        longest: Annotated[int, LONGEST] = 20,
        attention_weight: AuxiliaryWeight = 1.0,
        word_vectors: Annotated[str, Len(1, 4096)] | None = None,
        meteor: bool = False,
        samples: Samples | None = None,
    ) -> None:
        super().__init__()
        if not info.words:
            raise RecipeError("captions need the words of a vocabulary; the data set gives none")
        if strange := [word for word in info.words if words_of(word) != (word,)]:
            raise RecipeError(
                f"the vocabulary has {quoted(strange[0])}, which no caption is found to have: its words are in small "
                "letters, without punctuation and spaces; make them by unpool.ops.words.vocabulary(captions, least=5)"
            )
        self.info = info
        self.beam = int(check_number("task.beam", beam, BEAM))
        self.longest = int(check_number("task.longest", longest, LONGEST))
        self.attention_weight = check_number("task.attention_weight", attention_weight, WEIGHT)
        self.word_vectors = word_vectors
        self.lacks_meteor = missing_for_meteor() if meteor else ""
        self.has_meteor = meteor and not self.lacks_meteor
        self._is_said = False  # that it is left out
        self.features = FrozenFeatures()
        self._numbers = {word: number for number, word in enumerate(info.words, start=END + 1)}
        self._sentences: list[list[int]] = []
        if word_vectors == SKIP_GRAM and samples is not None:
            texts = (text for i in range(len(samples)) for text in texts_of(samples.targets(i)["captions"]))
            self._sentences = [self.numbers_of(text) for text in texts]

    @property
    def outputs(self) -> int:
        """A score for each word, and for the end."""
        return len(self.info.words) + 1

    @property
    def described(self) -> Mapping[str, Description]:
        orders = {f"bleu{order}": Description(f"BLEU-{order}", is_share=True) for order in (1, 2, 3, 4)}
        meteor = {"meteor": Description("METEOR", is_share=True)} if self.has_meteor else {}
        return {
            "cider": Description("CIDEr-D"),
            **dict(reversed(orders.items())),
            "rouge_l": Description("ROUGE-L", is_share=True),
            **meteor,
            "words": Description("words of an answer"),
            "distinct": Description("different answers", is_share=True),
        }

    def numbers_of(self, text: str) -> list[int]:
        """The words of a caption that are in the vocabulary, by their numbers, from 1 on."""
        return [self._numbers[word] for word in words_of(text) if word in self._numbers]

    def initialize(self, model: nn.Module, *, from_file: bool) -> None:
        """Sets the vectors of words to those that the recipe names; those of a file of weights stay."""
        if self.word_vectors is None:
            return
        if from_file:
            _log.warning(
                "task.word_vectors is not used: the words have the vectors of the weights in model.weights, or, where "
                "that is a file of a backbone alone, those that were drawn"
            )
            return
        words = _captioner(model).words.weight
        dim, count = words.shape[1], len(self.info.words)
        with torch.no_grad():
            if self.word_vectors == SKIP_GRAM:
                learned = skip_gram([[n - 1 for n in one] for one in self._sentences], count=count, dim=dim, seed=0)
                words[1:] = learned / learned.std() * words.std()
                return
            vectors = read_vectors(Path(self.word_vectors), self.info.words, dim)
            for word, vector in vectors.items():
                words[self._numbers[word]] = vector
        lacking = [word for word in self.info.words if word not in vectors]
        _log.info("%s has %d of %d words, and none for %s", self.word_vectors, len(vectors), count, lacking[:5])

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy over all words of all captions; with attention, how unevenly it lies on the image.

        Raises:
            RecipeError: the network does not say words.
        """
        speaker = _captioner(model)
        sentences = [self.numbers_of(text) for some in batch["captions"] for text in texts_of(some)]
        counts = torch.tensor([len(texts_of(some)) for some in batch["captions"]])
        order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))  # the longest first
        owner = torch.arange(len(counts)).repeat_interleave(counts)[order].to(batch["image"].device)
        before, after = _steps([sentences[i] for i in order], device=batch["image"].device)
        begun = speaker.begin(self.features.of(speaker, batch["image"]))
        begun = Begun(*(tuple(part[owner] for part in parts) for parts in begun))
        hidden, looked = _speak(speaker, begun, before, owner, images=len(counts))
        logits = speaker.scores(hidden)
        self._check(logits)
        with torch.autocast(logits.device.type, enabled=False):
            nats = nn.functional.cross_entropy(logits.float(), torch.cat(after), reduction="sum")
        count = torch.tensor(float(len(logits)), device=logits.device)
        losses = {"cross_entropy": Term(nats, count)}
        if looked is not None:
            losses["attention"] = Term((1 - looked.float()).square().sum(), count, self.attention_weight)
        return losses

    def answer(self, model: nn.Module, inputs: Batch) -> Prediction:
        """Captions by the search.

        Returns:
            captions, a list of B (T,) positions in the vocabulary, score (B,), the log-probability of each, and
            attention, a list of B (T, h, w), of (T, 0, 0) where the network has none.
        """
        speaker = _captioner(model)
        begun = speaker.begin(self.features.of(speaker, inputs["image"]))
        likeliest = search(speaker, begun, beam=self.beam, longest=self.longest)
        captions = [numbers - END - 1 for numbers in likeliest.words]
        return {"captions": captions, "score": likeliest.score, "attention": likeliest.weights}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The caption and its words, its log-probability, and of networks with attention where each word looked."""
        words = [self.info.words[position] for position in prediction["captions"].tolist()]
        record = {"caption": " ".join(words), "words": words, "score": float(prediction["score"])}
        return record | ({"attention": prediction["attention"]} if prediction["attention"].numel() else {})

    def write(self, record: Mapping[str, Any], stem: Path) -> dict[str, Any]:
        if "attention" not in record:
            return dict(record)
        weights = torch.as_tensor(record["attention"]).double().mul(1e4).round().div(1e4)
        return {**record, "attention": weights.tolist()}

    def thinned(self, record: Mapping[str, Any], step: int) -> dict[str, Any]:
        return dict(record)

    def brief(self, written: Mapping[str, Any]) -> str:
        return str(written["caption"])

    def metric(self) -> CaptionScores:
        if self.lacks_meteor and not self._is_said:
            self._is_said = True
            _log.warning(_LEFT_OUT, self.lacks_meteor)
        return CaptionScores(self.info.words, with_meteor=self.has_meteor)

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image with its captions below, or with the answer; where it has attention, one picture a word."""
        if "caption" not in target:
            return words_below(image, texts_of(target["captions"]))
        if "attention" in target:
            image = attention_sheet(image, target["words"], torch.as_tensor(target["attention"]))
        return words_below(image, [target["caption"]])

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The image, and with attention what was looked at for each word; captions of people and the answer below."""
        pictures = [("", image)]
        if "attention" in record:
            looked = zip(record["words"][:_SHOWN], record["attention"], strict=False)
            pictures += [(word, looked_at(image, weights)) for word, weights in looked]
        text = f"answer: {record['caption']}; people wrote: {' | '.join(texts_of(target['captions']))}"
        return Exhibit(pictures, caption=text)

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """What is left out of the metrics, captions of unknown words, and images mirrored under words that are not."""
        warnings = [_LEFT_OUT % self.lacks_meteor] if self.lacks_meteor else []
        self._is_said = True
        if setup.sets and (wordless := self._wordless(setup.sets[0])):
            warnings.append(
                f"{wordless} of the training captions have no word of the vocabulary, and the network learns to say "
                "nothing of their images: lower data.least_count, or take the captions out"
            )
        sides = [word for word in ("left", "right") if word in self._numbers]
        warnings += [
            f"data.augment has {name}, which {does} images and not their captions, and these say {sides[0]}: the "
            f"network learns that it means either side; leave {name} out"
            for name, does in (("flip", "mirrors"), ("turn", "turns"))
            if name in setup.augmentations and sides
        ]
        return warnings

    def _wordless(self, samples: Samples) -> int:
        """The number of captions of which no word is known."""
        texts = (text for i in range(len(samples)) for text in texts_of(samples.targets(i)["captions"]))
        return sum(not self.numbers_of(text) for text in texts)

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """The training caption whose pairs of words most images have, as every answer."""
        captions = [texts_of(train.targets(i)["captions"]) for i in range(len(train))]
        each = [[tuple(words_of(text)) for text in some] for some in captions]
        images = Counter(pair for some in each for pair in {pair for words in some for pair in pairwise(words)})
        sentences = [words for some in each for words in some if len(words) > 1]
        usual = max(sentences, key=lambda words: _usual(words, images), default=())
        known = CaptionScores(usual)
        answer = torch.arange(len(usual))
        for i in range(len(val)):
            known.update({"captions": [answer]}, {"captions": [val.targets(i)["captions"]]})
        text = " ".join(usual)
        return Baseline(self.best, known.compute()[self.best], f'"{text}", a usual caption, as every answer.')

    def saved(self) -> dict[str, Any]:
        """No file of vectors: the network's weights have them."""
        return {"word_vectors": None}

    def _check(self, logits: Tensor) -> None:
        if logits.shape[-1] != self.outputs:
            raise RecipeError(
                f"the network scores {logits.shape[-1]} words where {self.outputs} were due, those of the vocabulary "
                f"and the end; build it with num_classes={self.outputs}"
            )


def _captioner(model: nn.Module) -> Any:
    if not isinstance(model, Captioning):
        raise RecipeError(f"{type(model).__name__} says no words; captions need a network such as caption_lstm")
    return model


def _steps(sentences: Sequence[Sequence[int]], *, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
    """For each step the words before it and those to be said, of the sentences that are as long: the first ones."""
    ended = [[*sentence, END] for sentence in sentences]
    begun = [[END, *sentence] for sentence in sentences]
    steps = range(len(ended[0]))
    return (
        [torch.tensor([one[t] for one in begun if t < len(one)], device=device) for t in steps],
        [torch.tensor([one[t] for one in ended if t < len(one)], device=device) for t in steps],
    )


def _speak(
    speaker: Captioning, begun: Begun, before: Sequence[Tensor], owner: Tensor, *, images: int
) -> tuple[Tensor, Tensor | None]:
    """What the network gives at every step of every sentence, step by step, and the sum of what each looked at.

    `owner` is the image of each sentence.
    """
    hidden: list[Tensor] = []
    looked: Tensor | None = None
    total = len(before[0])
    for words in before:
        going = len(words)
        drawn = speaker.drawn(images)
        kept = None if drawn is None else tuple(factors[owner[:going]] for factors in drawn)
        spoken = speaker.step(words, Begun(*(tuple(part[:going] for part in parts) for parts in begun)), kept)
        begun = Begun(spoken.state, begun.fixed)
        hidden.append(spoken.hidden)
        if spoken.weights is not None:
            weights = nn.functional.pad(spoken.weights, (0, 0, 0, 0, 0, total - going))
            looked = weights if looked is None else looked + weights
    return torch.cat(hidden), looked


def _usual(words: Sequence[str], images: Mapping[tuple[str, ...], int]) -> float:
    """The number of images that have a pair of words, on average over the pairs of a sentence."""
    pairs = list(pairwise(words))
    return sum(images[pair] for pair in pairs) / len(pairs)
