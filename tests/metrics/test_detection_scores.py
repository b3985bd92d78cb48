"""Average precision of boxes and masks, held to pycocotools and to the rule of VOC's development kit."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from tests.metrics.detection_sets import CLASSES, Set, by_devkit, by_pycocotools, drawn_set, ours, worst
from unpool.metrics.detection import DetectionScores
from unpool.metrics.matching import curves
from unpool.types import DataInfo

BOX = torch.tensor([[10.0, 10.0, 30.0, 30.0]])


def one_image(things, detections, **flags):
    """A set of one image: (box, label) of things, (box, label, score) of detections."""
    batch = {
        "boxes": [torch.tensor([box for box, _ in things]).reshape(-1, 4).float()],
        "labels": [torch.tensor([label for _, label in things], dtype=torch.int64)],
        **{key: [torch.tensor(values)] for key, values in flags.items()},
        **{"size_hw": torch.tensor([[100, 100]]), "index": torch.tensor([0])},
    }
    prediction = {
        "boxes": [torch.tensor([box for box, *_ in detections]).reshape(-1, 4).float()],
        "labels": [torch.tensor([label for _, label, _ in detections], dtype=torch.int64)],
        "score": [torch.tensor([score for *_, score in detections], dtype=torch.float32)],
    }
    return Set([batch], [prediction])


FIRST, SECOND, FAR = (10.0, 10.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0), (0.0, 0.0, 5.0, 5.0)


@pytest.mark.parametrize("seed", range(6))
def test_precision_and_recall_are_those_of_pycocotools(seed):
    data = drawn_set(seed)
    expected = by_pycocotools(data) | by_pycocotools(data, "segm")
    assert worst(ours(data, masks=True).compute(), expected) < 1e-6
    assert 0 < expected["ap50"] < 1
    assert expected["ap_by_class"]["never"] is None


@pytest.mark.parametrize("seed", range(6))
def test_precision_of_voc_is_that_of_the_development_kit(seed):
    data = drawn_set(seed, images=12, masks=False, flag="difficult")
    expected = by_devkit(data)
    assert worst(ours(data, protocol="voc").compute(), expected) < 1e-6
    assert 0 < expected["voc_ap"] < 1


def test_no_more_than_the_hundred_best_of_a_class_in_an_image_count():
    boxes = [(float(x), 0.0, x + 1.0, 1.0) for x in range(120)]
    data = one_image([(box, 0) for box in boxes], [(box, 0, 1 - n / 200) for n, box in enumerate(boxes)])
    scores = ours(data).compute()
    assert worst(scores, by_pycocotools(data)) < 1e-6
    assert (scores["ar1"], scores["ar10"], scores["ar100"]) == pytest.approx((1 / 120, 10 / 120, 100 / 120))
    assert ours(data, protocol="voc").compute()["voc_ap"] == 1.0


@pytest.mark.parametrize("options", [{"masks": True}, {"protocol": "voc"}], ids=str)
def test_parts_of_the_set_in_any_order_give_the_scores_of_the_whole(options):
    data = drawn_set(3, images=9)  # its scores are ties
    whole = ours(data, **options).compute()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(data.batches))
        parts = ours(data, parts=3, order=order, **options)
        assert pickle.loads(pickle.dumps(parts)).compute() == whole


def test_nothing_detected_is_nothing_and_nothing_to_detect_is_no_score():
    scores = ours(one_image([(FIRST, 0)], []), classes=("cat", "dog")).compute()
    assert (scores["ap"], scores["ar100"], scores["ap_by_class"]) == (0.0, 0.0, {"cat": 0.0, "dog": None})
    assert scores["ap_medium"] is None
    for data in (one_image([], [(FIRST, 0, 0.9)]), one_image([], []), Set([], [])):
        for protocol in ("coco", "voc"):
            scores = ours(data, protocol=protocol).compute()
            assert {value for value in scores.values() if not isinstance(value, dict)} == {None, 0}
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@pytest.mark.parametrize("protocol", ["coco", "voc"])
def test_difficult_things_are_neither_missed_nor_detected(protocol):
    name = {"coco": "ap50", "voc": "voc_ap"}[protocol]
    detections = [(FAR, 0, 0.9), (FIRST, 0, 0.8), (SECOND, 0, 0.7)]
    for flags, expected in (([False, False], 2 / 3), ([True, False], 1 / 2), ([True, True], None)):
        data = one_image([(FIRST, 0), (SECOND, 0)], detections, difficult=flags)
        assert ours(data, protocol=protocol).compute()[name] == (expected and pytest.approx(expected, abs=0.01))


@pytest.mark.parametrize("protocol", ["coco", "voc"])
def test_any_number_of_detections_may_lie_in_a_crowd(protocol):
    inside = [((x, 55.0, x + 5, 60.0), 0, 0.9) for x in (52.0, 60.0, 70.0)]
    data = one_image([(FIRST, 0), (SECOND, 0)], [*inside, (FIRST, 0, 0.5)], crowd=[False, True])
    scores = ours(data, protocol=protocol)
    assert scores.compute()[{"coco": "ap50", "voc": "voc_ap"}[protocol]] == 1.0
    assert curves(scores.record, rule=protocol)["cat"].average == 1.0


def test_second_detection_of_a_thing_is_wrong_by_voc_though_another_thing_is_left():
    between = (10.0, 10.0, 30.0, 26.0)  # 0.8 of the first and half of the second
    data = one_image([(FIRST, 0), ((10.0, 10.0, 30.0, 18.0), 0)], [(FIRST, 0, 0.9), (between, 0, 0.8)])
    assert ours(data, protocol="voc").compute()["voc_ap"] == 0.5
    assert ours(data).compute()["ap50"] == 1.0


def test_recall_of_exactly_a_tenth_reaches_it():
    boxes = [(10.0 * n, 0.0, 10.0 * n + 9, 9.0) for n in range(10)]
    scores = ours(one_image([(box, 0) for box in boxes], [(box, 0, 0.9) for box in boxes[:3]]), protocol="voc")
    assert scores.compute()["voc_ap_11"] == pytest.approx(4 / 11)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_box_that_is_not_finite_is_wrong_and_score_that_is_no_number_comes_last(broken):
    data = one_image([(FIRST, 0)], [((broken, *FIRST[1:]), 0, 0.9), (FIRST, 0, 0.5)])
    assert ours(data).compute()["ap50"] == pytest.approx(0.5)
    data = one_image([(FIRST, 0)], [(FAR, 0, torch.nan), (FIRST, 0, 0.5)])
    assert ours(data).compute()["ap50"] == ours(data, protocol="voc").compute()["voc_ap"] == 1.0


def test_box_whose_sides_are_turned_about_is_wrong():
    data = one_image([(FIRST, 0)], [((90.0, 50.0, 50.0, 90.0), 0, 0.9), (FIRST, 0, 0.5)])
    assert ours(data).compute()["ap50"] == pytest.approx(0.5)


def test_detections_may_come_in_any_order():
    data = drawn_set(2)
    turned = [{key: [values[0].flip(0)] for key, values in prediction.items()} for prediction in data.predictions]
    assert ours(Set(data.batches, turned)).compute() == ours(data).compute()


def test_size_of_a_thing_without_an_area_is_that_of_its_mask_and_else_of_its_box():
    mask = torch.zeros(1, 100, 100, dtype=torch.bool)
    mask[0, 50:70, 50:70] = True
    data = one_image([(SECOND, 0)], [(SECOND, 0, 0.9)])
    assert ours(data).compute()["ap_medium"] == 1.0
    data.batches[0]["masks"] = [mask]
    assert (ours(data).compute()["ap_small"], ours(data).compute()["ap_medium"]) == (1.0, None)
    data.batches[0]["areas"] = [torch.tensor([96.0**2 + 1])]
    assert ours(data).compute()["ap_large"] == 1.0


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_average_of_a_curve_is_the_precision_of_its_class(seed):
    data = drawn_set(seed, masks=False)
    scores = ours(data)
    expected = {name: value for name, value in scores.compute()["ap50_by_class"].items() if value is not None}
    found = curves(scores.record)
    assert {name: curve.average for name, curve in found.items()} == pytest.approx(expected)
    assert all((np.diff(curve.precision) <= 0).all() for curve in found.values())


def test_curve_counts_the_hundred_best_of_a_class_in_an_image():
    boxes = [(float(x), 0.0, x + 1.0, 1.0) for x in range(120)]
    data = one_image([(box, 0) for box in boxes], [(box, 0, 1 - n / 200) for n, box in enumerate(boxes)])
    assert curves(ours(data).record)["cat"].precision == [1.0] * 84 + [0.0] * 17


def test_curve_says_the_score_at_each_recall():
    data = one_image([(FIRST, 0), (SECOND, 0)], [(FIRST, 0, 0.75), (FAR, 0, 0.5)])
    curve = curves(ours(data).record)["cat"]
    assert curve.score == [0.75] * 51 + [None] * 50
    assert curve.precision == [1.0] * 51 + [0.0] * 50


def refused(change):
    data = copy.deepcopy(drawn_set(3))
    change(data.batches[-2], data.predictions[-2])
    return data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda batch, _: batch["labels"][0].fill_(4), r"labels of the batch are \[4\], not all in 0..3"),
        (lambda _, found: found["labels"][0].fill_(-1), r"labels of the prediction are \[-1\], .* background is no"),
        (lambda _, found: found.update(score=[torch.ones(99)]), "'score': 99, .*expected as many of each"),
        (lambda _, found: found.pop("masks"), "the prediction has no masks, which are to be scored"),
        (lambda batch, _: batch["masks"].insert(0, batch["masks"][0][:, 1:]), "masks of the batch are .* the image"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        ours(refused(change), masks=True)


def test_metrics_that_differ_are_not_merged():
    cats = DetectionScores(DataInfo(classes=("cat",)))
    for other in (DetectionScores(DataInfo(classes=CLASSES)), DetectionScores(DataInfo(classes=("cat",)), masks=True)):
        with pytest.raises(ValueError, match="cannot merge"):
            cats.merge(other)
    with pytest.raises(ValueError, match="VOC's protocol scores no masks"):
        DetectionScores(DataInfo(classes=("cat",)), protocol="voc", masks=True)


def test_record_holds_its_own_numbers():
    data = drawn_set(2)
    scores = ours(data)
    before = scores.compute()
    for content in (*data.batches, *data.predictions):
        for values in content.values():
            values[0].zero_()
    assert scores.compute() == before
