"""What the readers of boxes make of their formats: corners, classes, splits, masks; and the real sets."""

import json

import numpy as np
import pycocotools.mask
import pytest
import torch

from tests.data.readers.box_trees import BOXES, HEIGHT, WIDTH, picture, voc_text
from tests.data.readers.files import written
from tests.data.readers.trees import TREES
from unpool.data.readers import READERS
from unpool.data.readers.coco_regions import Region, draw_instance, region_of
from unpool.errors import DataError

ANT, BEE = (list(map(float, box)) for box in BOXES)


def read(name, root, split="train", **options):
    return READERS[name](root, split, **options)


@pytest.mark.parametrize("name", ["voc", "yolo", "coco_instances"])
def test_each_format_gives_the_same_boxes_from_the_outer_edge_of_the_first_pixel(tmp_path, name):
    reader = read(name, TREES[name](tmp_path))
    assert reader.info.classes == ("ant", "bee")
    boxes = reader[1]["boxes"]
    assert torch.allclose(boxes, torch.tensor([ANT, BEE]), atol=1e-4)
    assert reader[1]["labels"].tolist() == [0, 1]


def test_voc_keeps_difficult_objects_with_their_flag(tmp_path):
    reader = read("voc", TREES["voc"](tmp_path))
    assert [reader[i]["difficult"].tolist() for i in (0, 1)] == [[False, True], [False, False]]


def test_voc_that_begins_at_zero_is_said(tmp_path):
    written(TREES["voc"](tmp_path) / "Annotations" / "1.xml", voc_text(("ant", (0, 3, 24, 30))).encode())
    reader = read("voc", tmp_path)
    assert reader.notes == [
        "1 annotation files have boxes that begin at 0, such as Annotations/1.xml: VOC counts from 1, and all boxes "
        "are read so; if this set counts from 0, they lie 1 pixel off"
    ]
    assert reader[1]["boxes"].tolist() == [[0, 2, 24, 30]]


def test_voc_names_what_is_listed_and_is_no_image(tmp_path):
    written(TREES["voc"](tmp_path) / "ImageSets" / "Main" / "train.txt", b"0\n1.png\n77\n")
    reader = read("voc", tmp_path)
    assert reader.names == ["JPEGImages/0.png", "JPEGImages/1.png"]
    assert reader.faults == [("JPEGImages/77", "there is no such image; ImageSets/Main/train.txt lists it")]
    picture(tmp_path / "JPEGImages" / "0.jpg", 9)
    with pytest.raises(DataError, match=r"JPEGImages holds 0\.(jpg|png) and 0\.(jpg|png), and one annotation"):
        read("voc", tmp_path)


def test_classes_are_those_of_the_training_split_in_the_order_of_the_alphabet(tmp_path):
    root = TREES["voc"](tmp_path)
    written(root / "Annotations" / "4.xml", voc_text(("bee", (5, 7, 24, 30))).encode())
    written(root / "Annotations" / "5.xml", voc_text(("bee", (5, 7, 24, 30))).encode())
    val = read("voc", root, "val")
    assert (val.info.classes, val[0]["labels"].tolist()) == (("ant", "bee"), [1])
    written(root / "Annotations" / "5.xml", voc_text(("wasp", (5, 7, 24, 30))).encode())
    with pytest.raises(DataError, match=r"Annotations: unknown classes 'wasp'; expected names among 'ant', 'bee'"):
        read("voc", root, "val")


def test_masks_of_coco_are_drawn_where_they_are_asked_for(tmp_path):
    root = TREES["coco_instances"](tmp_path)
    assert read("coco_instances", root).gives == ("image", "boxes", "labels", "areas", "crowd")
    reader = read("coco_instances", root, masks=True)
    assert reader.gives == ("image", "boxes", "labels", "areas", "crowd", "masks")
    sample = reader[0]
    assert sample["crowd"].tolist() == [False, False, True]
    assert sample["masks"].shape == (3, HEIGHT, WIDTH)
    left, top, right, bottom = BOXES[0]
    assert sample["masks"][0, top:bottom, left:right].all()
    assert sample["masks"].sum((1, 2)).tolist() == sample["areas"].tolist() == [480, 720, 128]
    assert reader[2]["masks"].shape == (0, HEIGHT, WIDTH)
    assert reader.measure(0).num_bytes - read("coco_instances", root).measure(0).num_bytes == 3 * HEIGHT * WIDTH


def polygon(number, rng, count):
    """Of corners anywhere, on whole pixels or halves of them, or within the image."""
    within = number % 2 == 0
    corners = rng.uniform(0, (WIDTH, HEIGHT), (count, 2)) if within else rng.uniform(-30, 90, (count, 2))
    return (corners if number % 3 else np.round(2 * corners) / (1 + number % 2)).astype(np.float32)


@pytest.mark.parametrize("longest", [0, 1e9], ids=["long", "short"])
def test_polygons_of_any_length_are_those_of_pycocotools(monkeypatch, longest):
    monkeypatch.setattr("unpool.data.readers.coco_regions._LONG", longest)
    monkeypatch.setattr("unpool.data.long_polygons._MOST", 50)
    rng = np.random.default_rng(0)
    for number in range(100):
        height, width = rng.integers(1, 60, 2).tolist()
        polygons = [polygon(number, rng, int(rng.integers(3, 40))) for _ in range(1 + number % 2)]
        encoded = pycocotools.mask.frPyObjects([one.reshape(-1).tolist() for one in polygons], height, width)
        expected = pycocotools.mask.decode(pycocotools.mask.merge(encoded)).astype(bool)
        assert np.array_equal(draw_instance(Region(1, polygons=tuple(polygons)), (height, width)), expected)


@pytest.mark.parametrize("times", [1, 40_001])
def test_polygon_that_goes_round_and_round_is_the_one_that_goes_once(times):
    """COCO's own tools would take 3.6 GB for 36 million pixels of edge."""
    once = np.array([[300.2, 10.0], [303.9, 11.0], [302.0, 470.0]], np.float32)
    expected = pycocotools.mask.decode(pycocotools.mask.frPyObjects([once.reshape(-1).tolist()], 480, 640))[..., 0]
    drawn = draw_instance(Region(1, polygons=(np.tile(once, (times, 1)),)), (480, 640))
    assert np.array_equal(drawn, expected.astype(bool))


def test_run_lengths_in_letters_are_drawn_as_cocos_own_tools_do():
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.98):
        mask = rng.random((HEIGHT, WIDTH)) < share
        letters = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        region = region_of({"id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": letters}})
        assert np.array_equal(draw_instance(region, (HEIGHT, WIDTH)), mask)
        with pytest.raises(ValueError, match=rf"annotation 1 is a mask of {WIDTH}x{HEIGHT} .* is {HEIGHT}x{WIDTH}"):
            draw_instance(region, (WIDTH, HEIGHT))


def test_masks_stay_with_their_boxes_where_one_is_left_out(tmp_path):
    path = TREES["coco_instances"](tmp_path) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(content))
    sample = read("coco_instances", tmp_path, masks=True)[0]
    assert sample["labels"].tolist() == [1, 0]
    bee = region_of(content["annotations"][1])
    assert np.array_equal(sample["masks"][0].numpy(), draw_instance(bee, (HEIGHT, WIDTH)))


@pytest.mark.parametrize(("masks", "segmentation"), [(True, []), (True, None), (False, [])])
def test_thing_without_a_segmentation_is_refused_where_masks_are_asked_for(tmp_path, masks, segmentation):
    path = TREES["coco_instances"](tmp_path) / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["segmentation"] = segmentation
    path.write_text(json.dumps(content))
    if masks:
        with pytest.raises(
            DataError, match=r"1 of 5 annotations have no segmentation, such as 1, and data.masks=true asks"
        ):
            read("coco_instances", tmp_path, masks=True)
    else:
        assert len(read("coco_instances", tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("names: [ant]\nnc: 2\n", "nc is '2' and names has 1; expected as many"),
        ("names: {0: ant, 2: bee}\n", "names has the numbers 0, 2; expected 0 to 1"),
        ("names: [ant, ant]\n", "the name 'ant' stands twice in names"),
        ("train: images\n", "has no names; expected a list of the classes"),
        ("names: [ant, [bee]]\n", "names holds lists or mappings; expected words"),
        ("names: [ant\n", "is not plain YAML: "),
        ("- ant\n", "holds no `key: value` lines"),
        ("[" * 300, "is nested more than 10 deep"),
        ("a: &a [b]\nnames: [ant]\n\tb", "is not plain YAML: "),
        ("names: [ant]\ntrain: nowhere\nval: images/val", "gives 'nowhere' for train, and nowhere is not there"),
        ("names: [ant]\ntrain: ../none/a\n", "gives '../none/a' for train, and none/a is not there: correct"),
        ("names: [ant]\ntrain: images\\train\n", "for train, with backslashes: write a path below data.root with /"),
        ("names: [ant]\nval: images/val\nvalid: images/train\n", "has val and valid, both of val: delete one"),
    ],
)
def test_data_yaml_that_cannot_be_meant_is_refused(tmp_path, text, says):
    written(TREES["yolo"](tmp_path) / "data.yaml", text.encode())
    with pytest.raises(DataError) as caught:
        read("yolo", tmp_path)
    assert says in str(caught.value)


def test_names_in_data_yaml_stay_as_they_are_written(tmp_path):
    names = ["no", "1e3", "012", "null"]
    written(TREES["yolo"](tmp_path) / "data.yaml", f"names: [{', '.join(names)}]\n".encode())
    assert read("yolo", tmp_path).info.classes == tuple(names)


ENTRIES = {
    "folders": "train: images/train\nval: images/val\n",
    "below path": "path: images\ntrain: train\nval: val\n",
    "Roboflow": "train: ../images/train\nval: ../images/val\n",
    "a list of entries": "train: [images/train/0.png, images/train/1.png, images/train/2.png, images/train/3.png]\n"
    "valid:\n  - images/val\n",
    "text files": "train: train.txt\nval: lists/val.txt\n",
    "nothing": "",
}


@pytest.mark.parametrize("case", ENTRIES)
def test_images_of_a_split_are_those_that_data_yaml_names(tmp_path, case):
    root = TREES["yolo"](tmp_path)
    written(root / "data.yaml", f"names: [ant, bee]\nnc: 2\n{ENTRIES[case]}".encode())
    written(root / "train.txt", "".join(f"./images/train/{i}.png\n" for i in range(4)).encode())
    written(root / "lists" / "val.txt", b"images/val/4.png\nimages/val/5.png\nimages/val/6.png\n")
    train, val = (read("yolo", root, split) for split in ("train", "val"))
    assert train.names == [f"images/train/{i}.png" for i in range(4)]
    assert val.names == [f"images/val/{i}.png" for i in (4, 5)]
    assert train.origin["drawn"] is val.origin["drawn"] is None
    assert [one.path for one in val.faults] == (["images/val/6.png"] if case == "text files" else [])
    assert any("read as images/train below data.root" in note for note in train.notes) == (case == "Roboflow")
    with pytest.raises(DataError, match=r"no test split; looked for data.yaml, images/test"):
        read("yolo", root, "test")


@pytest.mark.parametrize("entries", ["", "train: images/train\n"])
def test_validation_images_of_yolo_are_drawn_where_there_are_none(tmp_path, entries):
    root = TREES["yolo"](tmp_path)
    written(root / "data.yaml", f"names: [ant, bee]\n{entries}".encode())
    for i in (4, 5):
        (root / "images" / "val" / f"{i}.png").unlink()
    if not entries:
        for folder in ("images", "labels"):
            for path in (root / folder / "train").iterdir():
                path.rename(root / folder / path.name)
    train, val = (read("yolo", root, split, val_share=0.3) for split in ("train", "val"))
    assert (len(train), len(val), set(train.names) & set(val.names)) == (3, 1, set())
    assert train.origin["drawn"] == {"share": 0.3, "seed": 0}


def test_one_folder_for_both_splits_of_yolo_is_refused(tmp_path):
    lines = b"names: [ant, bee]\ntrain: images/train\nval: images/train\n"
    written(TREES["yolo"](tmp_path) / "data.yaml", lines)
    with pytest.raises(DataError, match=r"4 images are in both train and val, such as images/train/0.png"):
        read("yolo", tmp_path)


TABLES = {
    "no header": "0.png,4,6,24,30,ant\n1.png,20,10,50,34,bee\n",
    "header in another order": "class;ymax;xmax;ymin;xmin;Image Name\nant;30;24;6;4;0.png\nbee;34;50;10;20;1.png\n",
    "corners by number": "path\tx1\ty1\tx2\ty2\tlabel\n0.png\t4\t6\t24\t30\tant\n1.png\t20\t10\t50\t34\tbee\n",
    "of TensorFlow": "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    "0.png,52,40,ant,4,6,24,30\n1.png,52,40,bee,20,10,50,34\n",
    "mark, CRLF and blank lines": "\ufefffile,xmin,ymin,xmax,ymax,class\r\n0.png,4,6,24,30,ant\r\n\r\n"
    '"1.png",20,10,50,34,"bee"\r\n\r\n',
    "a background": "0.png,4,6,24,30,ant\n2.png,,,,,\n1.png,20,10,50,34,bee\n",
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_boxes_are_read_whatever_their_columns_are_called(tmp_path, case):
    for i in range(4):
        picture(tmp_path / "images" / f"{i}.png", i)
    written(tmp_path / "train.csv", TABLES[case].encode())
    written(tmp_path / "val.csv", b"3.png,1,2,3,4,bee\n")
    train, val = (read("boxes_csv", tmp_path, split) for split in ("train", "val"))
    assert train.info.classes == val.info.classes == ("ant", "bee")
    assert [train[i]["boxes"].tolist() for i in (0, 1)] == [[ANT], [BEE]]
    assert [train[i]["labels"].tolist() for i in range(len(train))] == [[0], [1], []][: len(train)]
    assert (len(train), len(val), val[0]["labels"].tolist()) == (2 + (case == "a background"), 1, [1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.png,4,6,24,30,ant\n0.png,4,6,24,30\n", "boxes.csv line 2: 5 columns, the first line has 6"),
        ("0.png,4,6,24,30,ant\n0.png,4,6,24,30,\n", "boxes.csv line 2: has no class"),
        ("0.png,4,6,24,30,ant\n,4,6,24,30,ant\n", "boxes.csv line 2: has no file"),
        ("file,x,y,w,h,class\n0.png,4,6,24,30,ant\n", "has no column xmin, ymin, xmax, ymax; expected file, xmin"),
        ("file,xmin,x1,ymin,xmax,ymax,class\n", "which has two columns for xmin"),
        ("", "boxes.csv is empty"),
        ("file,xmin,ymin,xmax,ymax,class,width,height\n0.png,4,6,24,30,ant,0,9\n", "the image has '0'x'9' pixels"),
        (
            "file,xmin,ymin,xmax,ymax,class,width,height\n0.png,4,6,24,30,ant,52,40\n0.png,4,6,24,30,bee,40,52\n",
            "boxes.csv line 2 has 52x40 pixels for 0.png and boxes.csv line 3 has 40x52: correct one",
        ),
    ],
)
def test_row_that_is_no_box_is_refused_with_its_line(tmp_path, text, says):
    picture(tmp_path / "0.png", 0)
    written(tmp_path / "boxes.csv", text.encode())
    with pytest.raises(DataError) as caught:
        read("boxes_csv", tmp_path, "val", val_share=1.0)
    assert says in str(caught.value)


def test_image_of_a_row_is_looked_for_once_and_missing_ones_are_named(tmp_path):
    root = TREES["boxes_csv"](tmp_path)
    reader = read("boxes_csv", root, "val", val_share=1.0)
    assert reader.names == [f"images/{name}/{i}.png" for name in ("ant", "bee") for i in range(6)]
    assert [reader[i]["labels"].tolist() for i in (0, 6)] == [[0], [1]]
    (root / "images" / "bee" / "3.png").unlink()
    reader = read("boxes_csv", root, "val", val_share=1.0)
    assert reader.faults == [("3.png", "there is no such image; annotations/bee.csv line 4 names it")]
    picture(root / "images" / "4.png", 50)
    with pytest.raises(DataError, match=r"names 4.png, which is images/4.png and images/ant/4.png: write the path"):
        read("boxes_csv", root, "val", val_share=1.0)


def test_lists_of_two_splits_share_no_image(tmp_path):
    picture(tmp_path / "0.png", 0)
    for name in ("train", "val"):
        written(tmp_path / f"{name}.csv", b"0.png,4,6,24,30,ant\n")
    with pytest.raises(DataError, match=r"1 images are in both train and val, such as 0.png"):
        read("boxes_csv", tmp_path)


def test_birds_have_species_box_and_parts(tmp_path):
    train, test = (read("cub", TREES["cub"](tmp_path), split) for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 2)
    assert train.info.classes == ("001.Ani", "002.Auklet")
    assert (train.info.keypoints, train.info.flip_pairs) == (("beak", "left eye", "right eye"), ((1, 2),))
    sample = train[1]
    assert sample["label"].tolist() == sample["labels"].tolist()[0] == 1
    assert sample["boxes"].tolist() == [[4, 6, 24, 30]]
    assert sample["keypoints"].tolist() == [[8, 9.5], [10, 8], [0, 0]]
    assert sample["visible"].tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("bounding_boxes.txt", "5 4.0", "5 x", "line 2 is '5 x 6.0 20.0 24.0'; expected 5 finite numbers"),
        ("bounding_boxes.txt", "5 4.0", "6 4.0", "image 5 is in one of bounding_boxes.txt and images.txt only"),
        ("image_class_labels.txt", "5 2", "5 3", "image 5 has another number than expected: a number of classes.txt"),
        ("train_test_split.txt", "5 1", "5 2", "image 5 has another number than expected: 1 for training or 0"),
        ("images.txt", "5 002.Auklet", "5 ../002.Auklet", "images.txt names 'images/../002.Auklet/1.png'"),
        ("parts/part_locs.txt", "5 1 8.0 9.5 1", "5 1 8.0 9.5 3", "image 5, part 1, visible 3; expected"),
        ("classes.txt", "2 002", "1 002", "line 2 is '1 002.Auklet'; expected a number that no other line has"),
    ],
)
def test_file_of_birds_that_makes_no_sense_is_named(tmp_path, file, old, new, says):
    path = TREES["cub"](tmp_path) / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        read("cub", tmp_path)
    assert says in str(caught.value)


def test_part_beside_its_image_is_hidden_and_said(tmp_path):
    path = TREES["cub"](tmp_path) / "parts" / "part_locs.txt"
    path.write_text(path.read_text().replace("5 1 8.0 9.5 1", "5 1 8.0 40.0 1"))
    reader = read("cub", tmp_path)
    assert reader[1]["visible"].tolist() == [False, True, False]
    assert reader.notes == [
        "1 visible parts lie beside their image, such as of images/002.Auklet/1.png: taken for hidden"
    ]


SETS = {  # images and boxes by class of train and val
    "bccd": (
        *("voc", "bccd/BCCD", ("Platelets", "RBC", "WBC")),
        {"train": (205, [209, 2381, 214]), "val": (87, [83, 967, 87])},
    ),
    "fruitveg": (
        *("voc", "fruitveg_loc", ("cucumber", "eggplant", "mushroom")),
        {"train": (112, [34, 37, 41]), "val": (28, [12, 9, 7])},
    ),
    "caltech": (
        *("boxes_csv", "caltech101_loc3", ("airplane", "face", "motorcycle")),
        {"train": (376, [148, 87, 141]), "val": (94, [32, 23, 39])},
    ),
    "birds": (*("cub", "cub200_10", None), {"train": (140, 7 * [14]), "val": (36, [4, 4, 4, 4, 2, 2, 4, 4, 4, 4])}),
    "coco": (*("coco_instances", "coco_mini", None), {"train": (76, 877), "val": (30, 298)}),
}


@pytest.mark.data
@pytest.mark.parametrize("case", SETS)
def test_real_sets_have_the_boxes_that_their_makers_count(shared_data, case):
    """Of BCCD two boxes are a single pixel, one in each split."""
    name, folder, classes, parts = SETS[case]
    for split, (images, counts) in parts.items():
        reader = read(name, shared_data / folder, split)
        labels = torch.cat([reader.targets(i)["labels"] for i in range(len(reader))])
        assert (len(reader), reader.faults) == (images, [])
        assert classes is None or reader.info.classes == classes
        if isinstance(counts, int):
            assert len(labels) == counts
        else:
            assert torch.bincount(labels).tolist()[: len(counts)] == counts
        assert any("1 of" in note and "no extent" in note for note in reader.notes) == (case == "bccd")


def test_names_by_number_are_in_the_order_of_the_numbers(tmp_path):
    written(TREES["yolo"](tmp_path) / "data.yaml", b"names:\n  1: bee\n  0: ant\n")
    assert read("yolo", tmp_path).info.classes == ("ant", "bee")


def test_label_file_is_below_the_last_folder_of_images(tmp_path):
    root = TREES["yolo"](tmp_path)
    (root / "images" / "train").rename(root / "images" / "images")
    (root / "labels" / "train").rename(root / "images" / "labels")
    written(root / "data.yaml", b"names: [ant, bee]\ntrain: images/images\nval: images/val\n")
    assert read("yolo", root)[0]["labels"].tolist() == [0, 1]


def test_box_of_voc_that_is_one_pixel_is_a_click_and_left_out(tmp_path):
    text = voc_text(("ant", (20, 30, 20, 30)), ("ant", (5, 7, 6, 8)), size=(HEIGHT, WIDTH))
    written(TREES["voc"](tmp_path) / "Annotations" / "1.xml", text.encode())
    assert read("voc", tmp_path)[1]["boxes"].tolist() == [[4, 6, 6, 8]]
