import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.tasks.tiny_detectors import KINDS, NONE, ONE, TWO, detector, scenes
from unpool.errors import RecipeError
from unpool.ops.box_sides import boxes_of
from unpool.ops.preprocessing import Preprocessing
from unpool.task import TrainingSetup
from unpool.task_facts import check_described, check_measured
from unpool.tasks.detection import Detection
from unpool.training.step import total_loss
from unpool.types import AnchoredBoxes, DataInfo

INFO = DataInfo(classes=("red", "green", "blue"), class_ids=(3, 1, 90))
IMAGE = torch.full((3, 64, 64), 90, dtype=torch.uint8)
RECORD = {
    "boxes": [[4.0, 6.0, 18.0, 19.0], [30.0, 28.0, 56.0, 54.0], [1.0, 1.0, 9.0, 9.0]],
    "labels": [0, 0, 2],
    "classes": ["red", "red", "blue"],
    "score": [0.9, 0.5, 0.4],
}


@pytest.mark.parametrize("kind", KINDS)
def test_small_detector_learns_two_scenes(kind):
    task, network = Detection(INFO), detector(kind)
    network.practice = replace(network.practice, most=20)
    batch = scenes(TWO, ONE, labels=[torch.tensor([0, 1]), torch.tensor([2])])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    first = None
    for step in range(12):
        torch.manual_seed(step)
        loss = total_loss(task.losses(network, batch))
        first = first or float(loss.detach())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(loss.detach()) < 0.75 * first


@pytest.mark.parametrize("protocol", ["coco", "voc"])
def test_metrics_that_are_described_are_measured(protocol):
    task = Detection(INFO, protocol=protocol)
    check_described(task)
    check_measured(task)
    assert set(task.described) <= set(task.metric().compute())


def test_answers_lie_on_the_image_as_decoded():
    task, network = Detection(INFO), detector("focal").eval()
    whole = scenes(TWO)
    shown = whole | {"size_hw": torch.tensor([[128, 256]])}
    with torch.inference_mode():
        small, large = (task.answer(network, batch)["boxes"][0] for batch in (whole, shown))
    assert len(small) > 0
    assert large == pytest.approx(small * torch.tensor([4.0, 2.0, 4.0, 2.0]), abs=1e-3)
    assert (large[:, 2] <= 256).all()


def test_perfect_answers_score_one():
    task = Detection(INFO)
    metric, batch = task.metric(), scenes(TWO, NONE)
    answer = {"boxes": batch["boxes"], "labels": batch["labels"], "score": [torch.tensor([0.9, 0.8]), torch.zeros(0)]}
    metric.update(answer, batch)
    assert metric.compute()["ap"] == 1.0


def test_record_names_the_class_of_each_box():
    prediction = {"boxes": TWO, "labels": torch.tensor([2, 0]), "score": torch.tensor([0.75, 0.5])}
    record = Detection(INFO).record(prediction)
    assert record == {"boxes": TWO.tolist(), "labels": [2, 0], "classes": ["blue", "red"], "score": [0.75, 0.5]}


def test_results_are_in_the_format_of_coco_with_the_numbers_of_the_data_set():
    records = [{"image": "000007.jpg", **RECORD}, {"image": "000012.jpg", "error": "no such file"}]
    results = Detection(INFO).results(records)
    assert results.content[1] == {"image_id": 7, "category_id": 3, "bbox": [30.0, 28.0, 26.0, 26.0], "score": 0.5}
    assert [one["category_id"] for one in results.content] == [3, 3, 90]
    assert [one["image_id"] for one in results.records] == [7, 12]
    plain = Detection(DataInfo(classes=INFO.classes)).results([{"image": "a.jpg", **RECORD}])
    assert [(one["image_id"], one["category_id"]) for one in plain.content] == [(1, 1), (1, 1), (1, 3)]


def test_brief_counts_what_is_likelier_than_not():
    assert Detection(INFO).brief(RECORD) == "2 red"
    assert Detection(INFO).brief(RECORD | {"score": [0.1, 0.1, 0.1]}) == "nothing"


def test_only_sure_boxes_are_drawn_and_those_that_do_not_count_are_thin():
    task = Detection(INFO)
    drawn = task.draw(IMAGE, RECORD)
    assert drawn.equal(task.draw(IMAGE, {key: value[:2] for key, value in RECORD.items()}))
    target = {"boxes": TWO, "labels": torch.tensor([0, 1])}
    thin = task.draw(IMAGE, target | {"crowd": torch.tensor([False, True])})
    assert not thin.equal(task.draw(IMAGE, target))
    assert task.draw(IMAGE, {"boxes": NONE, "labels": NONE[:, 0]}).float().mean() == 90


def test_masks_are_drawn_below_their_boxes_of_an_answer_the_sure_ones():
    task, masks = Detection(INFO), torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[1, 30:50, 30:60] = masks[2, 8:18, 5:17] = masks[0, 55:60, 2:30] = True
    record = RECORD | {"score": [0.4, 0.9, 0.5]}
    drawn, plain = (task.draw(IMAGE, one).float() for one in (record | {"masks": masks}, record))
    differ = (drawn != plain).any(0)[::6, ::6]  # enlarged by 6
    assert differ[33, 45]
    assert differ[12, 10]
    assert not differ[57, 20]  # of a score below 0.5
    target = {"boxes": TWO, "labels": torch.tensor([0, 1]), "masks": masks[1:]}
    crowd = task.draw(IMAGE, target | {"crowd": torch.tensor([True, False])})
    assert crowd[:, 6 * 40, 6 * 45].tolist() == [90, 90, 90]
    assert task.draw(IMAGE, target)[:, 6 * 40, 6 * 45].tolist() != [90, 90, 90]


def test_exhibit_shows_truth_and_answer_and_counts_both():
    shown = Detection(INFO).exhibit(IMAGE, {"boxes": TWO, "labels": torch.tensor([0, 1])}, RECORD)
    assert [label for label, _ in shown.pictures] == ["truth", "prediction"]
    assert shown.caption == "things: 2 in truth, 2 in the answer from a score of 50% on"


def test_thinned_boxes_lie_on_the_thinned_image():
    record = RECORD | {"masks": torch.zeros(3, 64, 50, dtype=torch.bool)}
    thinned = Detection(INFO).thinned(record, 2)
    assert thinned["boxes"][0] == [2.0, 3.0, 9.0, 9.5]
    assert thinned["masks"].shape == (3, 32, 25)


class Boxes:
    def __init__(self, *boxes, size_hw=(64, 64), **more):
        self.boxes, self.more, self.sizes_hw = boxes, more, [size_hw] * len(boxes)

    def __len__(self):
        return len(self.boxes)

    def targets(self, index):
        flags = {key: values[index] for key, values in self.more.items()}
        return {"boxes": self.boxes[index], "labels": torch.zeros(len(self.boxes[index])).long(), **flags}


def setup_of(samples):
    return TrainingSetup((), (), (), None, keeps_scale=True, sizes_hw=samples.sizes_hw)


def test_set_of_mostly_empty_images_is_remarked_on():
    for boxes, expected in (((TWO, NONE, NONE), 1), ((TWO, NONE), 0)):
        samples = Boxes(*boxes)
        warnings = Detection(INFO, samples=samples).warnings(setup_of(samples))
        assert len(warnings) == expected
        assert not warnings or "2 of 3 training images have no box" in warnings[0]


def test_boxes_that_no_anchor_reaches_are_remarked_on_once(caplog):
    tiny = torch.tensor([[1.0, 1.0, 4.0, 4.0]])
    flags = [torch.tensor([False, False]), torch.tensor([False]), torch.tensor([True])]
    task, network = Detection(INFO, samples=Boxes(TWO, tiny, tiny, crowd=flags)), detector("focal")
    with caplog.at_level(logging.WARNING):
        task.losses(network, scenes(TWO))
        task.losses(network, scenes(TWO))
    (message,) = [record.message for record in caplog.records]
    assert "1 of 3 boxes of the training set are reached by no anchor at IoU 0.5" in message
    assert "class red, 3x3 pixels" in message


def test_boxes_are_compared_with_anchors_where_both_stand(caplog):
    """Of the shape of an anchor, but between two; and only with those of an input of their image's size."""
    between = torch.tensor([[10.0, 10.0, 22.0, 22.0], [34.0, 42.0, 46.0, 54.0]])
    task = Detection(INFO, samples=Boxes(between))
    with caplog.at_level(logging.WARNING):
        task.losses(detector("focal"), scenes(TWO, side=96))
        assert not caplog.messages
        task.losses(detector("focal"), scenes(TWO))
    assert "2 of 2 boxes of the training set are reached by no anchor" in caplog.text


def test_boxes_of_a_set_are_those_on_the_network_s_input():
    samples = Boxes(4 * TWO, size_hw=(128, 64))
    shown = boxes_of(samples, Preprocessing(size_hw=(16, 32)))
    assert shown.boxes.tolist() == TWO.mul(torch.tensor([2.0, 0.5, 2.0, 0.5])).tolist()
    assert shown.input_hw.tolist() == [[16, 32]] * 2
    framed = boxes_of(Boxes(TWO, size_hw=(64, 128)), Preprocessing(size_hw=(64, 64), rule="fit", multiple=48))
    assert framed.boxes.tolist() == (TWO / 2 + torch.tensor([0.0, 16.0, 0.0, 16.0])).tolist()
    assert framed.input_hw.tolist() == [[96, 96]] * 2


def test_network_that_is_no_detector_is_refused():
    with pytest.raises(RecipeError, match="gives a Tensor and no boxes"):
        Detection(INFO).losses(nn.Conv2d(3, 3, 1), scenes(TWO))
    for kind in ("focal", "two"):
        with pytest.raises(RecipeError, match=r"scores a box where .*4.* were due, 4 with the background"):
            Detection(INFO).losses(detector(kind, 7), scenes(TWO))


class Bare(nn.Module):
    def forward(self, image):
        return AnchoredBoxes(torch.zeros(1, 1, 3), torch.zeros(1, 1, 4), ONE, torch.zeros(1))


def test_detector_without_numbers_to_go_by_is_refused():
    with pytest.raises(RecipeError, match="has no practice and no box_weights"):
        Detection(INFO).losses(Bare(), scenes(TWO))


def test_set_without_classes_and_cut_borders_are_refused():
    with pytest.raises(RecipeError, match="needs class names"):
        Detection(DataInfo())
    with pytest.raises(RecipeError, match="cuts borders off on which things may lie"):
        Detection(INFO, preprocessing=Preprocessing(size_hw=(8, 8), rule="cover"))


def test_mistakes_and_curves_are_measured():
    metric, batch = Detection(INFO).metric(), scenes(TWO, labels=[torch.tensor([0, 1])])
    metric.update({"boxes": [TWO], "labels": [torch.tensor([0, 2])], "score": [torch.tensor([0.9, 0.8])]}, batch)
    measured = metric.compute()
    assert measured["mistakes"]["class"] == 1
    assert measured["mistake_costs"]["class"] == pytest.approx(0.5)
    assert [len(row) for row in measured["precision"]] == [101, 101, 0]
