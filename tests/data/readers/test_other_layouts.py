"""Folders that mean something else than the reader would take them for: refused, with what fits."""

import re
import struct
import zlib
from pathlib import Path

import pytest

from unpool.data.readers import READERS
from unpool.data.readers.split_names import split_meant
from unpool.errors import DataError


def png(grey: int) -> bytes:
    """An image of 8 x 6 pixels, encoded by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header, rows = struct.pack(">IIBBBBB", 8, 6, 8, 0, 0, 0, 0), zlib.compress((b"\0" + bytes([grey] * 8)) * 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def grow(root: Path, *files: str) -> Path:
    """Writes each file: a small image where its name is that of one, else a line of text.

    `a*3.png` stands for a0.png, a1.png and a2.png; a name that ends in a slash is an empty folder.
    """
    for number, pattern in enumerate(files):
        stem, _, rest = pattern.partition("*")
        count, suffix = (int(rest[0]), rest[1:]) if rest else (1, "")
        for i in range(count):
            path = root / (f"{stem}{i}{suffix}" if rest else pattern)
            path.parent.mkdir(parents=True, exist_ok=True)
            if pattern.endswith("/"):
                path.mkdir()
            elif path.suffix in (".png", ".jpg"):
                path.write_bytes(png((20 * number + i) % 256))
            else:
                path.write_text("0 0.5 0.5 0.1 0.1\n")
    return root


REFUSED = {
    # what is on disk, and what the message must have
    "images and masks": (["images/a*3.jpg", "masks/a*3.png"], "use folder_unet with data.root=ROOT"),
    "imgs and gt": (["imgs/a*3.jpg", "gt/a*3.png"], "after renaming imgs to images and gt to masks"),
    "Images and Masks": (["Images/a*3.jpg", "Masks/a*3.png"], "after renaming Images to images and Masks to masks"),
    "masks and one more": (["images/a*3.jpg", "masks/a*3_mask.png", "overlays/a*3.jpg"], "use folder_unet with"),
    "masks of equal names": (["images/a*3.jpg", "masks/a*3.png", "raw/b*3.jpg"], "use folder_unet with data.root=ROOT"),
    "splits of them": (
        ["train/images/a*3.jpg", "train/masks/a*3.png", "val/images/b.jpg", "val/masks/b.png"],
        r"use folder_unet with data.root=ROOT\. If",
    ),
    "folds": (
        [f"fold{i}/{name}/{i}{name}*3.jpg" for i in (1, 2, 3) for name in ("ant", "bee")],
        r"'fold3' in ROOT hold the same folders, 'ant' and 'bee': .*data.classes=\[fold1,fold2,fold3\]",
    ),
    "YOLO": (
        ["images/a*3.jpg", "labels/a*3.txt"],
        r"images and their boxes \(YOLO\): use yolo_ssd with data.root=ROOT; for",
    ),
    "YOLO with splits": (["train/images/a*3.jpg", "train/labels/a*3.txt"], r"their boxes \(YOLO\)"),
    "COCO": (
        ["images/a*3.jpg", "annotations/instances.json"],
        "a set of COCO: use coco_fasterrcnn for boxes, or coco_simple_baselines",
    ),
    "VOC": (["JPEGImages/a*3.jpg", "Annotations/a*3.xml", "ImageSets/Main/t.txt"], r"their boxes \(PASCAL VOC\)"),
    "VOC with empty lists": (["JPEGImages/a*3.jpg", "Annotations/a*3.xml", "ImageSets/"], "a folder of its own$"),
    "VOC, nested": (
        ["VOC2007/JPEGImages/a*3.jpg", "VOC2007/Annotations/a*3.xml"],
        "set data.root=ROOT/VOC2007; .*boxes",
    ),
    "VOC masks": (
        ["JPEGImages/a*3.jpg", "Annotations/a*3.xml", "SegmentationClass/a*3.png"],
        "after renaming JPEGImages to images and SegmentationClass to masks",
    ),
    "a folder a sample": (
        ["0a/images/0a.png", "0a/masks/1.png", "0b/images/0b.png", "0b/masks/1.png"],
        "holds one sample",
    ),
    "Images and Label": (["Images/a*3.jpg", "Label/a*3.png"], "after renaming Images to images and Label to masks"),
    "rgb and seg": (["rgb/a*3.jpg", "seg/a*3.png"], "after renaming rgb to images and seg to masks"),
    "Cityscapes": (["leftImg8bit/a*3.png", "gtFine/a*3.png"], "after renaming leftImg8bit to images and gtFine"),
    "LR and HR": (["LR/a*3.png", "HR/a*3.png"], "same names, as images and their masks do, or pairs: use folder_unet"),
    "equal names, other suffix": (["x/a*3.jpg", "y/a*3.png"], "'x' and 'y' in ROOT hold files of the same names, as"),
    "equal names, no numbers": (
        [f"{side}/{name}.png" for side in ("x", "y") for name in ("ward", "hill", "lane")],
        r"or pairs_unet for pairs \(noisy, clean\). If .* all the same, set data.classes=\[x,y\]",
    ),
    "nine of ten names equal": (
        [f"{side}/{name}.png" for side, names in (("x", "abcdefghij"), ("y", "abcdefghiz")) for name in names],
        "'x' and 'y' in ROOT hold files of the same names, as",
    ),
    "masks beside their images": (
        ["good/a*4.png", "good/a0_mask.png", "good/a1_mask_1.png", "bad/b*4.png"],
        r"good holds 2 masks beside their images, such as a0_mask.png, .*set data.classes=\[bad,good\]",
    ),
    "one class": (["ant/a*3.jpg"], "1 class found: 'ant'; the set needs at least 2"),
    "one class and an empty one": (["ant/a*3.jpg", "bee/"], "1 class found: 'ant'"),
    "nested": (["dataset/ant/a*3.jpg", "dataset/bee/b*3.jpg"], "set data.root=ROOT/dataset"),
    "nested splits": (["data/train/ant/a*3.jpg", "data/train/bee/b*3.jpg"], "set data.root=ROOT/data"),
    "nested masks": (["set/images/a*3.jpg", "set/masks/a*3.png"], "set data.root=ROOT/set; .* use folder_unet"),
    "nested beside junk": (["set/ant/a.jpg", "set/bee/b.jpg", "__MACOSX/set/a.jpg"], "set data.root=ROOT/set"),
    "splits in another case": (
        ["Train/ant/a*3.jpg", "Train/bee/b.jpg", "Test/ant/c.jpg", "Test/bee/d.jpg"],
        "are splits: rename 'Test' to 'test' and 'Train' to 'train'",
    ),
    "one split in another case": (["TRAIN/ant/a*3.jpg", "TRAIN/bee/b.jpg"], "rename 'TRAIN' to 'train'"),
    "splits as in COCO": (["train2017/ant/a*3.jpg", "val2017/ant/b.jpg"], "rename 'train2017' to 'train'"),
    "splits misspelt": (
        ["trian/ant/a*3.jpg", "trian/bee/a.jpg", "vaild/ant/b.jpg", "vaild/bee/b.jpg"],
        "'vaild' to 'val'",
    ),
    "val misspelt": (
        ["train/ant/a*3.jpg", "train/bee/a*3.jpg", "vaild/ant/b.jpg", "vaild/bee/b.jpg"],
        "ROOT/vaild is not used, since the folder of val is called val, valid or validation",
    ),
    "splits without classes": (
        ["train/a*3.jpg", "test/b*3.jpg"],
        r"splits without class folders: put .*<class>/\*\.jpg",
    ),
    "images alone": (["a*3.jpg"], "3 images lie in ROOT itself, such as a0.jpg: .* are for folder_dncnn"),
    "train of images alone": (["train/a*3.jpg"], "1 class found: 'train'"),
    "one image a class": (["ant/a.jpg", "bee/b.jpg", "cat/c.jpg"], "leaves no image for val"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_folder_of_classes_is_refused_with_what_fits(case, tmp_path):
    files, message = REFUSED[case]
    root = grow(tmp_path / "set here", *files)
    with pytest.raises(DataError, match=message.replace("ROOT", re.escape(str(root)))):
        [READERS["folder"](root, split) for split in ("train", "val")]


ACCEPTED = {
    "numbers as names": (["cat/*8.jpg", "dog/*8.jpg"], ("cat", "dog"), "'cat' and 'dog' in ROOT hold files of the"),
    "high numbers as names": (
        [f"{side}/img_{number}.jpg" for side in ("cat", "dog") for number in range(101, 109)],
        ("cat", "dog"),
        "'cat' and 'dog' in ROOT hold files of the",
    ),
    "numbers as names of three": (["ant/*8.jpg", "cat/*8.jpg", "dog/*8.jpg"], ("ant", "cat", "dog"), None),
    "plain": (["ant/a*4.jpg", "bee/b*4.jpg"], ("ant", "bee"), None),
    "eight of ten names equal": (
        [f"{side}/{name}.png" for side, names in (("x", "abcdefghij"), ("y", "abcdefghyz")) for name in names],
        ("x", "y"),
        None,
    ),
    "two names equal": ([f"{side}/{name}.png" for side in ("x", "y") for name in ("ward", "hill")], ("x", "y"), None),
    "names near to splits": (["brain/a*4.jpg", "grain/a*4.jpg", "trains/b*4.jpg"], ("brain", "grain", "trains"), None),
    "one name of a split": (["evaluation/a*4.jpg", "cat/b*4.jpg"], ("cat", "evaluation"), None),
    "images among classes": (
        ["images/a*4.jpg", "cat/b*4.jpg"],
        ("cat", "images"),
        "folder 'images' beside class folders",
    ),
    "masks among classes": (
        ["images/a*4.jpg", "masks/b*4.jpg", "hats/c*4.jpg"],
        ("hats", "images", "masks"),
        "'images'",
    ),
    "a class that holds a set": (["cat/images/a*4.jpg", "cat/masks/b*4.jpg", "dog/c*4.jpg"], ("cat", "dog"), None),
    "all among classes": (["all/a*4.jpg", "cat/b*4.jpg"], ("all", "cat"), "folder 'all' beside class folders is taken"),
    "nested within classes": (["cat/young/a*4.jpg", "cat/old/b*4.jpg", "dog/young/a*4.jpg"], ("cat", "dog"), None),
    "groups of classes": (
        ["animals/ant/a*4.jpg", "animals/bee/b*4.jpg", "plants/oak/c*4.jpg", "plants/elm/d*4.jpg"],
        ("animals", "plants"),
        "such as animals/ant, plants/elm: the outer ones are taken for the classes",
    ),
    "faces": (
        [*(f"Person {letter}/a.jpg" for letter in "ABCDE"), "Person F/a*4.jpg"],
        tuple(f"Person {letter}" for letter in "ABCDEF"),
        "5 of 6 classes have one image each, which is not enough to learn one",
    ),
    "more than splits": (
        ["train/ant/a*4.jpg", "train/bee/b*4.jpg", "extra/c.jpg"],
        ("ant", "bee"),
        "'extra' holds images",
    ),
    "unlabelled test images": (
        ["train/ant/a*4.jpg", "train/bee/b*4.jpg", "test1/c*4.jpg"],
        ("ant", "bee"),
        "folder 'test1' holds images and is of no split: not used",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_may_be_classes_is_read_and_what_is_doubtful_told(case, tmp_path):
    files, classes, note = ACCEPTED[case]
    root = grow(tmp_path, *files)
    note = note and note.replace("ROOT", str(root))
    train, val = (READERS["folder"](root, split) for split in ("train", "val"))
    assert train.info.classes == val.info.classes == classes
    assert [one for one in train.notes if note is None or note not in one] == []
    assert bool(train.notes) == (note is not None)


@pytest.mark.parametrize("names", [("images", "masks"), ("Test", "Train"), ("train", "val")])
def test_classes_that_are_really_called_so_are_read_where_data_classes_names_them(names, tmp_path):
    root = grow(tmp_path, *(f"{name}/a*4.jpg" for name in names))
    with pytest.raises(DataError, match=re.escape(f"set data.classes=[{','.join(names)}]")):
        READERS["folder"](root, "train")
    for split, count in (("train", 6), ("val", 2)):
        reader = READERS["folder"](root, split, classes=list(names))
        assert reader.info.classes == names
        assert len(reader) == count


def test_reader_of_classes_does_not_advise_itself_where_a_split_is_missing(tmp_path):
    root = grow(tmp_path, "ant/a*4.jpg", "bee/b*4.jpg")
    with pytest.raises(DataError, match=r"no test split; looked for test/<class>.* check data.root and data.reader$"):
        READERS["folder"](root, "test")


OF_OTHER_READERS = {
    "classes as masks": ("folder_masks", ["ant/a*3.jpg", "bee/b*3.jpg"], "hold images each: if .* use folder_resnet18"),
    "splits of classes as masks": (
        "folder_masks",
        ["train/ant/a*3.jpg", "train/bee/b*3.jpg", "val/ant/a.jpg"],
        "r. The folders 'ant' and 'bee' in ROOT/train hold images each: if they are classes, use folder_resnet18",
    ),
    "nothing at all": ("folder_masks", ["notes/a.txt"], "check data.root and data.reader$"),
    "nested masks": ("folder_masks", ["set/images/a*3.jpg", "set/masks/a*3.png"], "set data.root=ROOT/set"),
    "misnamed masks": ("folder_masks", ["imgs/a*3.jpg", "gt/a*3.png"], "rename imgs to images and gt to masks"),
    "images alone as masks": ("folder_masks", ["a*3.jpg"], "3 images lie in ROOT itself"),
    "masks as photographs": (
        "images",
        ["images/a*3.jpg", "masks/a*3.png"],
        "set data.root=ROOT/images for the photographs",
    ),
    "pairs as photographs": (
        "images",
        ["noisy/a*3.jpg", "clean/a*3.jpg"],
        "are pairs: use pairs_unet with data.root=ROOT",
    ),
    "splits as photographs": (
        "images",
        ["Train/a*3.jpg", "Test/a*3.jpg"],
        "rename 'Test' to 'test' and 'Train' to 'train'",
    ),
    "val of masks misspelt": (
        "folder_masks",
        ["train/images/a*3.jpg", "train/masks/a*3.png", "vaild/images/b.jpg", "vaild/masks/b.png"],
        "ROOT/vaild is not used",
    ),
    "val below images misspelt": (
        "folder_masks",
        ["images/train/a*3.jpg", "masks/train/a*3.png", "images/vaild/b.jpg", "masks/vaild/b.png"],
        "ROOT/images/vaild is not used",
    ),
    "splits below images in another case": (
        "folder_masks",
        ["images/Train/a*3.jpg", "masks/Train/a*3.png", "images/Val/b*3.jpg", "masks/Val/b*3.png"],
        "ROOT/masks are splits, which would be mixed: rename 'Train' to 'train' and 'Val' to 'val' in both",
    ),
    "one split below images misspelt": (
        "folder_masks",
        ["images/trian/a*3.jpg", "masks/trian/a*3.png"],
        "rename 'trian' to 'train' in both",
    ),
    "val beside images": (
        "folder_masks",
        ["images/a*5.jpg", "masks/a*5.png", "val_images/b*5.jpg", "val_masks/b*5.png"],
        "ROOT/val_images is not used",
    ),
    "validate beside train of masks": (
        "folder_masks",
        ["train/images/a*5.jpg", "train/masks/a*5.png", "validate/images/b.jpg", "validate/masks/b.png"],
        "ROOT/validate is not used",
    ),
    "holdout beside train": (
        "folder",
        ["train/ant/a*3.jpg", "train/bee/b*3.jpg", "hold-out/ant/c.jpg", "hold-out/bee/d.jpg"],
        "ROOT/hold-out is not used",
    ),
    "val misspelt": ("images", ["train/a*3.jpg", "vaild/a*3.jpg"], "ROOT/vaild is not used"),
}


@pytest.mark.parametrize("case", OF_OTHER_READERS)
def test_other_readers_refuse_with_what_fits_too(case, tmp_path):
    reader, files, message = OF_OTHER_READERS[case]
    root = grow(tmp_path / "set", *files)
    (root / "classes.txt").write_text("ground\nplant\n")
    with pytest.raises(DataError, match=message.replace("ROOT", re.escape(str(root)))):
        READERS[reader](root, "train")


def test_masks_are_not_sent_to_the_recipe_that_refuses_them(tmp_path):
    for folders in (("images", "masks"), ("imgs", "masks")):
        root = grow(tmp_path / folders[0], *(f"{folder}/a*3.png" for folder in folders))
        with pytest.raises(DataError, match=": no test split;") as caught:
            READERS["folder_masks"](root, "test")
        assert "folder_unet" not in str(caught.value)
        assert ("rename imgs to images" in str(caught.value)) == ("imgs" in folders)


NOT_USED = {
    "folder": (["train/ant/a*5.jpg", "train/bee/b*5.jpg", "valid/ant/c.jpg", "valid/bee/d.jpg", "more/e.jpg"], "more"),
    "two of val": (["train/a*5.jpg", "val/b.jpg", "valid/c.jpg"], "valid"),
    "images": (["train/a*5.jpg", "val/b.jpg", "more/c.jpg", "notes/d.txt"], "more"),
    "masks": (["images/a*5.png", "masks/a*5.png", "more/c.png"], "more"),
    "splits of masks": (["train/images/a*5.png", "train/masks/a*5.png", "images/c.png"], "images"),
    "masks of splits": (["images/train/a*5.png", "masks/train/a*5.png", "images/more/c.png"], "more"),
}


@pytest.mark.parametrize("case", NOT_USED)
def test_folder_of_images_that_is_of_no_split_is_told_once(case, tmp_path):
    files, name = NOT_USED[case]
    root = grow(tmp_path, *files)
    (root / "classes.txt").write_text("".join(f"class {i}\n" for i in range(255)))
    reader = READERS["folder_masks" if "masks" in case else "folder" if case == "folder" else "images"]
    train, val = reader(root, "train"), reader(root, "val")
    assert [note for note in train.notes if f"folder '{name}' holds images and is of no split" in note]
    assert not [note for note in (train.notes + val.notes) if "no split" in note and f"'{name}'" not in note]
    assert not [note for note in val.notes if "no split" in note]


def test_photographs_in_class_folders_are_denoised_and_the_folders_told(tmp_path):
    reader = READERS["images"](grow(tmp_path, "ant/a*4.jpg", "bee/b*4.jpg"), "train")
    assert len(reader) == 6
    assert [note for note in reader.notes if "folder_resnet18" in note]
    assert READERS["images"](grow(tmp_path / "flat", "a*5.jpg"), "train").notes == []


@pytest.mark.parametrize(
    "name", ["trail", "drain", "rest", "text", "vale", "tasting", "straining", "tester", "latest", ""]
)
def test_words_near_to_a_split_mean_none(name):
    assert split_meant(name) is None
