"""Pictures of sentences and of attention."""

import pytest
import torch

from unpool.ops.drawing_captions import attention_sheet, looked_at, words_below

IMAGE = torch.full((3, 40, 60), 200, dtype=torch.uint8)


def test_what_was_looked_at_most_keeps_its_brightness_and_what_was_not_a_quarter():
    shown = looked_at(IMAGE, torch.tensor([[0.0, 0.02], [0.0, 0.0]]))
    assert (int(shown[0, 0, -1]), int(shown[0, -1, 0])) == (200, 50)
    assert shown[0, 5, -5] > shown[0, 5, 30] > shown[0, 5, 5]


@pytest.mark.parametrize(("words", "lines"), [(3, 1), (30, 6)])
def test_long_sentences_get_as_many_lines_as_they_need(words, lines):
    """Below 180 pixels: 25 letters to a line, five words of four letters."""
    drawn = words_below(IMAGE, [" ".join(["word"] * words)])
    assert drawn.shape == (3, 120 + 16 * lines + 4, 180)


def test_sheet_has_the_image_and_one_picture_for_each_word():
    one, five = (attention_sheet(IMAGE, ["a"] * count, torch.ones(count, 2, 2)) for count in (1, 5))
    assert (one.shape[2], five.shape[2]) == (2 * 60 + 18, 4 * 60 + 30)
    assert five.shape[1] > 2 * 40
