"""A split that a set of boxes states, by whatever name, is used or refused, never trained on in silence."""

import pytest

from tests.data.readers.box_trees import picture
from tests.data.readers.files import written
from tests.data.readers.trees import TREES
from unpool.data.readers import READERS
from unpool.errors import DataError


def read(name, root, split="train", **options):
    return READERS[name](root, split, **options)


@pytest.mark.parametrize("names", [("Train", "Validation", "Test"), ("training", "valid", "TESTING")])
@pytest.mark.parametrize("name", ["voc", "boxes_csv"])
def test_list_of_a_split_is_used_by_each_of_its_names_in_any_case(tmp_path, name, names):
    if name == "voc":
        root, line = TREES["voc"](tmp_path), "{}\n"
        for path in (root / "ImageSets" / "Main").iterdir():
            path.unlink()
    else:
        root, line = tmp_path, "{}.png,4,6,24,30,ant\n"
        for i in range(6):
            picture(root / f"{i}.png", i)
    folder, suffix = (root / "ImageSets" / "Main", "txt") if name == "voc" else (root, "csv")
    for part, numbers in zip(names, ("012", "34", "5"), strict=True):
        written(folder / f"{part}.{suffix}", "".join(map(line.format, numbers)).encode())
    readers = [read(name, root, split) for split in ("train", "val", "test")]
    assert [len(reader) for reader in readers] == [3, 2, 1]
    assert [reader.origin["drawn"] for reader in readers] == [None] * 3


@pytest.mark.parametrize("name", ["val_2", "test_labels", "valid-annotations", "Evaluation"])
def test_list_that_means_a_split_under_another_name_is_refused(tmp_path, name):
    split = "test" if "test" in name else "val"
    says = rf"{name}.(txt|csv) seems to list the images of {split} and would not be used: rename it to {split}\."
    voc, tables = TREES["voc"](tmp_path / "voc"), tmp_path / "csv"
    written(voc / "ImageSets" / "Main" / f"{name}.txt", b"5\n")
    for part in ("train", name):
        written(tables / f"{part}.csv", b"0.png,4,6,24,30,ant\n")
    for reader, root in (("voc", voc), ("boxes_csv", tables)):
        with pytest.raises(DataError, match=says):
            read(reader, root)


def test_two_lists_of_one_split_are_refused(tmp_path):
    written(TREES["voc"](tmp_path) / "ImageSets" / "Main" / "valid.txt", b"3\n")
    with pytest.raises(DataError, match=r"Main holds val.txt and valid.txt, both lists of val: move one"):
        read("voc", tmp_path)


@pytest.mark.parametrize("folder", ["val2017", "Testing", "valid"])
def test_images_in_a_folder_of_another_split_are_not_drawn_from(tmp_path, folder):
    voc, tables, yolo = (tmp_path / name for name in ("voc", "csv", "yolo"))
    for i in range(4):
        inside = f"{folder if i > 2 else 'train2017'}/{i}.png"
        for path in (voc / "JPEGImages", tables / "images", yolo / "pictures"):
            picture(path / inside, i)
        written(tables / "boxes.csv", b"".join(b"train2017/%d.png,4,6,24,30,ant\n" % i for i in range(3)))
    with (tables / "boxes.csv").open("a") as file:
        file.write(f"{folder}/3.png,4,6,24,30,ant\n")
    written(yolo / "data.yaml", b"train: pictures\nnames: [ant]\n")
    for name, root in (("voc", voc), ("boxes_csv", tables), ("yolo", yolo)):
        with pytest.raises(DataError, match=f"lie in a folder '{folder}', which is called as one of"):
            read(name, root)


@pytest.mark.parametrize(("split", "folder"), [("val", "valid"), ("val", "Val"), ("test", "test")])
def test_split_of_yolo_that_data_yaml_does_not_name_is_the_folder_that_is_there(tmp_path, split, folder):
    root = TREES["yolo"](tmp_path)
    for kind in ("images", "labels"):
        (root / kind / "val").rename(root / kind / folder)
    written(root / "data.yaml", b"train: images/train\nnames: [ant, bee]\n")
    reader = read("yolo", root, split)
    assert reader.names == [f"images/{folder}/{i}.png" for i in (4, 5)]
    assert f"data.yaml names no {split}: images/{folder} is taken for it" in reader.notes
    if split == "val":
        assert (len(read("yolo", root)), read("yolo", root).origin["drawn"]) == (4, None)
    picture(root / folder / "images" / "6.png", 6)
    with pytest.raises(DataError, match=f"images/{folder} and {folder}/images hold images of {split}: name one"):
        read("yolo", root, split)


@pytest.mark.parametrize("through", ["..", "link"])
def test_absolute_path_in_data_yaml_is_below_the_root_however_it_is_written(tmp_path, through):
    root = TREES["yolo"](tmp_path / "set")
    if through == "link":
        (tmp_path / "link").symlink_to(root)
        folder = tmp_path / "link"
    else:
        folder = tmp_path / "other" / ".." / "set"
    entries = f"train: {folder}/images/train\nval: {folder}/val.txt\nnames: [ant, bee]\n"
    written(root / "data.yaml", entries.encode())
    written(root / "val.txt", f"{folder}/images/val/4.png\n".encode())
    assert [len(read("yolo", root, split)) for split in ("train", "val")] == [4, 1]


def test_note_on_the_path_of_a_split_is_that_of_its_reader(tmp_path):
    lines = b"train: ../images/train\nval: ../images/val\nnames: [ant, bee]\n"
    written(TREES["yolo"](tmp_path) / "data.yaml", lines)
    for split in ("train", "val"):
        notes = [note for note in read("yolo", tmp_path, split).notes if "read as" in note]
        assert notes == [f"data.yaml gives '../images/{split}' for {split}, read as images/{split} below data.root"]


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"train": "0123", "val": "45"}, {"train": 4, "val": 2, "test": None}),
        ({"train": "012", "trainval": "01234", "val": "34", "test": "5"}, {"train": 3, "val": 2, "test": 1}),
        ({"train": "01234"}, {"train": 4, "val": 1, "test": None}),
        ({"trainval": "01234"}, {"train": 4, "val": 1, "test": None}),
        ({}, {"train": 5, "val": 1, "test": None}),
        ({"person_train": "0", "default": "1"}, {"train": 5, "val": 1, "test": None}),
        ({"val": "45"}, {"train": None, "val": 2, "test": None}),
    ],
)
def test_voc_uses_the_lists_that_there_are_and_draws_what_there_is_none_of(tmp_path, lists, splits):
    root = TREES["voc"](tmp_path)
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    for name, numbers in lists.items():
        written(root / "ImageSets" / "Main" / f"{name}.txt", "\n".join(numbers).encode())
    readers = {split: read("voc", root, split) for split, count in splits.items() if count}
    assert {split: len(reader) for split, reader in readers.items()} == {s: n for s, n in splits.items() if n}
    assert {s: reader.origin["drawn"] is not None for s, reader in readers.items()} == {
        s: s != "test" and "val" not in lists for s in readers
    }
    names = [name for reader in readers.values() for name in reader.names]
    assert len(names) == len(set(names))
    for split, count in splits.items():
        if count is None:
            with pytest.raises(DataError, match=f"no {split} split; looked for ImageSets/Main/{split}.txt"):
                read("voc", root, split)


@pytest.mark.parametrize("lists", [{"train": "012", "val": "23"}, {"trainval": "01234", "val": "45"}])
def test_voc_never_trains_on_images_that_it_measures_on(tmp_path, lists):
    root = TREES["voc"](tmp_path)
    (root / "ImageSets" / "Main" / "train.txt").unlink()
    for name, numbers in lists.items():
        written(root / "ImageSets" / "Main" / f"{name}.txt", "\n".join(numbers).encode())
    for split in ("train", "val"):
        with pytest.raises(
            DataError, match=r"1 images are in both (train and val|val and train), such as \d; expected"
        ):
            read("voc", root, split)
