"""Success, IoU and accuracy, counted by hand."""

import pytest
import torch

from unpool.errors import DataError
from unpool.metrics.localization import LocalizationScores

CLASSES = tuple("abcdefg")
WHOLE, HALF, FAR = [0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0], [8.0, 8.0, 9.0, 9.0]  # IoU 1, 0.5, 0 with WHOLE


def answer(*things):
    """Each thing: its classes, best first, with the box of each."""
    labels = torch.tensor([[label for label, _ in ranked] for ranked in things])
    boxes = torch.tensor([[box for _, box in ranked] for ranked in things])
    first = {"boxes": [boxes[:, 0]], "labels": [labels[:, 0]]}
    return {**first, "top_labels": [labels], "top_boxes": [boxes]}


def truth(*things, **flags):
    """Each thing: its class and box."""
    boxes = torch.tensor([box for _, box in things]).reshape(-1, 4)
    values = {"boxes": [boxes], "labels": [torch.tensor([label for label, _ in things], dtype=torch.int64)]}
    return values | {key: [torch.tensor(value)] for key, value in flags.items()}


def scored(*pairs, **options):
    scores = LocalizationScores(CLASSES, **options)
    for given, true in pairs:
        scores.update(given, true)
    return scores


@pytest.mark.parametrize(
    ("ranked", "first", "five", "mean_iou"),
    [
        ([(2, WHOLE), (0, FAR)], 1, 1, 1.0),
        ([(2, HALF), (0, FAR)], 1, 1, 0.5),
        ([(2, FAR), (0, WHOLE)], 0, 0, 0.0),  # another class's box is no use
        ([(0, WHOLE), (2, HALF)], 0, 1, 1.0),  # a later guess succeeds; IoU is of the answered class's box
        ([(0, HALF), (2, FAR)], 0, 0, 0.5),
        ([(0, WHOLE), (1, WHOLE)], 0, 0, 1.0),
    ],
)
def test_success_needs_the_class_and_a_box_of_half_iou_for_that_class(ranked, first, five, mean_iou):
    found = scored((answer(ranked), truth((2, WHOLE)))).compute()
    assert (found["success_top1"], found["success"], found["mean_iou"]) == (first, five, mean_iou)
    assert found["top1"] == (ranked[0][0] == 2)


def test_box_just_below_half_iou_is_no_success():
    near = [0.0, 0.0, 4.0, 1.99]
    assert scored((answer([(2, near)]), truth((2, WHOLE)))).compute()["success_top1"] == 0


def test_means_are_over_things_and_by_class_of_the_thing():
    pairs = [(answer([(0, WHOLE)]), truth((0, WHOLE))), (answer([(0, HALF)]), truth((0, WHOLE)))]
    found = scored(*pairs, (answer([(0, FAR)]), truth((1, WHOLE)))).compute()
    assert found["mean_iou"] == pytest.approx(0.5)
    assert (found["iou"]["a"], found["iou"]["b"], found["iou"]["c"]) == (0.75, 0.0, None)


def test_parts_of_a_set_merged_give_what_the_whole_gives():
    pairs = [(answer([(i % 3, box)]), truth((i % 2, WHOLE))) for i, box in enumerate((WHOLE, HALF, FAR, WHOLE))]
    whole, first, second = scored(*pairs), scored(*pairs[:1]), scored(*pairs[1:])
    second.merge(first)
    assert second.compute() == whole.compute()


def test_answers_go_to_the_things_that_they_cover_whatever_their_order():
    given, true = answer([(1, FAR)], [(0, WHOLE)]), truth((0, WHOLE), (1, FAR))
    assert scored((given, true)).compute()["success_top1"] == 1
    assert scored((given, true), by_class=True).compute()["mean_iou"] == 0


def test_crowds_and_difficult_boxes_are_no_things():
    true = truth((3, FAR), (2, WHOLE), (4, FAR), crowd=[True, False, False], difficult=[False, False, True])
    assert scored((answer([(2, WHOLE)]), true)).compute()["success_top1"] == 1


def test_image_with_another_number_of_boxes_is_named():
    given, true = answer([(2, WHOLE)]), {**truth((2, WHOLE), (2, FAR)), "index": torch.tensor([7])}
    with pytest.raises(DataError, match="sample 7 has 2 boxes, and an answer has 1"):
        scored((given, true))
    pair = answer([(0, WHOLE)], [(1, WHOLE)])
    with pytest.raises(DataError, match=r"boxes of the classes \[0, 0\], and an answer has 2, one of each class"):
        scored((pair, truth((0, WHOLE), (0, FAR))), by_class=True)


def test_empty_set_has_no_scores():
    found = scored().compute()
    assert found["success_top1"] is found["success"] is found["mean_iou"] is None
