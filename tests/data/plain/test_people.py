"""People in boxes of data sets: what they mean, and what they must not be taken for."""

import logging

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes

from unpool.assemble.plain import wrap
from unpool.data.plain import DatasetReader, Levels, Setting, check_looked, look_at
from unpool.data.plain.people import people_by_key, people_of
from unpool.data.remarks import collected
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.recipe import load_recipe
from unpool.types import DataInfo

SIZE = (48, 64)
IMAGE = torch.arange(64).byte().expand(3, *SIZE)
INFO = DataInfo(keypoints=("head", "foot"))
SETTING = Setting(INFO, Levels())
GIVES = ("image", "boxes", "people")
BOXES = torch.tensor([[4.0, 6, 20, 30], [30, 2.5, 50, 40]])
PEOPLE = torch.tensor([[[12.0, 6], [12, 29]], [[40, 3], [40, 39]]])
KNOWN = torch.cat([PEOPLE, torch.tensor([[[2.0], [1]], [[2], [0]]])], dim=2)  # torchvision's keypoints


def read(boxes=BOXES, people=PEOPLE, **besides):
    gives = (*GIVES, *(key for key in besides if key != "crowd"))
    return people_of({"boxes": boxes, "people": people, **besides}, gives, SETTING, size_hw=SIZE)


def look(boxes, people):
    check_looked([{"image": IMAGE, "boxes": boxes, "people": people}], None, SETTING, part="val")


@pytest.mark.parametrize(
    "item",
    [
        (IMAGE, {"boxes": 1, "keypoints": 2, "area": 3, "iscrowd": 4, "labels": [1, 1], "image_id": 9}),
        (IMAGE, {"boxes": 1, "people": 2, "areas": 3, "crowd": 4, "labels": ["person"]}, "a.png"),
        {"image": IMAGE, "boxes": 1, "people": 2, "areas": 3, "crowd": 4, "labels": torch.zeros(2)},
    ],
    ids=["torchvision", "with a name", "dict"],
)
def test_samples_in_torchvisions_words_and_in_ours_are_the_same(item):
    values = people_by_key(item)
    assert values.pop("image") is IMAGE
    assert values == {"boxes": 1, "people": 2, "areas": 3, "crowd": 4}


def test_a_tuple_of_three_and_an_image_without_annotations_are_samples_too():
    assert people_by_key(("picture", 1, 2)) == {"image": "picture", "boxes": 1, "people": 2}
    nobody = people_by_key(("picture", {"image_id": 7}))
    sample = people_of(nobody, GIVES, SETTING, size_hw=SIZE)
    assert {key: tuple(value.shape) for key, value in sample.items()} == {
        "boxes": (0, 4),
        "people": (0, 2, 2),
        "ignored": (0, 6),
    }


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((IMAGE, {"boxes": [[1, 2, 3, 4]], "labels": [1]}), "lacks people: give .*keypoints"),
        ((IMAGE, PEOPLE), "lacks boxes, people"),
        ((IMAGE, {"keypoints": [], "people": [], "boxes": []}), "both keypoints and people"),
        ((IMAGE, {"people": [], "boxes": [], "visible": []}), "visible beside its people"),
        ((IMAGE, {"people": [], "boxes": [], "labels": [1, 2]}), "labels hold 1, 2, and all are taken for people"),
        ((IMAGE, {"people": [], "boxes": [], "labels": [1, 0]}), "labels hold 0, 1"),
        ((IMAGE, {"people": [], "boxes": [], "labels": np.array([3])}), "labels hold 3"),
        ((IMAGE, {"people": [], "boxes": [], "labels": ["dog"]}), "labels hold dog"),
    ],
)
def test_a_sample_that_is_no_image_with_people_in_boxes_says_why(item, said):
    with pytest.raises(DataError, match=said):
        people_by_key(item)


@pytest.mark.parametrize("form", [torch.clone, torch.Tensor.numpy, torch.Tensor.tolist])
def test_joints_are_known_by_the_third_number_as_torchvision_has_it(form):
    sample = read(form(BOXES), form(KNOWN))
    assert torch.equal(sample["boxes"], BOXES)
    assert sample["people"].nan_to_num(-1).tolist() == [[[12, 6], [12, 29]], [[40, 3], [-1, -1]]]
    assert read(BoundingBoxes([[4, 6, 16, 24]], format="XYWH", canvas_size=SIZE), PEOPLE[:1])["boxes"].tolist() == [
        [4, 6, 20, 30]
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"people": PEOPLE[:1]}, r"1 people and 2 boxes: give people \(N, 2, 2\), or \(N, 2, 3\)"),
        ({"people": PEOPLE[:, :1]}, r"joints are \(2, 1, 2\): expected \(people, 2, 2\)"),
        ({"people": PEOPLE[0]}, r"joints are \(2, 2\)"),
        ({"people": "none"}, "joints is 'none'"),
        ({"people": []}, "0 people and 2 boxes"),
        ({"boxes": BOXES[:, [2, 1, 0, 3]]}, "with a side below 0"),
        ({"boxes": []}, "2 people and 0 boxes"),
        ({"areas": [1.0]}, r"areas are \(1,\), and \(2,\) is due"),
        ({"crowd": [0, 2]}, "crowd hold 0 to 2"),
    ],
)
def test_what_is_no_person_in_a_box_is_refused(values, said):
    with pytest.raises(DataError, match=said):
        read(**values)


def test_areas_of_some_samples_are_refused():
    with pytest.raises(DataError, match="this sample lacks areas, which others have"):
        people_of({"boxes": BOXES, "people": PEOPLE}, (*GIVES, "areas"), SETTING, size_hw=SIZE)


def test_crowds_and_people_without_a_known_joint_are_ignored():
    boxes, people = BOXES[[0, 1, 0]], torch.stack([PEOPLE[0], PEOPLE[1], PEOPLE[0] * torch.nan])
    with collected() as remarks:
        sample = read(boxes, people, areas=[100.0, 200, 300], crowd=[0, 1, 0])
    assert sample["boxes"].tolist() == BOXES[:1].tolist()
    assert (sample["people"].tolist(), sample["areas"].tolist()) == (PEOPLE[:1].tolist(), [100])
    assert sample["ignored"].tolist() == [[*BOXES[1].tolist(), 200, 1], [*BOXES[0].tolist(), 300, 0]]
    assert "some people have no known joint, and are neither to be found nor background" in remarks
    assert read(boxes, people)["ignored"].tolist() == [[*BOXES[0].tolist(), pytest.approx(0.53 * 16 * 24), 0]]


def test_people_who_do_not_show_are_left_out_and_joints_beside_the_box_are_counted():
    with collected() as remarks:
        sample = read([[70, 6, 80, 30], [4, 6, 20, 30]], PEOPLE, areas=[5, 6])
    assert (sample["people"].tolist(), sample["areas"].tolist()) == (PEOPLE[1:].tolist(), [6])
    assert remarks == [
        "some boxes lie beside their image and are left out",
        "some people have most of their joints outside of their boxes, where none is learned",
    ]
    with collected() as remarks:
        read(BOXES, PEOPLE + torch.tensor([0.0, 12]))  # one of two is within
    assert remarks == []


@pytest.mark.parametrize(
    ("boxes", "people", "said"),
    [
        (BOXES / 64, PEOPLE, "the boxes of val, .*fractions of the image"),
        (BOXES, PEOPLE / 64, "joints of val are at .*fractions of the image"),
        (BOXES.flip(0), PEOPLE, "2 of 2 people of val, by their joints, lie for the most part outside of their boxes"),
        (BOXES, KNOWN * torch.tensor([1, 1, 0]), "no joint of the 2 people looked at in val is known"),
    ],
)
def test_a_set_of_another_scale_order_or_visibility_is_refused(boxes, people, said):
    with pytest.raises(DataError, match=said):
        look(boxes, people)


def test_a_set_that_is_as_it_should_be_passes_and_so_does_what_a_scan_names():
    look(BOXES, KNOWN)
    look([], [])
    look(BOXES, PEOPLE[:1])
    look(BOXES, "none")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_reader_gives_people_with_those_who_are_ignored(in_memory, caplog):
    target = {"boxes": BOXES, "keypoints": KNOWN, "area": [9, 8], "iscrowd": [0, 1], "labels": [1, 1], "image_id": 3}
    with caplog.at_level(logging.INFO, logger="unpool"):
        reader = wrap([(IMAGE, target)] * 2, load_recipe("dataset_people_in_boxes"), INFO, part="train").reader
    assert "hold labels, image_id, and image, boxes, people, areas, crowd are used" in caplog.text
    assert reader.gives == (*GIVES, "areas", "ignored")
    sample = scan(reader, memory=in_memory).samples[1]
    assert set(reader.gives) <= set(sample)
    assert not {"crowd", "labels"} & set(sample)
    assert (len(sample["people"]), len(sample["ignored"])) == (1, 1)


def test_poses_of_many_without_needed_boxes_are_read_as_before():
    item = {"image": IMAGE, "people": PEOPLE, "boxes": BOXES}
    assert set(look_at([item], [0], ("image", "people"), part="train")[0]) == {"image", "people", "boxes"}
    reader = DatasetReader([item], gives=("image", "people", "boxes"), info=INFO, levels=Levels(), part="train")
    assert set(reader[0]) == {"image", "people", "boxes"}
