"""Kinds of mistakes and what each costs: counted by hand, and against the rule written out for one detection."""

import numpy as np
import pytest

from tests.metrics.detection_sets import devkit_iou, drawn_set, ours
from tests.metrics.test_detection_scores import one_image
from unpool.metrics.mistakes import KINDS, count_mistakes, mistakes_of

THING, OTHER = (10.0, 10.0, 30.0, 30.0), (60.0, 60.0, 80.0, 80.0)
BESIDE, FAR = (10.0, 22.0, 30.0, 42.0), (0.0, 90.0, 5.0, 95.0)  # an IoU of 0.25 with the first; of nothing


def costs(things, detections, **flags):
    return count_mistakes(ours(one_image(things, detections, **flags)).record)


@pytest.mark.parametrize(
    ("kind", "detection", "gain"),
    [
        ("class", (OTHER, 0), 0.5),
        ("place", (BESIDE, 0), None),
        ("both", (BESIDE, 1), None),
        ("twice", (THING, 0), None),
        ("background", (FAR, 1), None),
    ],
)
def test_wrong_detection_has_one_kind(kind, detection, gain):
    """Beside a right cat, which no mistake about a dog's place or class changes."""
    record = ours(one_image([(THING, 0), (OTHER, 1)], [(THING, 0, 0.9), (*detection, 0.5)])).record
    assert mistakes_of(record.images[0]).kinds == [None, kind]
    found = count_mistakes(record)
    assert {name for name, cost in found.items() if cost.number and name != "missed"} == {kind}
    assert found["missed"].number == (0 if kind == "class" else 1)
    if gain is not None:
        assert found[kind].gain == pytest.approx(gain)


def test_gain_of_each_kind_is_a_hand_count():
    """A wrong detection before the right one halves the precision, which is won back without it."""
    for wrong in ((FAR, 0), (BESIDE, 0), (FAR, 0), (THING, 0)):
        found = costs([(THING, 0)], [(*wrong, 0.9), (THING, 0, 0.5)])
        kind = {FAR: "background", BESIDE: "place", THING: "twice"}[wrong[0]]
        first = 1.0 if kind == "twice" else 0.5
        assert found[kind] == (1, pytest.approx(1.0 - first))
        assert sum(cost.number for cost in found.values()) == 1


def test_mended_place_is_right_once():
    found = costs([(THING, 0)], [(BESIDE, 0, 0.9), (BESIDE, 0, 0.8), (FAR, 0, 0.7)])
    assert found["place"] == (2, pytest.approx(1.0))
    assert (found["missed"].number, found["missed"].gain) == (0, 0.0)
    assert found["background"] == (1, 0.0)


def test_mended_class_counts_for_the_class_of_its_thing():
    found = costs([(THING, 0), (OTHER, 1)], [(THING, 1, 0.9), (OTHER, 1, 0.5)])
    assert found["class"] == (1, pytest.approx(1.0 - 0.25))  # cat 0, dog 0.5


def test_missed_thing_is_taken_out_of_the_truth_and_with_the_last_its_class():
    assert costs([(THING, 0), (OTHER, 0)], [(THING, 0, 0.9)])["missed"] == (1, pytest.approx(1 - 51 / 101))
    assert costs([(THING, 0), (OTHER, 1)], [(THING, 0, 0.9)])["missed"] == (1, 0.5)
    assert costs([(THING, 0)], [])["missed"] == (1, 1.0)
    assert costs([], [(THING, 0, 0.9)]) == {kind: (int(kind == "background"), None) for kind in KINDS}


def test_ignored_things_are_not_missed_and_nobody_is_wrong_about_them():
    for flags in ({"crowd": [True]}, {"difficult": [True]}):
        found = costs([(THING, 0)], [(THING, 0, 0.9)], **flags)
        assert not any(cost.number for cost in found.values())
        assert costs([(THING, 0)], [(THING, 1, 0.9)], **flags)["background"].number == 1


def slow_kind(box, label, truth):
    """The definitions of the paper for a detection that is wrong, over (box, label) of the things that count."""
    same = max((devkit_iou(box, one) for one, k in truth if k == label), default=0.0)
    other = max((devkit_iou(box, one) for one, k in truth if k != label), default=0.0)
    if 0.1 <= same < 0.5:
        return "place"
    if other >= 0.5:
        return "class"
    if same >= 0.5:
        return "twice"
    return "background" if max(same, other) < 0.1 else "both"


@pytest.mark.parametrize("seed", range(3))
def test_every_detection_of_a_set_is_right_not_counted_or_of_its_kind(seed):
    record = ours(drawn_set(seed, images=8, masks=False)).record
    for image in record.images:
        truth, found = image.truth, mistakes_of(image)
        counts = ~truth.ignored
        things = list(zip(truth.boxes[counts].tolist(), truth.labels[counts].tolist(), strict=True))
        for d, kind in enumerate(found.kinds):
            if found.matched[d] == -1:
                assert kind == slow_kind(image.boxes[d].tolist(), image.labels[d], things)
            else:
                assert kind is None
        hit = np.isin(np.arange(len(truth.labels)), [*found.matched, *found.meant])
        assert (found.missed == (counts & ~hit)).all()


def test_mending_everything_that_may_be_mended_never_costs():
    for seed in range(4):
        found = count_mistakes(ours(drawn_set(seed, masks=False)).record)
        assert list(found) == list(KINDS)
        assert all(cost.gain >= -1e-12 for cost in found.values())


def test_place_comes_before_class():
    record = ours(one_image([(THING, 0), (BESIDE, 1)], [(BESIDE, 0, 0.9)])).record
    assert mistakes_of(record.images[0]).kinds == ["place"]


def test_detection_at_the_least_overlap_is_right():
    record = ours(one_image([(THING, 0)], [((10.0, 10.0, 30.0, 20.0), 0, 0.9)])).record
    assert mistakes_of(record.images[0]).kinds == [None]


def test_two_mended_detections_of_a_thing_are_right_once():
    """Two of three things: recall 2/3 at precision 1, were the second mended one taken for another thing 1."""
    found = costs([(THING, 0), (OTHER, 0), (FAR, 0)], [(OTHER, 0, 0.9), (BESIDE, 0, 0.8), (BESIDE, 0, 0.7)])
    assert found["place"] == (2, pytest.approx(67 / 101 - 34 / 101))


def test_mended_detection_of_a_thing_that_another_has_is_taken_out():
    assert costs([(THING, 0), (OTHER, 0)], [(THING, 0, 0.9), (BESIDE, 0, 0.5)])["place"] == (1, 0.0)
