"""One folder a class, in all the shapes that people have it."""

import logging
import os
import shutil
import time
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import pytest

from unpool.data.classes import match
from unpool.data.label_counts import require_labels
from unpool.data.readers import READERS
from unpool.data.readers.folder import Folder
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError


def flat(root: Path, image, *, count: int = 10, classes: tuple[str, ...] = ("ant", "bee")) -> Path:
    for name in classes:
        for i in range(count):
            image(root / name / f"{i:02d}.png")
    return root


def split(root: Path, image, *, splits: tuple[str, ...] = ("train", "val")) -> Path:
    for name in splits:
        flat(root / name, image, count=2)
    return root


def test_labels_are_the_places_of_sorted_class_folders(tmp_path, image):
    reader = Folder(split(tmp_path, image), "train")
    assert reader.info.classes == ("ant", "bee")
    assert [int(reader[i]["label"]) for i in range(len(reader))] == [0, 0, 1, 1]
    assert reader[0]["image"].shape == (3, 6, 8)


def test_val_folder_is_the_val_split_and_train_keeps_all(tmp_path, image, untouched):
    root = split(tmp_path, image)
    untouched()
    train, val = Folder(root, "train"), Folder(root, "val")
    assert train.names == ["train/ant/00.png", "train/ant/01.png", "train/bee/00.png", "train/bee/01.png"]
    assert val.names == ["val/ant/00.png", "val/ant/01.png", "val/bee/00.png", "val/bee/01.png"]
    assert train.origin["drawn"] is None
    scan(train)
    scan(val, memory=False)


@pytest.mark.parametrize("only", ["train", "val", "test"])
def test_root_with_only_the_split_asked_for_works(only, tmp_path, image):
    root = split(tmp_path, image, splits=(only,))
    assert len(Folder(root, only)) == (2 if only == "train" else 4)  # half of train is drawn for validation
    assert Folder(root, only, classes=["bee", "wasp", "ant"]).info.classes == ("bee", "wasp", "ant")


def test_missing_split_names_what_was_looked_for(tmp_path, image):
    root = split(tmp_path, image, splits=("train",))
    with pytest.raises(DataError, match=r"no test split; looked for test/<class>/\*\.jpg, testing/<class>"):
        Folder(root, "test")


@pytest.mark.parametrize("is_laid_out", [False, True])
def test_a_fifth_of_each_class_is_set_aside_where_there_is_no_val(is_laid_out, tmp_path, image):
    flat(tmp_path / "train" if is_laid_out else tmp_path, image, count=10)
    train, val = Folder(tmp_path, "train"), Folder(tmp_path, "val")
    assert (len(train), len(val)) == (16, 4)
    assert set(train.names).isdisjoint(val.names)
    assert [int(val[i]["label"]) for i in range(4)] == [0, 0, 1, 1]
    assert val.origin["drawn"] == {"share": 0.2, "seed": 0}
    assert scan(val).manifest["names"] == val.names


def test_the_fifth_is_a_function_of_names_and_seed(tmp_path, image):
    flat(tmp_path, image, count=20)
    first = Folder(tmp_path, "val").names
    assert Folder(tmp_path, "val").names == first
    assert Folder(tmp_path, "val", seed=1).names != first
    image(tmp_path / "ant" / "extra.png")
    assert len(set(first) - set(Folder(tmp_path, "val").names)) <= 1


def test_val_that_rounds_to_nothing_is_refused(tmp_path, image):
    flat(tmp_path, image, count=1)
    with pytest.raises(DataError, match=r"a share of 0\.2 set aside for validation leaves no image for val"):
        Folder(tmp_path, "val")


def test_the_whole_folder_can_be_the_val_split(tmp_path, image):
    assert len(Folder(flat(tmp_path, image), "val", val_share=1.0)) == 20


def test_all_of_a_flat_root_is_val_and_test_where_all_is_held_out(tmp_path, image):
    flat(tmp_path, image, count=3)
    val, test = (Folder(tmp_path, split, val_share=1) for split in ("val", "test"))
    assert val.names == test.names == [f"{name}/0{i}.png" for name in ("ant", "bee") for i in range(3)]
    with pytest.raises(DataError, match="a share of 1 set aside for validation leaves no image for train"):
        Folder(tmp_path, "train", val_share=1)


def test_flat_root_has_no_test_split_where_less_is_held_out(tmp_path, image):
    with pytest.raises(DataError, match=r"looked for test/<class>/\*\.jpg, testing/<class>/\*\.jpg: check"):
        Folder(flat(tmp_path, image), "test", val_share=0.99)


def test_train_folder_is_no_test_split_where_all_is_held_out(tmp_path, image):
    root = split(tmp_path, image, splits=("train",))
    assert len(Folder(root, "val", val_share=1)) == 4
    with pytest.raises(DataError, match="no test split; looked for test/<class>"):
        Folder(root, "test", val_share=1)


def test_one_class_is_refused(tmp_path, image):
    with pytest.raises(DataError, match="1 class found: 'ant'; the set needs at least 2"):
        Folder(flat(tmp_path, image, classes=("ant",)), "train")


def test_classes_that_differ_between_splits_are_listed(tmp_path, image):
    root = split(tmp_path, image)
    image(root / "val" / "wasp" / "a.png")
    (root / "val" / "ant").rename(root / "val" / "Ant")
    with pytest.raises(DataError, match="'Ant' is in val only; 'wasp' is in val only; 'ant' is in train only"):
        Folder(root, "val")
    with pytest.raises(DataError, match="'ant' is in train only"):
        Folder(root, "val", classes=["ant", "bee", "Ant", "wasp"])
    assert len(Folder(root, "train")) == 4


def test_class_numbers_come_from_the_run_not_from_the_folders(tmp_path, image):
    root = split(tmp_path, image)
    reader = Folder(root, "val", classes=["bee", "ant"])
    assert reader.info.classes == ("bee", "ant")
    assert [int(reader[i]["label"]) for i in range(4)] == [1, 1, 0, 0]


def test_folder_the_run_does_not_know_is_refused_with_its_neighbour(tmp_path, image):
    with pytest.raises(DataError, match=r"unknown classes 'bee' \(did you mean 'bees'\?\); expected names among"):
        Folder(split(tmp_path, image), "val", classes=["ant", "bees"])


def test_names_that_yaml_or_a_sheet_would_read_stay_names(tmp_path, image):
    names = ("1e3", "=cmd", "012", "no", "null", "on")
    flat(tmp_path, image, classes=names)
    assert Folder(tmp_path, "train").info.classes == tuple(sorted(names))


def test_class_names_that_differ_in_case_are_told(tmp_path, image):
    reader = Folder(flat(tmp_path, image, classes=("Cat", "cat")), "train")
    assert reader.info.classes == ("Cat", "cat")
    assert "classes 'Cat' and 'cat' differ in case only" in reader.notes


def test_composed_and_decomposed_spellings_are_one_class(tmp_path, image):
    composed, decomposed = (unicodedata.normalize(form, "Käfer") for form in ("NFC", "NFD"))
    flat(tmp_path / "train", image, classes=(composed, "ant"), count=2)
    flat(tmp_path / "val", image, classes=("ant", decomposed), count=2)
    assert Folder(tmp_path, "val").info.classes == (composed, "ant")
    flat(tmp_path / "train", image, classes=(decomposed,), count=2)
    reader = Folder(tmp_path, "train")
    assert reader.info.classes == (composed, "ant")
    assert len(reader) == 6
    assert any("spelt in two ways" in note for note in reader.notes)


def test_all_spellings_of_suffixes_are_found_and_case_clashes_told(tmp_path, image):
    for name in ("A.JPG", "b.Jpeg", "c.PNG", "d.jpg.png", "a.jpg"):
        image(tmp_path / "val" / "ant" / name)
        image(tmp_path / "val" / "bee" / name.lower())
    reader = Folder(tmp_path, "val")
    assert [Path(name).name for name in reader.names[:5]] == ["A.JPG", "a.jpg", "b.Jpeg", "c.PNG", "d.jpg.png"]
    assert "file names differ in case only: A.JPG and a.jpg" in reader.notes


def test_junk_is_ignored_and_counted(tmp_path, image):
    root = split(tmp_path, image, splits=("val",))
    for junk in (".DS_Store", "._00.png", "Thumbs.db", ".ipynb_checkpoints/00.png", "notes.txt"):
        image(root / "val" / "ant" / junk)
    reader = Folder(root, "val")
    assert len(reader) == 4
    assert reader.origin["ignored"] == 5
    image(root / "val" / ".cache" / "a.png")
    assert Folder(root, "val").info.classes == ("ant", "bee")


def test_drawn_val_has_an_image_of_each_class_of_two_or_more(tmp_path, image):
    for name, count in (("ant", 12), ("bee", 2), ("cat", 1)):
        flat(tmp_path, image, classes=(name,), count=count)
    train, val = (Folder(tmp_path, split) for split in ("train", "val"))
    assert [int(label) for label in (val.targets(i)["label"] for i in range(len(val)))] == [0, 0, 1]
    assert len(train) == 12
    assert set(train.names).isdisjoint(val.names)


def test_draw_of_classes_that_had_an_image_each_is_as_it_was(tmp_path, image):
    flat(tmp_path, image, count=13)
    assert Folder(tmp_path, "val").names == [f"{name}/{i}.png" for name, i in DRAWN_OF_13]


DRAWN_OF_13 = [("ant", "02"), ("ant", "03"), ("ant", "06"), ("bee", "02"), ("bee", "05"), ("bee", "12")]


def test_empty_folder_keeps_its_class(tmp_path, image):
    root = split(tmp_path, image)
    (root / "train" / "aardvark").mkdir()
    (root / "train" / "aardvark" / ".DS_Store").touch()
    image(root / "val" / "aardvark" / "a.png")
    (root / "val" / "bee" / "00.png").unlink()
    (root / "val" / "bee" / "01.png").unlink()
    train, val = Folder(root, "train"), Folder(root, "val")
    assert train.info.classes == val.info.classes == ("aardvark", "ant", "bee")
    assert [int(train.targets(i)["label"]) for i in range(len(train))] == [1, 1, 2, 2]
    assert [int(val.targets(i)["label"]) for i in range(len(val))] == [0, 1, 1]


def test_empty_folder_of_val_alone_is_no_class(tmp_path, image):
    root = split(tmp_path, image)
    (root / "val" / "wasp").mkdir()
    assert Folder(root, "val").info.classes == ("ant", "bee")
    (root / "train" / "wasp").mkdir()
    (root / "val" / "wasp").rmdir()
    assert Folder(root, "val").info.classes == ("ant", "bee", "wasp")


def test_folder_of_other_files_is_no_class_and_told(tmp_path, image):
    root = split(tmp_path, image)
    (root / "train" / "notes").mkdir()
    (root / "train" / "notes" / "a.txt").touch()
    reader = Folder(root, "train")
    assert reader.info.classes == ("ant", "bee")
    assert "folder 'notes' holds files and no image, so it is no class" in reader.notes


def test_images_outside_of_class_folders_are_told(tmp_path, image):
    root = split(tmp_path, image, splits=("val",))
    image(root / "val" / "stray.png")
    assert any("1 images lie outside of the class folders, such as stray.png" in n for n in Folder(root, "val").notes)


def test_equal_names_in_different_folders_stay_apart(tmp_path, image):
    for folder in ("ant/a", "ant/b", "bee"):
        image(tmp_path / "val" / folder / "same.png")
    reader = Folder(tmp_path, "val")
    assert reader.names == ["val/ant/a/same.png", "val/ant/b/same.png", "val/bee/same.png"]
    assert len({int(reader[i]["image"][0, 0, 0]) for i in range(3)}) == 3


def test_order_is_that_of_names_whatever_the_file_system_says(tmp_path, image, monkeypatch):
    root = split(tmp_path, image)
    image(root / "train" / "ant" / "0" / "z.png")
    listed = os.scandir

    @contextmanager
    def backwards(path):
        with listed(path) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr(os, "scandir", backwards)
    names = Folder(root, "train").names
    assert names[:3] == ["train/ant/0/z.png", "train/ant/00.png", "train/ant/01.png"]
    assert names[3:] == ["train/bee/00.png", "train/bee/01.png"]


def test_links_are_followed_once_and_loops_and_dangling_ones_are_left_out(tmp_path, image):
    root = split(tmp_path, image, splits=("val",))
    ant = root / "val" / "ant"
    (ant / "file.png").symlink_to(ant / "00.png")
    (ant / "loop").symlink_to(ant)
    (ant / "self.png").symlink_to(ant / "self.png")
    (ant / "gone.png").symlink_to(tmp_path / "nowhere.png")
    elsewhere = image(tmp_path.parent / f"{tmp_path.name}-elsewhere" / "far.png").parent
    (ant / "a-link").symlink_to(elsewhere)
    (ant / "b-link").symlink_to(elsewhere)
    reader = Folder(root, "val")
    assert reader.names[:4] == ["val/ant/00.png", "val/ant/01.png", "val/ant/a-link/far.png", "val/ant/file.png"]
    reasons = {Path(fault.path).name: fault.reason for fault in reader.faults}
    assert reasons == {
        "loop": "symbolic link leads back to a folder that holds it",
        "self.png": "dangling symbolic link",
        "gone.png": "dangling symbolic link",
    }
    result = scan(reader)
    assert len(result.samples) == 6
    assert len(result.faults) == 3


def test_pipe_named_as_an_image_is_not_opened(tmp_path, image):
    root = split(tmp_path, image, splits=("val",))
    os.mkfifo(root / "val" / "ant" / "pipe.png")
    assert [fault.reason for fault in Folder(root, "val").faults] == ["not a regular file"]


def test_name_that_is_no_utf8_is_read_and_named_with_escapes(tmp_path, image):
    root = split(tmp_path, image, splits=("val",))
    (root / "val" / "ant" / "00.png").rename(Path(os.fsdecode(os.fsencode(root) + b"/val/ant/\xff.png")))
    reader = Folder(root, "val")
    assert "val/ant/\\xff.png" in reader.names
    result = scan(reader)
    assert len(result.samples) == 4
    "".join(result.manifest["names"]).encode("utf-8")


def test_missing_root_and_unknown_split_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere, which does not exist; give the folder"):
        Folder(tmp_path / "nowhere", "train")
    with pytest.raises(RecipeError, match="split is 'dev'; expected train, val or test"):
        Folder(tmp_path, "dev")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=r"data\.exif is 'ignor'; expected apply or ignore"):
        Folder(tmp_path, "train", exif="ignor")  # type: ignore[arg-type]


def test_empty_root_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no train split; looked for train/<class>"):
        Folder(tmp_path, "train")


@pytest.mark.data
def test_hymenoptera_is_read_with_its_palette_gif(shared_data):
    reader = READERS["folder"](shared_data / "hymenoptera", "train")
    assert len(reader) == 245
    assert "train/ants/imageNotFound.gif" in reader.names
    assert reader[reader.names.index("train/ants/imageNotFound.gif")]["image"].shape[0] == 3


def test_class_folder_of_damaged_files_alone_keeps_its_index_and_is_told(tmp_path, image, caplog):
    root = flat(tmp_path, image, classes=("ant", "cow"))
    (root / "bee").mkdir()
    for i in range(3):
        (root / "bee" / f"{i}.jpg").write_bytes(b"not an image %d" % i)
    reader = Folder(root, "train")
    assert reader.info.classes == ("ant", "bee", "cow")
    with caplog.at_level(logging.WARNING):
        result = scan(reader)
        require_labels(result.counts, ("label",))
    assert result.counts.by_class("label").tolist() == [8, 0, 8]
    assert len(result.faults) == 2
    assert any("1 of 3 classes is in no label of the training set: 'bee'; nothing of it" in m for m in caplog.messages)


def test_class_folder_of_dangling_links_or_hidden_files_is_told_or_keeps_its_index(tmp_path, image):
    root = flat(tmp_path, image, classes=("ant", "cow"))
    for name in ("bee", "dog"):
        (root / name).mkdir()
    (root / "bee" / "a.png").symlink_to(tmp_path / "nowhere.png")
    (root / "dog" / ".ipynb_checkpoints").mkdir()
    image(root / "dog" / ".ipynb_checkpoints" / "a.png")
    reader = Folder(root, "train")
    assert reader.info.classes == ("ant", "cow", "dog")
    assert "folder 'bee' holds files and no image, so it is no class" in reader.notes


def test_val_without_a_class_folder_of_train_is_refused_by_name(tmp_path, image):
    root = split(tmp_path, image)
    for part in ("train", "val"):
        image(root / part / "cow" / "a.png")
    shutil.rmtree(root / "val" / "bee")
    with pytest.raises(DataError, match="the classes of train and val differ: 'bee' is in train only"):
        Folder(root, "val")


def test_folders_nested_too_deeply_are_named(tmp_path, image):
    root = flat(tmp_path, image)
    deep = root / "ant"
    for _ in range(700):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (fault,) = Folder(root, "train").faults
    assert fault.reason == "lies more than 100 folders deep: not read"


def test_ten_thousand_unknown_classes_are_refused_in_seconds(tmp_path):
    start = time.process_time()
    with pytest.raises(DataError, match=r"'class0'.* and 9980 more; expected names among"):
        match([f"class{i}" for i in range(10_000)], [f"Class {i}" for i in range(1000)], "set")
    assert time.process_time() - start < 10
