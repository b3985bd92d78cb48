"""What is counted of captions: whole sets, references as they are written."""

import math

import pytest
import torch

from unpool.metrics import meteor_program as of_meteor
from unpool.metrics.captions import CaptionScores
from unpool.ops.words import as_bytes

WORDS = ("a", "dog", "cat", "runs")


def scored(*images, with_meteor=False):
    """Scores of images (numbers of words, captions), one a batch."""
    scores = CaptionScores(WORDS, with_meteor=with_meteor)
    for numbers, captions in images:
        batch = {"captions": [as_bytes(captions)]}
        scores.update({"captions": [torch.tensor(numbers, dtype=torch.int64)]}, batch)
    return scores


IMAGES = (([0, 1, 3], ["A dog runs.", "The dog ran"]), ([0, 2], ["A cat!"]), ([], ["Two birds"]))


def test_parts_of_a_set_merged_in_any_order_give_what_the_whole_gives():
    whole, parts = scored(*IMAGES), scored(*IMAGES[2:])
    parts.merge(scored(*IMAGES[:2]))
    assert parts.compute() == whole.compute()
    assert whole.compute()["distinct"] == 1


def test_words_of_a_reference_that_the_network_cannot_say_count_as_missing():
    """Two of three words: "the" stays a word of the reference, though no answer can have it, which is short."""
    assert scored(([1, 3], ["the dog runs"])).compute()["bleu1"] == pytest.approx(math.exp(1 - 3 / 2))


def test_set_without_images_has_no_scores():
    assert set(scored().compute().values()) == {None}


def test_meteor_is_left_out_where_its_program_is_missing(monkeypatch):
    monkeypatch.setattr(of_meteor.shutil, "which", lambda name: None)
    assert "java" in of_meteor.missing_for_meteor()
    assert scored(*IMAGES, with_meteor=True).compute()["meteor"] is None
    assert "meteor" not in scored(*IMAGES).compute()


def test_meteor_is_left_out_with_a_warning_where_its_program_fails(monkeypatch, caplog):
    meteor = pytest.importorskip("pycocoevalcap.meteor.meteor")

    class Broken:
        def compute_score(self, known, answers):
            return float("Error: specify Meteor stats"), []

    monkeypatch.setattr(of_meteor, "missing_for_meteor", lambda: "")
    monkeypatch.setattr(meteor, "Meteor", Broken)
    assert scored(*IMAGES, with_meteor=True).compute()["meteor"] is None
    assert "its program failed (could not convert string to float: 'Error: specify Meteor stats')" in caplog.text


@pytest.mark.slow
def test_meteor_of_a_reference_itself_is_full():
    if reason := of_meteor.missing_for_meteor():
        pytest.skip(reason)
    assert scored(([0, 1, 3], ["A dog runs"]), with_meteor=True).compute()["meteor"] == pytest.approx(1.0)
