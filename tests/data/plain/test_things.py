"""Boxes of data sets: what they mean, and what they must not be taken for."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torchvision.tv_tensors import BoundingBoxes, Mask

from unpool.data.plain import DatasetReader, Levels, Setting, check_looked, known_besides
from unpool.data.plain.things import things_of
from unpool.data.plain.words import things_by_key
from unpool.data.remarks import collected
from unpool.errors import DataError
from unpool.types import DataInfo

SIZE = (48, 64)
IMAGE = torch.zeros(3, *SIZE, dtype=torch.uint8)
SETTING = Setting(DataInfo(classes=("ant", "bee")), Levels())
BOXES = torch.tensor([[4.0, 6, 20, 30], [10, 2.5, 40, 12]])
LABELS = torch.tensor([1, 0])
PLANES = torch.zeros(2, *SIZE, dtype=torch.bool)
PLANES[0, 6:30, 4:20] = True


def read(boxes=BOXES, labels=LABELS, setting=SETTING, **besides):
    values = {"boxes": boxes, "labels": labels, **besides}
    return things_of(values, ("image", "boxes", "labels", *besides), setting, size_hw=SIZE)


def look(*boxes, size_hw=SIZE):
    image = torch.arange(256, dtype=torch.uint8)[: size_hw[1]].expand(3, *size_hw)
    check_looked(
        [{"image": image, "boxes": some, "labels": [0] * len(some)} for some in boxes], None, SETTING, part="val"
    )


@pytest.mark.parametrize(
    "item",
    [
        (IMAGE, {"boxes": 1, "labels": 2, "masks": 3, "area": 4, "iscrowd": 5, "image_id": 9}),
        (IMAGE, {"boxes": 1, "labels": 2, "masks": 3, "area": 4, "iscrowd": 5}, "a.png"),
        {"image": IMAGE, "boxes": 1, "labels": 2, "masks": 3, "areas": 4, "crowd": 5, "name": "a.png"},
    ],
    ids=["torchvision", "with a name", "dict"],
)
def test_samples_in_torchvisions_words_and_in_ours_are_the_same(item):
    values = things_by_key(item)
    assert values.pop("image") is IMAGE
    assert values == {"boxes": 1, "labels": 2, "masks": 3, "areas": 4, "crowd": 5}


def test_a_tuple_of_three_is_image_boxes_and_labels():
    assert things_by_key(("picture", 1, 2)) == {"image": "picture", "boxes": 1, "labels": 2}


def test_an_image_without_annotations_of_torchvisions_coco_has_no_boxes():
    assert things_by_key(("picture", {"image_id": 7})) == {"image": "picture", "boxes": (), "labels": ()}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((IMAGE, [{"bbox": [1, 2, 3, 4], "category_id": 1}]), "lacks boxes, labels: .*wrap_dataset_for_transforms_v2"),
        ((IMAGE, {"annotation": {}}), "has annotation, image, and lacks boxes, labels"),
        ((IMAGE, {"boxes": []}), "lacks labels"),
        ((IMAGE, {}), "lacks boxes, labels"),
        (IMAGE, "lacks boxes, labels"),
        ((IMAGE, {"boxes": [], "labels": [], "area": [], "areas": []}), "both area and areas, which mean the same"),
    ],
)
def test_a_sample_that_is_no_image_with_boxes_names_what_it_lacks(item, said):
    with pytest.raises(DataError, match=said):
        things_by_key(item)


INSTANCES = ("image", "boxes", "labels", "masks")


@pytest.mark.parametrize("labels", [[1], torch.tensor([1])])
def test_instances_without_masks_are_refused_and_an_image_of_none_is_background(labels):
    with pytest.raises(DataError, match=r"lacks masks: .*COCO if its target_keys name masks"):
        things_by_key((IMAGE, {"boxes": [[1, 2, 3, 4]], "labels": labels}), INSTANCES)
    for target in ({"boxes": [], "labels": labels[:0]}, {"image_id": 4}):
        values = things_by_key((IMAGE, target), INSTANCES)
        assert things_of(values, INSTANCES, SETTING, size_hw=SIZE)["masks"].shape == (0, *SIZE)


def test_boxes_that_are_left_out_are_those_around_the_masks():
    values = things_by_key((IMAGE, {"masks": PLANES, "labels": [1, 0]}), INSTANCES)
    with collected() as remarks:
        sample = things_of(values, INSTANCES, SETTING, size_hw=SIZE)
    assert sample["boxes"].tolist() == [[4, 6, 20, 30]]  # the second mask has no pixel
    assert (sample["boxes"].dtype, sample["labels"].tolist(), len(sample["masks"])) == (torch.float32, [1], 1)
    assert remarks == ["some boxes have no extent and are left out"]
    for wrong, said in ((PLANES[0], r"masks are \(48, 64\), and \(1, 48, 64\)"), (PLANES[None], r"\(1, 2, 48, 64\)")):
        with pytest.raises(DataError, match=said):
            things_of({**values, "masks": wrong}, INSTANCES, SETTING, size_hw=SIZE)
    with pytest.raises(DataError, match=r"labels are torch.int64 \(3,\), and there are 2 boxes"):
        things_of({**values, "labels": [0, 1, 0]}, INSTANCES, SETTING, size_hw=SIZE)


def test_a_mask_beside_its_box_is_left_out_with_it_and_a_larger_box_or_no_pixel_is_not():
    masks = PLANES[[0, 0, 0, 1]]
    boxes = [[8, 6, 20, 30], [0, 0, 60, 40], [30, 6, 46, 30], [30, 6, 46, 30]]
    with collected() as remarks:
        sample = read(boxes, [0, 1, 0, 1], masks=masks)
    assert sample["boxes"].tolist() == [boxes[0], boxes[1], boxes[3]]
    assert sample["labels"].tolist() == [0, 1, 1]
    assert remarks == ["some masks lie for the most part outside of their boxes and are left out with them"]


@pytest.mark.parametrize("form", [torch.clone, torch.Tensor.numpy, torch.Tensor.tolist, lambda boxes: [*boxes]])
def test_boxes_of_every_kind(form):
    sample = read(form(BOXES), form(LABELS))
    assert sample["boxes"].dtype == torch.float32
    assert torch.equal(sample["boxes"], BOXES)
    assert torch.equal(sample["labels"], LABELS)


def test_whole_numbers_are_boxes_and_names_are_labels():
    sample = read(BOXES.int(), ["bee", "ant"])
    assert sample["boxes"].tolist() == [[4, 6, 20, 30], [10, 2, 40, 12]]
    assert sample["labels"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        ("XYXY", [[4.0, 6, 20, 30]]),
        ("XYWH", [[4.0, 6, 16, 24]]),
        ("CXCYWH", [[12.0, 18, 16, 24]]),
    ],
)
def test_bounding_boxes_are_read_by_the_form_that_they_say(form, rows):
    boxes = BoundingBoxes(torch.tensor(rows), format=form, canvas_size=SIZE)
    sample = read(boxes, [0])
    assert type(sample["boxes"]) is torch.Tensor
    assert sample["boxes"].tolist() == [[4, 6, 20, 30]]
    assert read(BoundingBoxes(torch.zeros(0, 4), format=form, canvas_size=SIZE), [])["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (
            BoundingBoxes(BOXES, format="XYXY", canvas_size=(64, 48)),
            r"canvas of \(64, 48\), and the image is \(48, 64\)",
        ),
        (BoundingBoxes(torch.zeros(2, 5), format="XYWHR", canvas_size=SIZE), "of the format XYWHR: give upright ones"),
        (BOXES[0], r"float32 \(4,\): give \(N, 4\), .* also of one thing"),
        (torch.zeros(2, 5), r"\(2, 5\): give \(N, 4\)"),
        (torch.zeros(0, 5), r"\(0, 5\): give \(N, 4\)"),
        (BOXES > 9, r"bool \(2, 4\)"),
        ("none", "boxes is 'none': give an array"),
        (torch.tensor([[4.0, 6, 20, 30], [1, 2, np.nan, 9]]), "box 1 is 1, 2, nan, 9: give numbers"),
        (np.array([[0, 0, 1e300, 9], [0, 0, 9, 9]]), r"box 0 is 0, 0, 1e\+300, 9: give numbers"),
        (
            [[30.0, 20, 10, 12], [4, 6, 8, 9]],
            r"box 0 is 30, 20, 10, 12 .*all boxes of this sample fit it as left, top, wi",
        ),
        ([[30.0, 20, 10, 99], [4, 6, 8, 9]], "with a side below 0; convert boxes by torchvision"),
        (
            BoundingBoxes([[9.0, 9, -4, 4], [1, 1, 2, 2]], format="XYWH", canvas_size=SIZE),
            "box 0 is 9, 9, 5, 13 .*below 0",
        ),
    ],
)
def test_what_is_no_box_is_refused(boxes, said):
    with pytest.raises(DataError, match=said):
        read(boxes)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0], r"labels are torch.int64 \(1,\), and there are 2 boxes"),
        ([[0, 1], [1, 0]], r"\(2, 2\), and there are 2 boxes"),
        (torch.tensor(0), r"int64 \(\), and there are 2 boxes"),
        ([0.0, 1.0], "float64"),
        ([True, False], "bool"),
        (["bee", "wasp"], "labels hold 'wasp', which is none of the classes: ant, bee"),
        ([1, 2], "labels hold 2, and the classes are 0 ant, 1 bee: .* count from 1, .*'__background__'"),
        ([-1, 0], "labels hold -1"),
    ],
)
def test_what_is_no_label_of_each_box_is_refused(labels, said):
    with pytest.raises(DataError, match=said):
        read(labels=labels)


def test_labels_are_counted_as_the_set_counts_them_and_a_background_has_no_box():
    setting = SETTING._replace(numbers={1: 0, 3: 1})
    assert read(labels=[3, 1], setting=setting)["labels"].tolist() == [1, 0]
    assert read(labels=["bee", "ant"], setting=setting)["labels"].tolist() == [1, 0]
    with pytest.raises(DataError, match="labels hold 0, 2, and the classes are 1 ant, 3 bee"):
        read(labels=[2, 0], setting=setting)


@pytest.mark.parametrize("boxes", [[], (), np.zeros(0), torch.zeros(0), torch.zeros(0, 4), np.zeros((0, 4), int)])
def test_an_image_without_boxes_is_background(boxes):
    sample = read(boxes, [], masks=[], areas=(), crowd=torch.zeros(0))
    assert {key: (value.dtype, tuple(value.shape)) for key, value in sample.items()} == {
        "boxes": (torch.float32, (0, 4)),
        "labels": (torch.int64, (0,)),
        "masks": (torch.bool, (0, *SIZE)),
        "areas": (torch.float32, (0,)),
        "crowd": (torch.bool, (0,)),
    }


def test_what_is_known_of_each_thing_is_kept():
    sample = read(masks=Mask(PLANES.byte()), areas=[300, 12.5], crowd=[0, 1], difficult=np.array([True, False]))
    assert type(sample["masks"]) is torch.Tensor
    assert torch.equal(sample["masks"], PLANES)
    assert sample["areas"].tolist() == [300, 12.5]
    assert (sample["crowd"].tolist(), sample["difficult"].tolist()) == ([False, True], [True, False])


@pytest.mark.parametrize(
    ("besides", "said"),
    [
        ({"masks": PLANES[:1]}, r"masks are \(1, 48, 64\), and \(2, 48, 64\) is due"),
        ({"masks": PLANES[:, :9]}, r"masks are \(2, 9, 64\).* of the size of the image"),
        ({"masks": PLANES * 3}, "masks hold 0 to 3: give 1"),
        ({"masks": PLANES / 2}, "masks hold 0 to 0.5: give 1"),
        ({"areas": [1, -2]}, "areas hold 1, -2: give the pixels"),
        ({"areas": [1, np.nan]}, "areas hold 1, nan: give the pixels"),
        ({"areas": [1]}, r"areas are \(1,\), and \(2,\) is due: give one for each box"),
        ({"crowd": [0, 2]}, "crowd hold 0 to 2"),
        ({"difficult": [0, 1, 1]}, r"difficult are \(3,\)"),
    ],
)
def test_what_cannot_be_known_of_each_thing_is_refused(besides, said):
    with pytest.raises(DataError, match=said):
        read(**besides)


def test_all_samples_of_a_set_say_the_same_of_their_things():
    looked = [{"boxes": (), "labels": ()}, {"boxes": BOXES, "labels": LABELS, "crowd": [0, 0]}]
    assert known_besides(looked) == ("crowd",)
    things_of({"boxes": [], "labels": []}, ("crowd",), SETTING, size_hw=SIZE)
    with pytest.raises(DataError, match="this sample lacks crowd, which others have"):
        things_of({"boxes": BOXES, "labels": LABELS}, ("crowd",), SETTING, size_hw=SIZE)
    with pytest.raises(DataError, match="this sample has crowd, which others lack"):
        things_of(looked[1], (), SETTING, size_hw=SIZE)


def test_boxes_that_do_not_show_are_left_out_with_all_that_is_known_of_them_and_counted():
    boxes = [[4, 6, 4, 30], [70, 6, 80, 30], [-20, 40, 30, 60], [4, 6, 20, 30], [4, 6, 20, 30], [63.5, 0, 64.5, 9]]
    with collected() as remarks:
        sample = read(boxes, [0, 1, 1, 0, 0, 1], areas=[1, 2, 3, 4, 5, 6])
    assert sample["boxes"].tolist() == [[0, 40, 30, 48], [4, 6, 20, 30], [4, 6, 20, 30], [63.5, 0, 64, 9]]
    assert (sample["labels"].tolist(), sample["areas"].tolist()) == ([1, 0, 0, 1], [3, 4, 5, 6])
    whole = ["no extent and are left out", "beside their image and are left out", "beyond their image and are clipped"]
    for sentence, words in zip(remarks, [*whole, "stand twice with one class"], strict=True):
        assert words in sentence
    with collected() as remarks:
        read([[-1, 0, 64.9, 48], [0, 0, 9, 9]])
    assert remarks == []


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (BOXES / 64, r"the boxes of val, such as \[0.062.* on \[64, 48\].*fractions of the image; expected pixels"),
        (BOXES + 99, "none of the 2 boxes looked at in val has an extent on its image"),
        (BoundingBoxes(BOXES / 64, format="XYWH", canvas_size=SIZE), "fractions of the image"),
    ],
)
def test_boxes_of_another_scale_are_refused_before_anything_is_decided(boxes, said):
    with pytest.raises(DataError, match=said):
        look(boxes)


@pytest.mark.parametrize(
    ("form", "declared", "said"),
    [
        ("xywh", None, "20 boxes fit no image as left, top, right, bottom, and all do as left, top, width, height"),
        ("cxcywh", None, "20 boxes fit no image as left, top, right, bottom, and all do as centre x, centre y, width"),
        ("xyxy", "XYWH", "20 boxes fit no image as left, top, width, height, and all do as left, top, right, bottom"),
    ],
)
def test_boxes_of_another_form_are_refused_with_that_form(form, declared, said):
    left, top = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([[40.0], [30.0]]) + 4
    second = {"xyxy": (left + 19, top + 13), "xywh": (19 + 0 * left, 13 + 0 * top)}
    first = (left + 9.5, top + 6.5) if form == "cxcywh" else (left, top)
    boxes = torch.stack([*first, *second.get(form, second["xywh"])], dim=1)
    parts = boxes[:7], boxes[7:]
    if declared:
        parts = (BoundingBoxes(part, format=declared, canvas_size=SIZE) for part in parts)
    with pytest.raises(DataError, match=said):
        look(*parts)


def test_boxes_that_are_as_they_should_be_pass_and_so_do_those_that_a_scan_names():
    look(BOXES, [], torch.zeros(2, 5), BOXES + 99)
    look([], [])
    look(BOXES / 64, size_hw=(4, 4))  # of a few pixels, a box may have but one


@pytest.mark.parametrize(("count", "odd", "is_refused"), [(1, 1, True), (4, 3, False), (20, 2, False), (20, 3, True)])
def test_a_set_whose_masks_lie_beside_their_boxes_is_refused(count, odd, is_refused):
    boxes = torch.tensor([[4.0, 6, 20, 30]]).repeat(count, 1)
    boxes[:odd] += torch.tensor([30.0, 0, 30, 0])
    sample = {"image": IMAGE + torch.arange(64).byte(), "boxes": boxes, "labels": [0] * count}
    sample["masks"] = PLANES[:1].repeat(count, 1, 1)
    empty = {**sample, "masks": sample["masks"] & False}
    said = f"{odd} of {count} masks of val lie .*outside"
    with pytest.raises(DataError, match=said) if is_refused else nullcontext():
        check_looked([sample, empty], None, SETTING, part="val")


def test_a_reader_gives_boxes_with_what_the_set_knows_besides():
    gives = ("image", "boxes", "labels", "crowd")
    items = [(IMAGE, {"boxes": BOXES, "labels": LABELS, "iscrowd": [0, 1], "image_id": 4})]
    reader = DatasetReader(items, gives=gives, info=SETTING.info, levels=Levels(), part="train")
    assert tuple(reader[0]) == gives
    assert reader[0]["crowd"].tolist() == [False, True]
