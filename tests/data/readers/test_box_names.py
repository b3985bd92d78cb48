"""Names of classes and files in sets of boxes that are easily confused."""

import json

import pytest

from tests.data.readers.box_trees import BOXES, coco_instances, picture, voc, voc_text, yolo
from tests.data.readers.files import written
from unpool.data.classes import case_clashes
from unpool.data.readers import READERS
from unpool.errors import DataError


@pytest.mark.parametrize("name", ["voc", "coco_instances", "yolo", "boxes_csv"])
def test_classes_that_differ_in_case_only_are_said(tmp_path, name):
    if name == "voc":
        written(voc(tmp_path) / "Annotations" / "1.xml", voc_text(("Ant", BOXES[0])).encode())
    elif name == "coco_instances":
        path = coco_instances(tmp_path) / "annotations" / "instances_train2017.json"
        content = json.loads(path.read_text())
        content["categories"][0]["name"] = "Ant"
        path.write_text(json.dumps(content))
    elif name == "yolo":
        written(yolo(tmp_path) / "data.yaml", b"train: images/train\nval: images/val\nnames: [Ant, ant]\n")
    else:
        for i in range(2):
            picture(tmp_path / f"{i}.png", i)
        written(tmp_path / "train.csv", b"0.png,4,6,24,30,Ant\n1.png,4,6,24,30,ant\n")
        written(tmp_path / "val.csv", b"2.png,4,6,24,30,ant\n")
    notes = READERS[name](tmp_path, "train").notes
    assert any(note.startswith("classes ") and note.endswith(" differ in case only") for note in notes)


def test_two_images_with_one_label_file_are_refused(tmp_path):
    root = yolo(tmp_path)
    picture(root / "images" / "train" / "3.jpg", 9)  # of which there is no label file
    assert len(READERS["yolo"](root, "train")) == 5
    picture(root / "images" / "train" / "0.jpg", 9)
    with pytest.raises(DataError, match=r"train/0.jpg and images/train/0.png have one label file, labels/train/0.txt"):
        READERS["yolo"](root, "train")


@pytest.mark.parametrize(("name", "what"), [("Ant", "case"), ("ant ", "spaces"), ("an t", "spaces")])
def test_classes_that_differ_in_case_or_spaces_are_said(name, what):
    assert case_clashes(["ant", name, "bee"]) == (f"classes 'ant' and '{name}' differ in {what} only",)


def of_files(root, first, second):
    """Two lines for one image, in lists of files of each kind."""
    picture(root / "a.png", 0)
    written(root / "train.csv", f"{first},1,2,13,14,ant\n{second},11,12,23,24,bee\n".encode())
    written(root / "val.csv", b"b.png,1,2,13,14,ant\n")
    return READERS["boxes_csv"](root, "train")


@pytest.mark.parametrize("second", ["./a.png", ".//a.png"])
def test_image_whose_path_is_written_in_two_ways_is_one(tmp_path, second):
    reader = of_files(tmp_path, "a.png", second)
    assert (reader.names, len(reader[0]["boxes"])) == (["a.png"], 2)


def test_image_whose_path_is_written_in_two_ways_is_in_one_split(tmp_path):
    picture(tmp_path / "a.png", 0)
    for split in ("train", "val"):
        written(tmp_path / f"{split}.csv", f"{'./' * (split == 'val')}a.png,1,2,13,14,ant\n".encode())
    with pytest.raises(DataError, match=r"1 images are in both train and val, such as a\.png"):
        READERS["boxes_csv"](tmp_path, "train")


def test_image_of_coco_whose_path_is_written_in_two_ways_is_refused(tmp_path):
    path = coco_instances(tmp_path) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][1]["file_name"] = f"./{content['images'][0]['file_name']}"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"2 images have the file_name 'train20170\.png'; expected each once"):
        READERS["coco_instances"](tmp_path, "train")


@pytest.mark.parametrize("lines", [("0", "0.png"), ("0", "./0"), ("0.png", "0.png")])
def test_image_that_a_list_of_voc_names_in_two_ways_is_refused(tmp_path, lines):
    written(voc(tmp_path) / "ImageSets" / "Main" / "train.txt", "\n".join(lines).encode())
    with pytest.raises(DataError, match=r"train\.txt holds '0' twice"):
        READERS["voc"](tmp_path, "train")
    written(tmp_path / "ImageSets" / "Main" / "train.txt", b"1\n./2.png\n")
    assert READERS["voc"](tmp_path, "train").names == ["JPEGImages/1.png", "JPEGImages/2.png"]
    written(tmp_path / "ImageSets" / "Main" / "val.txt", b"2\n")
    with pytest.raises(DataError, match="1 images are in both train and val, such as 2"):
        READERS["voc"](tmp_path, "train")


def test_image_that_a_list_of_yolo_names_in_two_ways_is_one(tmp_path):
    written(yolo(tmp_path) / "data.yaml", b"train: train.txt\nval: images/val\nnames: [ant, bee]\n")
    written(tmp_path / "train.txt", b"images/train/0.png\n./images/train/0.png\nimages//./train/0.png\n")
    assert READERS["yolo"](tmp_path, "train").names == ["images/train/0.png"]


def test_annotations_of_voc_that_name_another_image_of_the_set_are_said(tmp_path):
    path = voc(tmp_path) / "Annotations" / "1.xml"
    assert READERS["voc"](tmp_path, "train").notes == []  # theirs is other.jpg, which is none of the set
    for name, is_said in (("1.jpg", False), ("C:\\old\\2.png", True)):
        path.write_text(voc_text(("ant", (5, 7, 24, 30)), ("bee", (21, 11, 50, 34))).replace("other.jpg", name))
        notes = READERS["voc"](tmp_path, "train").notes
        assert len(notes) == is_said
    assert notes[0].startswith(
        "1 annotation files name another image of the set in <filename>, such as Annotations/1.xml, which names C:"
    )
