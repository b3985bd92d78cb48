"""Reading: the string that an image shows, its characters one after the other.

A network that gives scores at columns (`ReadSteps`) is trained by connectionist temporal classification (Graves et al.
2006), torch's, of which no position of a character need be known; one with a head for each position (`ReadPositions`)
by cross-entropy at each, positions behind the end being none (Goodfellow et al. 2013, arXiv:1312.6082).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.limits import check_number
from unpool.metrics.strings import StringScores
from unpool.ops.ctc import BLANK, beam_search, greedy, steps_needed
from unpool.ops.drawing import caption
from unpool.ops.sequence_outputs import ReadPositions, ReadSteps
from unpool.task import Baseline, Description, Exhibit, TrainingSetup
from unpool.tasks.one_forward import OneForward
from unpool.types import Batch, DataInfo, Losses, Prediction, Samples, Term

BEAM = Interval(ge=1, le=1000)
Output = ReadSteps | ReadPositions


class Reading(OneForward):
    """Connectionist temporal classification or a head a position, whole strings right, edit distance.

    Args:
        info: the characters.
        beam: beginnings of a string that the search keeps where columns are read; 1 takes the likeliest path.
    """

    needs = ("image", "text")
    best = "exact"
    takes = ("strings",)

    def __init__(self, info: DataInfo, *, beam: Annotated[int, BEAM] = 1) -> None:
        super().__init__()
        if not info.classes:
            raise RecipeError("reading needs the characters of texts as classes; the data set gives none")
        self.info = info
        self.beam = int(check_number("task.beam", beam, BEAM))

    @property
    def outputs(self) -> int:
        """A score for each character, and for none."""
        return len(self.info.classes) + 1

    @property
    def described(self) -> Mapping[str, Description]:
        return {
            "exact": Description("whole strings right", is_share=True),
            "character_error": Description("edits for each character", is_share=True, higher_is_better=False),
            "edit_distance": Description("edit distance", higher_is_better=False),
            "length_right": Description("lengths right", is_share=True),
        }

    def forward(self, model: nn.Module, inputs: Batch) -> Output:
        return model(inputs["image"])

    def loss(self, output: Output, batch: Batch) -> Losses:
        """The loss of each string, averaged over images.

        Raises:
            RecipeError: the network reads no strings, of other characters, or not as long ones, or has no beam.
            DataError: an image has fewer columns than its text needs.
        """
        self._check(output)
        texts = [text.tolist() for text in batch["text"]]
        numbers = [[number + BLANK + 1 for number in text] for text in texts]
        count = torch.tensor(float(len(texts)), device=output.scores.device)
        if isinstance(output, ReadSteps):
            return {"ctc": Term(_ctc(output.scores, numbers, batch), count)}
        target = _positions(numbers, output.scores.shape[2]).to(output.scores.device)
        nats = nn.functional.cross_entropy(output.scores, target, reduction="sum")
        return {"cross_entropy": Term(nats, count)}

    def decode(self, output: Output, inputs: Batch) -> Prediction:
        """text, a list of B (T,) positions in the classes, and score (B,), the log-probability of each."""
        self._check(output)
        scores = output.scores.cpu()
        if isinstance(output, ReadSteps):
            read = [greedy(one) if self.beam == 1 else beam_search(one, beam=self.beam) for one in scores]
        else:
            read = [_likeliest(one) for one in scores]
        texts = [torch.tensor(numbers, dtype=torch.int64) - BLANK - 1 for numbers, _ in read]
        return {"text": texts, "score": torch.tensor([score for _, score in read])}

    def record(self, prediction: Prediction) -> dict[str, Any]:
        """The text, and its log-probability."""
        return {"text": self.text_of(prediction["text"]), "score": float(prediction["score"])}

    def text_of(self, positions: Tensor) -> str:
        """The characters of numbers (T,) as one text."""
        return "".join(self.info.classes[position] for position in positions.tolist())

    def brief(self, written: Mapping[str, Any]) -> str:
        return str(written["text"])

    def metric(self) -> StringScores:
        return StringScores()

    def draw(self, image: Tensor, target: Mapping[str, Any]) -> Tensor:
        """The image (C, H, W) uint8 with its text, or what was read, written on it."""
        text = target["text"]
        return caption(image, text if isinstance(text, str) else self.text_of(text))

    def exhibit(self, image: Tensor, target: Mapping[str, Any], record: Mapping[str, Any]) -> Exhibit:
        """The image alone; its text and what was read stand below it."""
        truth = self.text_of(target["text"])
        return Exhibit(
            (("", image),), caption=f"truth: {truth}, read: {record['text']}", is_right=truth == record["text"]
        )

    def warnings(self, setup: TrainingSetup) -> list[str]:
        """Strings that are mirrored or turned with their images, which their texts are not."""
        moves = {"flip": "mirrors", "turn": "turns by quarters"}
        return [
            f"data.augment has {name}, which {does} what images say and not their texts: leave it out"
            for name, does in moves.items()
            if name in setup.augmentations
        ]

    def baseline(self, train: Samples, val: Samples, metrics: Mapping[str, Any]) -> Baseline | None:
        """The most frequent text of training, as every answer."""
        counts = [Counter(self.text_of(some.targets(i)["text"]) for i in range(len(some))) for some in (train, val)]
        ((frequent, _),) = counts[0].most_common(1)
        share = counts[1][frequent] / max(1, counts[1].total())
        return Baseline(self.best, share, f'"{frequent}", the most frequent text, as every answer.')

    def _check(self, output: Output) -> None:
        if not isinstance(output, ReadSteps | ReadPositions):
            raise RecipeError(f"the network gives a {type(output).__name__}; reading needs one such as crnn")
        if isinstance(output, ReadPositions) and self.beam > 1:
            raise RecipeError(
                f"task.beam is {self.beam}, which is of networks that read columns; this one has a head for each "
                "position, whose likeliest characters are the likeliest text: leave task.beam out"
            )
        if output.scores.shape[1] != self.outputs:
            raise RecipeError(
                f"the network scores {output.scores.shape[1]} characters where {self.outputs} were due, those of the "
                f"alphabet and none; build it with num_classes={self.outputs}"
            )


def _ctc(scores: Tensor, numbers: Sequence[Sequence[int]], batch: Batch) -> Tensor:
    """The sum of the losses of all strings."""
    columns = scores.shape[2]
    for i, text in enumerate(numbers):
        if (needed := steps_needed(text)) > columns:
            position = int(batch["index"][i]) if "index" in batch else i
            raise DataError(
                f"sample {position} has a text of {len(text)} characters, which needs {needed} columns, and its image "
                f"gives {columns}: make images wider by data.size, or leave it out"
            )
    device = scores.device
    lengths = torch.tensor([len(text) for text in numbers], device=device)
    targets = torch.tensor([number for text in numbers for number in text], dtype=torch.int64, device=device)
    columns_of_each = torch.full((len(numbers),), columns, device=device)
    steps = scores.permute(2, 0, 1).log_softmax(2)  # (T, B, K + 1)
    return nn.functional.ctc_loss(steps, targets, columns_of_each, lengths, blank=BLANK, reduction="sum")


def _positions(numbers: Sequence[Sequence[int]], positions: int) -> Tensor:
    """(B, P) the character at each position, BLANK behind the end."""
    longest = max(map(len, numbers))
    if longest > positions:
        raise RecipeError(
            f"a text has {longest} characters and the network {positions} positions: set model.positions={longest}"
        )
    return torch.tensor([[*text, *(positions - len(text)) * [BLANK]] for text in numbers], dtype=torch.int64)


def _likeliest(scores: Tensor) -> tuple[list[int], float]:
    """The likeliest character at each position up to the first that is none, and their log-probability with it."""
    best, numbers = scores.float().log_softmax(0).max(0)
    ends = (numbers == BLANK).nonzero()
    length = int(ends[0]) if len(ends) else len(numbers)
    return numbers[:length].tolist(), float(best[: length + 1].sum())
