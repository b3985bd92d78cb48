"""A reader of boxes that does not find its files says which reader takes those that are there, and what to rename."""

import json

import pytest

from tests.data.readers.box_trees import picture
from tests.data.readers.files import written
from tests.data.readers.trees import TREES
from unpool.data.readers import READERS
from unpool.errors import DataError

COCO = b'{"info": {}, "images": [], "annotations": []}'
OTHERS = ("voc", "yolo", "coco_instances", "boxes_csv")
END = "check data.root and data.reader"


def refusal(name, root, split="train"):
    with pytest.raises(DataError) as caught:
        READERS[name](root, split)
    return str(caught.value).replace(str(root), "ROOT")


@pytest.mark.parametrize("name", [*OTHERS, "cub"])
@pytest.mark.parametrize("there", OTHERS)
def test_set_of_another_reader_is_named_with_it(tmp_path, name, there):
    if name != there:
        TREES[there](tmp_path)
        assert refusal(name, tmp_path).endswith(f": set data.reader={there}")


@pytest.mark.parametrize("name", TREES)
def test_set_that_lacks_a_split_gets_no_advice_on_its_folders(tmp_path, name):
    root = TREES[name](tmp_path) if name in OTHERS else tmp_path
    if name == "coco_instances":
        (root / "annotations" / "instances_val2017.json").unlink()
    if name in OTHERS:
        assert refusal(name, root, "test").endswith(END)


def test_files_of_the_reader_itself_are_looked_at_before_those_of_others(tmp_path):
    TREES["voc"](tmp_path)
    written(tmp_path / "train.csv", b"0.png,1,2,3,4,ant\n")
    assert refusal("voc", tmp_path, "test").endswith(END)
    assert refusal("boxes_csv", tmp_path, "test").endswith(END)


@pytest.mark.parametrize(
    ("file", "split", "part"),
    [
        ("train/_annotations.coco.json", "train", "train2017"),
        ("valid/_annotations.coco.json", "val", "val2017"),
        ("annotations/instances_default.json", "train", "train2017"),
        ("annotations/instances_val.json", "val", "val2017"),
        ("result.json", "val", "val2017"),
    ],
)
def test_file_of_coco_by_another_name_is_named_with_the_one_expected(tmp_path, file, split, part):
    written(tmp_path / file, COCO)
    written(tmp_path / "other" / ("val.json" if split == "train" else "train.json"), COCO)
    written(tmp_path / "notes.json", b"{}")
    change = f"rename it to annotations/instances_{part}.json, and its images' folder to {part}"
    assert refusal("coco_instances", tmp_path, split).endswith(f"{END}. {file} is a file of COCO: {change}")


def test_images_and_annotations_of_voc_in_one_folder_are_said(tmp_path):
    picture(tmp_path / "train" / "a.png", 0)
    written(tmp_path / "train" / "a.xml", b"<annotation/>")
    change = "put the images into JPEGImages, these into Annotations, and lists of names into ImageSets/Main"
    assert refusal("voc", tmp_path).endswith(f"ROOT/train holds images and .xml files of VOC: {change}")
    assert refusal("yolo", tmp_path).endswith(f"of VOC: set data.reader=voc, and {change}")


def test_folders_of_voc_by_other_names_and_one_folder_deeper_are_said(tmp_path):
    root = TREES["voc"](tmp_path / "devkit")
    assert refusal("voc", tmp_path).endswith("Annotations holds .xml files of VOC: set data.root=ROOT/devkit")
    (root / "JPEGImages").rename(root / "images")
    assert refusal("voc", root).endswith("Annotations holds .xml files of VOC: rename images to JPEGImages")


def test_labels_of_yolo_without_names_are_said(tmp_path):
    root = TREES["yolo"](tmp_path)
    (root / "data.yaml").unlink()
    assert refusal("voc", root).endswith(". labels holds .txt files, as YOLO's does: set data.reader=yolo")
    (root / "images" / "train").rename(root / "photos")
    (root / "labels" / "train" / "0.txt").rename(root / "photos" / "0.txt")
    (root / "labels").rename(root / "else")
    (root / "else" / "val").rename(root / "else" / "deeper")
    assert refusal("voc", root).endswith(
        ". ROOT/photos holds images and .txt files, as YOLO's do: set data.reader=yolo"
    )


@pytest.mark.parametrize("line", ["{}  1", "JPEGImages/{}.png"])
def test_list_of_voc_that_names_no_image_is_refused_with_the_form_expected(tmp_path, line):
    root = TREES["voc"](tmp_path)
    written(root / "ImageSets" / "Main" / "train.txt", "\n".join(map(line.format, "0123")).encode())
    first = line.format(0)
    assert f"train.txt names no image of JPEGImages, such as '{first}'; expected names from there" in refusal(
        "voc", root
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["annotations"][0].pop("iscrowd"), "has no iscrowd; expected 0 or 1, which is 0 in a set without"),
        (
            lambda c: c["annotations"][0].pop("area"),
            "has no area; expected a number of pixels, finite and not negative, ",
        ),
        (lambda c: c["annotations"].clear(), "instances_train2017.json has no annotations, so that nothing can be"),
        (
            lambda c: c["categories"][0].update(name="ant"),
            "2 categories have the name 'ant'; expected each once: rename",
        ),
        (
            lambda c: c["images"][0].update(file_name="train2017/train20170.png"),
            "has the file_name 'train2017/train20170.png', which is below data.root; expected names from the folder",
        ),
    ],
)
def test_file_of_coco_as_others_write_it_is_refused_with_what_to_do(tmp_path, change, says):
    path = TREES["coco_instances"](tmp_path) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    assert says in refusal("coco_instances", tmp_path)
