"""Names of classes and files in sets of boxes that are easily confused."""

import json

import pytest

from tests.data.readers.box_trees import BOXES, coco_instances, picture, voc, voc_text, yolo
from tests.data.readers.files import written
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
