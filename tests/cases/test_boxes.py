"""Boxes a user meets, in the formats that people have them in, a test for each kind."""

import json
import re
from io import BytesIO

import pytest
from PIL import Image

from tests.data.readers.box_trees import (
    BOXES,
    HEIGHT,
    WIDTH,
    coco_content,
    coco_instances,
    counted_from_one,
    picture,
    voc,
    voc_text,
    yolo,
    yolo_line,
)
from tests.data.readers.files import written
from unpool.data.readers import READERS
from unpool.data.store import scan
from unpool.errors import DataError

FORMATS = ["voc", "coco_instances", "yolo", "boxes_csv"]
COCO = "annotations/instances_train2017.json"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def with_boxes(name, root, boxes, size=(HEIGHT, WIDTH)):
    """A training split of one image with boxes of an ant, as corners from the outer edge of the first pixel."""
    if name == "voc":
        things = [("ant", counted_from_one(box)) for box in boxes]
        picture(root / "JPEGImages" / "a.png", 0)
        written(root / "Annotations" / "a.xml", voc_text(*things, size=size).encode())
        for split in ("train", "val"):
            written(root / "ImageSets" / "Main" / f"{split}.txt", {"train": b"a\n", "val": b"b\n"}[split])
    elif name == "coco_instances":
        content = coco_content("train2017")
        image = {"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}
        thing = {"image_id": 1, "category_id": 3, "iscrowd": 0}
        sides = [[left, top, right - left, bottom - top] for left, top, right, bottom in boxes]
        annotations = [{"id": 10 + i, "bbox": box, "area": box[2] * box[3], **thing} for i, box in enumerate(sides)]
        picture(root / "train2017" / "a.png", 0)
        written(root / COCO, json.dumps(content | {"images": [image], "annotations": annotations}).encode())
    elif name == "yolo":
        written(root / "data.yaml", b"train: images/a\nval: images/b\nnames: [ant]\n")
        picture(root / "images" / "a" / "a.png", 0)
        picture(root / "images" / "b" / "b.png", 1)
        written(root / "labels" / "a" / "a.txt", "".join(yolo_line(0, box) for box in boxes).encode())
    else:
        rows = [f"a.png,{','.join(map(str, box))},ant" for box in boxes]
        picture(root / "a.png", 0)
        written(root / "train.csv", "\n".join(rows).encode())
        written(root / "val.csv", b"b.png,1,2,3,4,ant\n")
    return READERS[name](root, "train")


@pytest.mark.parametrize("name", FORMATS)
def test_box_without_extent_is_dropped_and_counted_with_its_record(tmp_path, name):
    reader = with_boxes(name, tmp_path, [(4, 6, 4, 20), (10, 12, 20, 24), (8, 9, 30, 9)])
    assert reader[0]["boxes"].round(decimals=3).tolist() == [[10, 12, 20, 24]]
    record = {
        "voc": "Annotations/a.xml, object 1; Annotations/a.xml, object 3",
        "coco_instances": "annotation 10; annotation 12",
        "yolo": "labels/a/a.txt line 1; labels/a/a.txt line 3",
        "boxes_csv": "train.csv line 1; train.csv line 3",
    }[name]
    assert reader.notes == [f"2 of 3 boxes have no extent: left out, {record}"]
    assert any(record in note["note"] for note in scan(reader).manifest["notes"])


@pytest.mark.parametrize("name", FORMATS)
def test_box_that_reaches_beyond_its_image_is_clipped_and_one_beside_it_dropped(tmp_path, name):
    reader = with_boxes(name, tmp_path, [(-5, 10, 20, HEIGHT + 9), (60, 2, 70, 9), (10, 12, WIDTH + 1, 24)])
    assert reader[0]["boxes"].round(decimals=3).tolist() == [[0, 10, 20, HEIGHT], [10, 12, WIDTH, 24]]
    *_, beside, beyond = reader.notes
    assert beside.startswith("1 of 3 boxes lie beside their image: left out, ")
    assert beyond.startswith("1 of 3 boxes reach beyond their image: clipped, ")  # a pixel of rounding is not worth it


@pytest.mark.parametrize("name", FORMATS)
def test_identical_boxes_are_kept_and_counted(tmp_path, name):
    reader = with_boxes(name, tmp_path, [BOXES[0], BOXES[1], BOXES[0], BOXES[0]])
    assert len(reader[0]["boxes"]) == 4
    (note,) = reader.notes
    assert note.startswith("2 of 4 boxes stand twice with one class on one image: each is kept, ")


def test_image_of_ten_thousand_boxes_is_read(tmp_path):
    boxes = [(i % 50, i // 50 % 39, i % 50 + 1 + i % 2, i // 50 % 39 + 1) for i in range(10_000)]
    sample = with_boxes("coco_instances", tmp_path, boxes)[0]
    assert sample["boxes"].shape == (10_000, 4)
    assert sample["boxes"][7].round(decimals=3).tolist() == list(map(float, boxes[7]))


@pytest.mark.parametrize(
    ("value", "says"), [("nan", "'nan'"), ("inf", "'inf'"), ("twelve", "'twelve'"), ("12,5", "'12,5'")]
)
def test_coordinate_that_is_no_finite_number_is_refused_with_record_and_field(tmp_path, value, says):
    box = (value, 7, 24, 30)
    written(voc(tmp_path / "voc") / "Annotations" / "2.xml", voc_text(("ant", BOXES[1]), ("ant", box)).encode())
    with pytest.raises(DataError, match=rf"Annotations/2\.xml, object 2: xmin is {says}; expected a finite number"):
        READERS["voc"](tmp_path / "voc", "train")
    row = f'a.png,"{value}",7,24,30,ant\n'
    written(tmp_path / "csv" / "boxes.csv", b"a.png,1,2,3,4,ant\n" + row.encode())
    with pytest.raises(DataError, match=rf"boxes\.csv line 2: xmin is {says}; expected a finite number"):
        READERS["boxes_csv"](tmp_path / "csv", "train")


@pytest.mark.parametrize("box", [[float("nan"), 7, 24, 30], ["4", 7, 24, 30], [4, 7, -24, 30]])
def test_box_of_coco_that_is_no_box_is_refused_with_its_record(tmp_path, box):
    path = coco_instances(tmp_path) / COCO
    content = json.loads(path.read_text())
    content["annotations"][1]["bbox"] = box
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"of COCO instances: annotations\[1\] \(id 1\): bbox is "):
        READERS["coco_instances"](tmp_path, "train")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0 12 20 30 40", "these may be pixels; expected fractions of the image"),
        ("0 0.5 0.5 0.2", "4 columns; expected 5"),
        ("0 0.5 0.5 0.2 0.2 0.97", "6 columns, of which the last may be a confidence"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5", "7 columns, which may be a polygon"),
        ("0.0 0.5 0.5 0.2 0.2", "the class is '0.0'; expected a whole number"),
        ("ant 0.5 0.5 0.2 0.2", "the class is 'ant'; expected a whole number"),
        ("0 0,5 0,5 0,2 0,2", "'0,5' is no number; expected fractions of the image, with a decimal point"),
        ("0 nan 0.5 0.2 0.2", "'nan' is no number"),
        ("0 0.5 0.5 -0.2 0.2", "a size is negative"),
    ],
)
def test_line_of_yolo_that_is_no_box_is_refused_with_its_number_and_content(tmp_path, line, says):
    written(yolo(tmp_path) / "labels" / "train" / "1.txt", f"1 0.5 0.5 0.2 0.2\n\n{line}\n".encode())
    with pytest.raises(DataError) as caught:
        READERS["yolo"](tmp_path, "train")
    assert f"1 lines of label files cannot be read:\n  labels/train/1.txt: line 3 is '{line}': {says}" in str(
        caught.value
    )


def test_numbers_of_classes_that_data_yaml_does_not_name_are_listed(tmp_path):
    written(yolo(tmp_path) / "labels" / "train" / "1.txt", b"2 0.5 0.5 0.2 0.2\n-1 0.5 0.5 0.2 0.2\n")
    with pytest.raises(
        DataError, match=r"2 boxes have the classes -1, 2, such as line 1 of labels/train/1\.txt"
    ) as caught:
        READERS["yolo"](tmp_path, "train")
    assert "data.yaml names 2, 0 to 1" in str(caught.value)


@pytest.mark.parametrize("allow", [True, False])
def test_folder_of_labels_that_fits_no_image_is_refused_not_taken_for_backgrounds(tmp_path, allow):
    (yolo(tmp_path) / "labels").rename(tmp_path / "label")
    with pytest.raises(DataError, match=r"^0 of 4 images matched a label; looked in .*/labels/train: check"):
        READERS["yolo"](tmp_path, "train", allow_background=allow)


@pytest.mark.parametrize(("name", "folder", "suffix"), [("yolo", "labels/train", "txt"), ("voc", "Annotations", "xml")])
def test_images_without_a_label_are_backgrounds_and_more_than_half_are_refused_unless_allowed(
    tmp_path, name, folder, suffix
):
    root = {"yolo": yolo, "voc": voc}[name](tmp_path)
    for number in (2, 3):
        (root / folder / f"{number}.{suffix}").unlink(missing_ok=True)
    reader = READERS[name](root, "train")
    (note,) = reader.notes
    assert note.startswith("2 of 4 images have no label and are taken for backgrounds: ")
    assert (len(reader), reader[3]["boxes"].shape, reader[3]["labels"].shape) == (4, (0, 4), (0,))
    (root / folder / f"1.{suffix}").unlink()
    with pytest.raises(DataError, match=r"3 of 4 images have no label, such as .*1\.png; looked in .*data\.allow_back"):
        READERS[name](root, "train")
    assert len(READERS[name](root, "train", allow_background=True)) == 4


def test_sparse_ids_of_categories_are_mapped_by_a_table_that_the_model_file_has(tmp_path):
    reader = READERS["coco_instances"](coco_instances(tmp_path), "train")
    assert (reader.info.classes, reader.info.class_ids) == (("ant", "bee"), (3, 90))
    assert reader[1]["labels"].tolist() == [0, 1]
    turned = READERS["coco_instances"](tmp_path, "train", classes=("bee", "ant"))
    assert (turned.info.class_ids, turned[1]["labels"].tolist()) == ((90, 3), [1, 0])
    assert READERS["coco_instances"](tmp_path, "train", classes=("bee", "ant", "cow")).info.class_ids == ()


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("categories", {"id": 90}, "2 categories have the id 90; expected each once"),
        ("categories", {"name": "bee"}, "2 categories have the name 'bee'; expected each once"),
        ("images", {"id": 7}, "2 images have the id 7; expected each once"),
        ("images", {"file_name": "train20171.png"}, "2 images have the file_name 'train20171.png'; expected each once"),
        ("annotations", {"id": 1}, "2 annotations have the id 1; expected each once"),
    ],
)
def test_record_of_coco_that_stands_twice_is_listed(tmp_path, part, change, says):
    path = coco_instances(tmp_path) / COCO
    content = json.loads(path.read_text())
    position = 1 if part == "categories" else 0
    content[part][position] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=says):
        READERS["coco_instances"](tmp_path, "train")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<name>ant</name>", "", r"object 1: has no <name> in its <object>"),
        ("<xmax>24</xmax>", "", r"object 1: has no <xmax> in its <bndbox>"),
        ("bndbox>", "robndbox>", r"object 1: has no <xmin> in its <bndbox>"),
        ("<height>40</height>", "", r"has no <height> in its <size>"),
        ("<width>52</width>", "<width>0</width>", r"<size> is '0'x'40' pixels"),
        ("<name>ant</name>", "<name>ant</name><name>bee</name>", r"object 1: <name> stands twice"),
        ("</annotation>", "", r"is no valid XML \(no element found"),
        ("<name>ant</name>", "<name>ant</name><difficult>maybe</difficult>", r"object 1: <difficult> is 'maybe'"),
    ],
)
def test_annotation_of_voc_that_lacks_a_tag_is_left_out_and_named(tmp_path, old, new, says):
    path = voc(tmp_path) / "Annotations" / "1.xml"
    path.write_text(path.read_text().replace(old, new))
    reader = READERS["voc"](tmp_path, "train")
    assert reader.names == ["JPEGImages/0.png", "JPEGImages/2.png", "JPEGImages/3.png"]
    ((file, reason),) = reader.faults
    assert file == "Annotations/1.xml"
    assert re.search(says, reason)


def test_decimals_and_spaces_in_an_annotation_of_voc_are_read(tmp_path):
    text = voc_text(("ant", (5.5, " 7 ", "\n24.25", 30)), size=(f" {HEIGHT}", f"{WIDTH}.0"))
    written(voc(tmp_path) / "Annotations" / "1.xml", text.encode())
    assert READERS["voc"](tmp_path, "train")[1]["boxes"].tolist() == [[4.5, 6, 24.25, 30]]


@pytest.mark.parametrize("depth", [64, 200_000])
def test_annotation_of_voc_is_refused_from_65_tags_within_one_another_on(tmp_path, depth):
    path = voc(tmp_path) / "Annotations" / "1.xml"
    inner = depth - 1  # within <annotation>
    path.write_text(path.read_text().replace("<size>", "<a>" * inner + "</a>" * inner + "<size>", 1))
    if depth == 64:
        assert READERS["voc"](tmp_path, "train").faults == []
        return
    with pytest.raises(DataError, match=r"Annotations/1\.xml has tags nested more than 64 deep"):
        READERS["voc"](tmp_path, "train")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE annotation [<!ENTITY a "ant"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE annotation SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE annotation [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]>',
    ],
)
def test_annotation_of_voc_that_could_define_entities_is_refused(tmp_path, doctype):
    path = voc(tmp_path) / "Annotations" / "1.xml"
    path.write_text(path.read_text().replace("<annotation>", f"{doctype}<annotation>", 1))
    with pytest.raises(DataError, match=r"1\.xml declares a document type, .*: delete its <!DOCTYPE \.\.\.>"):
        READERS["voc"](tmp_path, "train")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "iso-8859-1", "windows-1252"])
def test_annotation_of_voc_is_read_in_the_encoding_that_it_declares(tmp_path, encoding):
    root, declared = voc(tmp_path), encoding.removesuffix("-sig")
    text = voc_text(("M\u00fccke", counted_from_one(BOXES[0])), encoding=declared)
    for number in range(4):
        written(root / "Annotations" / f"{number}.xml", text.encode(encoding))
    assert READERS["voc"](tmp_path, "train").info.classes == ("M\u00fccke",)


@pytest.mark.parametrize(("declared", "stored"), [("utf-16", "utf-8"), ("utf-8", "iso-8859-1"), ("gb2312", "gb2312")])
def test_annotation_of_voc_in_another_encoding_than_it_declares_is_named(tmp_path, declared, stored):
    name = {"gb2312": "\u8681"}.get(stored, "M\u00fccke")
    text = voc_text((name, counted_from_one(BOXES[0])), encoding=declared)
    written(voc(tmp_path) / "Annotations" / "1.xml", text.encode(stored))
    ((file, reason),) = READERS["voc"](tmp_path, "train").faults
    assert (file, reason.startswith("is no valid XML (")) == ("Annotations/1.xml", True)


@pytest.mark.parametrize("name", ["voc", "coco_instances"])
def test_annotations_of_an_image_of_another_size_are_refused_with_both_sizes(tmp_path, name):
    reader = with_boxes(name, tmp_path, [BOXES[0]], size=(48, 64))
    with pytest.raises(DataError, match=r"a\.png: is 52x40, its annotations are of 64x48 pixels"):
        scan(reader)


@pytest.mark.parametrize(("exif", "other"), [("apply", "ignore"), ("ignore", "apply")])
def test_annotations_of_an_image_turned_otherwise_name_the_orientation(tmp_path, exif, other):
    annotated = (HEIGHT, WIDTH) if exif == "apply" else (WIDTH, HEIGHT)
    with_boxes("voc", tmp_path, [BOXES[0]], size=annotated)
    path, stream = tmp_path / "JPEGImages" / "a.png", BytesIO()
    with Image.open(path) as image:
        tags = Image.Exif()
        tags[0x0112] = 6
        image.save(stream, "PNG", exif=tags)
    path.write_bytes(stream.getvalue())
    height, width = annotated
    says = f"decodes to {height}x{width}, its annotations are of {width}x{height} pixels, and its EXIF"
    with pytest.raises(DataError, match=f"{says} orientation 6 is .*: set data.exif={other}"):
        scan(READERS["voc"](tmp_path, "train", exif=exif))
    assert scan(READERS["voc"](tmp_path, "train", exif=other)).faults == []


@pytest.mark.parametrize("path", ["../../etc/passwd.png", "/etc/a.png", "C:\\a.png"])
def test_image_outside_of_the_root_is_refused_in_every_format(tmp_path, path):
    written(tmp_path / "csv" / "boxes.csv", f"a.png,1,2,3,4,ant\n{path},1,2,3,4,ant\n".encode())
    with pytest.raises(DataError, match=r"boxes\.csv line 2: the file is '.*'; expected a path below data.root"):
        READERS["boxes_csv"](tmp_path / "csv", "train")
    written(voc(tmp_path / "voc") / "ImageSets" / "Main" / "train.txt", f"0\n{path}\n".encode())
    with pytest.raises(DataError, match=r"train\.txt holds '.*'; expected each name of an image in JPEGImages once"):
        READERS["voc"](tmp_path / "voc", "train")
    root = yolo(tmp_path / "yolo")
    written(root / "train.txt", f"images/train/0.png\n{path}\n".encode())
    outside = (path, "data.yaml gives '.*' for train, (outside of data.root|with backslashes)")
    for entry, says in (outside, ("train.txt", "train.txt lists '.*'; expected images below data.root")):
        written(root / "data.yaml", f"train: '{entry}'\nval: images/val\nnames: [ant, bee]\n".encode())
        with pytest.raises(DataError, match=says):
            READERS["yolo"](root, "train")
    content = coco_content("train2017")
    content["images"][0]["file_name"] = path
    written(tmp_path / "coco" / COCO, json.dumps(content).encode())
    with pytest.raises(DataError, match=r"images\[0\] \(id 0\): file_name is .*; expected a path below"):
        READERS["coco_instances"](tmp_path / "coco", "train")
