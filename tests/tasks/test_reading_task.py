"""The losses of strings, and what is read of scores."""

import pytest
import torch

from unpool.errors import DataError, RecipeError
from unpool.ops.sequence_outputs import ReadPositions, ReadSteps
from unpool.task import TrainingSetup
from unpool.tasks.reading import Reading
from unpool.types import DataInfo

INFO = DataInfo(classes=("a", "b"))


def batch(*texts):
    return {"text": [torch.tensor(text, dtype=torch.int64) for text in texts], "index": 70 + torch.arange(len(texts))}


def scores_of(*rows):
    """(B, K + 1, T) of which these numbers are the likeliest."""
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(rows), 3).float().mT


def test_ctc_of_a_certain_path_costs_nothing_and_is_read_as_its_text():
    """Of characters 0 and 1, "a" and "b": none is number 0 of the network, "a" its number 1."""
    task, output = Reading(INFO), ReadSteps(scores_of([0, 1, 1, 0, 1, 2], [2, 2, 0, 0, 0, 0]))
    term = task.loss(output, batch([0, 0, 1], [1]))["ctc"]
    assert float(term.sum) == pytest.approx(0.0, abs=1e-4)
    assert float(term.count) == 2
    answer = task.decode(output, {})
    assert [text.tolist() for text in answer["text"]] == [[0, 0, 1], [1]]
    assert task.record({"text": answer["text"][0], "score": answer["score"][0]})["text"] == "aab"


def test_ctc_is_torch_s_own_summed_over_images():
    scores = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    term = Reading(INFO).loss(ReadSteps(scores), batch([0, 1], [1]))["ctc"]
    each = [
        torch.nn.functional.ctc_loss(
            scores[i].T[:, None].log_softmax(2),
            torch.tensor([text]),
            torch.tensor([6]),
            torch.tensor([len(text)]),
            reduction="sum",
        )
        for i, text in enumerate(([1, 2], [2]))
    ]
    assert float(term.sum) == pytest.approx(float(sum(each)), rel=1e-5)


def test_positions_behind_the_end_are_learned_as_none_and_end_what_is_read():
    task, output = Reading(INFO), ReadPositions(scores_of([1, 2, 0], [2, 0, 1]))
    assert float(task.loss(output, batch([0, 1], [1]))["cross_entropy"].sum) == pytest.approx(20.0, abs=0.01)
    assert [text.tolist() for text in task.decode(output, {})["text"]] == [[0, 1], [1]]


def test_beam_finds_a_text_of_many_paths_that_greedy_misses():
    scores = torch.tensor([[[0.4, 0.4], [0.35, 0.35], [0.25, 0.25]]]).log()
    read = [Reading(INFO, beam=beam).decode(ReadSteps(scores), {})["text"][0].tolist() for beam in (1, 3)]
    assert read == [[], [0]]


def test_text_that_needs_more_columns_than_its_image_gives_is_refused_by_its_sample():
    """torch's loss is infinite there: nothing that is read could be right."""
    told = "sample 71 has a text of 2 characters, which needs 3 columns, and its image gives 2: make images wider"
    with pytest.raises(DataError, match=told):
        Reading(INFO).loss(ReadSteps(torch.zeros(2, 3, 2)), batch([0, 1], [0, 0]))


def test_longer_text_than_there_are_positions_and_other_networks_are_refused():
    task = Reading(INFO)
    with pytest.raises(
        RecipeError, match=r"a text has 2 characters and the network 1 positions: set model\.positions=2"
    ):
        task.loss(ReadPositions(torch.zeros(1, 3, 1)), batch([0, 1]))
    with pytest.raises(RecipeError, match="scores 4 characters where 3 were due"):
        task.loss(ReadSteps(torch.zeros(1, 4, 9)), batch([0]))
    with pytest.raises(RecipeError, match=r"task\.beam is 5, which is of networks that read columns"):
        Reading(INFO, beam=5).decode(ReadPositions(torch.zeros(1, 3, 1)), {})
    with pytest.raises(RecipeError, match="gives a Tensor; reading needs one such as crnn"):
        task.loss(torch.zeros(1, 3), batch([0]))


class Texts:
    def __init__(self, *texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def targets(self, index):
        return {"text": torch.tensor(self.texts[index])}


def test_most_frequent_text_is_what_a_reader_is_compared_with():
    made = Reading(INFO).baseline(Texts([0], [0], [1, 1]), Texts([0], [1]), {})
    assert (made.metric, made.value) == ("exact", 0.5)
    assert made.about.startswith('"a"')


@pytest.mark.parametrize(("name", "does"), [("flip", "mirrors"), ("turn", "turns by quarters")])
def test_mirrored_and_turned_strings_are_warned_of(name, does):
    plain = TrainingSetup(("image",), (), (), None, keeps_scale=False, sizes_hw=())
    assert Reading(INFO).warnings(plain) == []
    (warning,) = Reading(INFO).warnings(plain._replace(augmentations=(name,)))
    assert f"{does} what images say" in warning


def test_report_says_what_was_read_and_whether_it_is_right():
    image = torch.zeros(1, 40, 90, dtype=torch.uint8)
    shown = Reading(INFO).exhibit(image, {"text": torch.tensor([0, 1])}, {"text": "ab"})
    assert (shown.caption, shown.is_right) == ("truth: ab, read: ab", True)
    assert Reading(INFO).draw(image, {"text": torch.tensor([0, 1])}).shape[0] == 3
