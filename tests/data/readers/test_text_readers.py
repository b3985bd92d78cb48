"""Readers of captions and of texts: what they give, and what they refuse by name."""

import gzip
import json

import numpy as np
import pytest
import torch

from tests.data.readers.files import written
from tests.data.readers.text_trees import captions_csv, captions_of, coco_captions, flickr8k, folder_text, picture
from tests.data.readers.trees import idx, mnist
from unpool.data.readers import READERS
from unpool.data.readers.captions_csv import CaptionsCsv
from unpool.data.readers.coco_captions import CocoCaptions
from unpool.data.readers.digit_strings import DigitStrings
from unpool.data.readers.flickr8k import Flickr8k
from unpool.data.readers.folder_text import FolderText
from unpool.errors import DataError, RecipeError
from unpool.ops.words import texts_of

TOKENS, TRAIN = "Flickr8k_text/Flickr8k.token.txt", "Flickr8k_text/Flickr_8k.trainImages.txt"


@pytest.mark.parametrize(("split", "images"), [("train", range(5)), ("val", (5, 6)), ("test", (7,))])
def test_flickr8k_gives_the_captions_of_its_lists_in_their_order(split, images, tmp_path):
    reader = Flickr8k(flickr8k(tmp_path), split)
    assert list(reader.names) == [f"Flicker8k_Dataset/{i}.jpg" for i in images]
    assert [texts_of(reader[k]["captions"]) for k in range(len(reader))] == [
        [" ".join(caption.split()) for caption in captions_of(i)] for i in images
    ]


@pytest.mark.parametrize("name", ["flickr8k", "coco_captions", "captions_csv"])
def test_vocabulary_has_the_frequent_words_of_the_training_captions_alone(name, tmp_path):
    make = {"flickr8k": flickr8k, "coco_captions": coco_captions, "captions_csv": captions_csv}[name]
    root = make(tmp_path)
    train, rarely = READERS[name](root, "train"), READERS[name](root, "train", least_count=1)
    assert train.info.words[0] == "a"
    assert len(train.info.words) < len(rarely.info.words)
    said = [word for i in range(len(train)) for text in texts_of(train.targets(i)["captions"]) for word in text.split()]
    assert min(said.count(word) + said.count(word.title()) for word in train.info.words) >= 5
    assert READERS[name](root, "val").info.words == ()


def test_vocabulary_that_no_word_is_frequent_enough_for_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no word of the training captions occurs 999 times: lower data\.least_count"):
        Flickr8k(flickr8k(tmp_path), "train", least_count=999)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (TOKENS, "0.jpg#0\tA dog runs on the grass .", "0.jpg#0\t", "line 5: the caption is '', which has no word"),
        (TOKENS, "0.jpg#0\tA dog runs on the grass .", "0.jpg#0\t. !", r"line 5: the caption is '\. !', which has no"),
        (TOKENS, "0.jpg#0\t", "0.jpg 0 ", r"line 5 is '0\.jpg 0 A dog.*'; expected IMAGE#NUMBER, a tab"),
        (TOKENS, "0.jpg#1\t", "0.jpg#0\t", r"line 5: caption 0 of 0\.jpg is there twice"),
        (TRAIN, "0.jpg\n", "0.jpg\n0.jpg\n", r"lists 0\.jpg more than once"),
        (TRAIN, "0.jpg\n", "5.jpg\n", r"1 images are in both train and val, such as 5\.jpg"),
        (TRAIN, "0.jpg\n", "none.jpg\n", r"no caption of 1 images of Flickr_8k\.trainImages\.txt, such as none\.jpg"),
        (TRAIN, "0.jpg\n", "../0.jpg\n", r"lists '\.\./0\.jpg'; expected names of image files"),
    ],
)
def test_flickr8k_names_what_is_wrong_with_its_files(file, old, new, told, tmp_path):
    path = flickr8k(tmp_path) / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=told):
        Flickr8k(tmp_path, "train")


def test_flickr8k_reads_the_captions_as_they_were_written_not_the_lemmas_beside_them(tmp_path):
    text = (flickr8k(tmp_path) / TOKENS).read_text()
    lemmas = tmp_path / "Flickr8k_text/Flickr8k.lemma.token.txt"
    lemmas.write_text(text.replace("runs", "run"))
    reader = Flickr8k(tmp_path, "train")
    assert texts_of(reader.targets(0)["captions"])[0] == "A dog runs on the grass ."
    assert reader.set_files[0] == tmp_path / TOKENS
    lemmas.rename(lemmas.with_name("Other.token.txt"))
    with pytest.raises(DataError, match=r"Flickr8k\.token\.txt and Flickr8k_text/Other\.token\.txt would be read for"):
        Flickr8k(tmp_path, "train")


@pytest.mark.parametrize("number", [0, 1])
def test_image_that_is_listed_and_missing_is_left_out_and_named(number, tmp_path):
    (flickr8k(tmp_path) / "Flicker8k_Dataset").rename(tmp_path / "Images")
    (tmp_path / f"Images/{number}.jpg").unlink()
    reader = Flickr8k(tmp_path, "train")
    assert len(reader) == 4
    assert "no such image; Flickr_8k.trainImages.txt names it" in reader.faults[0].reason


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("annotations", {"caption": " "}, "annotation 0: the caption is '', which has no word"),
        ("annotations", {"caption": "a \ud83d dog"}, "annotation 0: .*which has half of a character"),
        ("annotations", {"caption": 7}, r"annotations\[0\] has no caption that is str"),
        ("annotations", {"image_id": 99}, "is of image 99, which is not in images"),
        ("annotations", {"id": 1}, "two of annotations have one id"),
        ("images", {"file_name": "/etc/0.png"}, "expected a path below the folder of images"),
    ],
)
def test_coco_captions_name_what_is_wrong_with_a_record(part, change, told, tmp_path):
    path = coco_captions(tmp_path) / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content[part][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=told):
        CocoCaptions(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image,caption\n0.png,\n", r"captions\.csv line 2: has no text"),
        ("image,caption\n0.png,a dog, red\n", "3 columns, the first line has 2: quote texts with a comma"),
        ("image,note\n0.png,a dog\n", "begins with 'image, note'; expected the columns file and text"),
        ("image,caption\n../0.png,a dog\n", "expected a path below data.root"),
        ("", "is empty"),
        ("image,caption\n0.png,...\n", "which has no word"),
    ],
    ids=["empty", "three columns", "other columns", "outside", "nothing", "no word"],
)
def test_captions_csv_names_what_is_wrong_with_a_row(text, told, tmp_path):
    written(captions_csv(tmp_path) / "captions.csv", text.encode())
    with pytest.raises(DataError, match=told):
        CaptionsCsv(tmp_path, "train", val_share=0.2)


@pytest.mark.parametrize(("name", "make"), [("flickr8k", flickr8k), ("captions_csv", captions_csv)])
def test_set_of_which_no_image_exists_is_refused_as_that(name, make, tmp_path):
    for path in [*make(tmp_path).rglob("*.jpg"), *tmp_path.rglob("*.png")]:
        path.unlink()
    with pytest.raises(DataError, match=r"none of \d images exists, such as .*0.* in .*: put the images there"):
        READERS[name](tmp_path, "train")


def test_coco_images_without_a_caption_are_counted(tmp_path):
    path = coco_captions(tmp_path) / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
    path.write_text(json.dumps(content))
    reader = CocoCaptions(tmp_path, "train", least_count=1)
    assert (len(reader), reader.notes) == (
        4,
        ["1 images of captions_train2017.json have no caption and are left out"],
    )


@pytest.mark.parametrize("other", ["train.csv", "train/captions.csv"])
def test_two_tables_of_one_split_are_refused(other, tmp_path):
    written(captions_csv(tmp_path) / other, b"image,caption\n0.png,a dog\n")
    with pytest.raises(DataError, match=rf"{other} and captions\.csv would be read for the same images: keep one"):
        CaptionsCsv(tmp_path, "train")


def test_set_without_tables_is_told_of_the_one_of_all_images(tmp_path):
    with pytest.raises(DataError, match=r"looked for captions\.csv, train\.csv, train/captions\.csv"):
        CaptionsCsv(tmp_path, "train")


@pytest.mark.parametrize("layout", ["files", "folders"])
def test_splits_have_their_own_tables_and_no_image_is_in_two(layout, tmp_path):
    for part, numbers in (("train", (0, 1)), ("val", (2,))):
        rows = "".join(f"{i}.png;{'ab' * (i + 1)}\n" for i in numbers)
        table = {"files": tmp_path / f"{part}.csv", "folders": tmp_path / part / "labels.csv"}[layout]
        written(table, rows.encode())
        for i in numbers:
            picture(table.parent / f"{i}.png", i)
    train, val = FolderText(tmp_path, "train"), FolderText(tmp_path, "val")
    assert (len(train), len(val), train.info.classes) == (2, 1, ("a", "b"))
    assert val[0]["text"].tolist() == [0, 1] * 3
    with pytest.raises(DataError, match="no test split"):
        FolderText(tmp_path, "test")
    if layout == "files":
        written(tmp_path / "val.csv", b"0.png;ab\n")
        with pytest.raises(DataError, match="1 images are in both val and train"):
            FolderText(tmp_path, "val")


def test_text_outside_of_the_alphabet_is_refused_with_line_and_character(tmp_path):
    folder_text(tmp_path)
    told = r"labels\.csv line 5: 'é7' has 'é', which is not in the alphabet '0127': correct it, or set data\.alphabet"
    with pytest.raises(DataError, match=told):
        FolderText(tmp_path, "train", alphabet="0127", val_share=0.01)
    with pytest.raises(RecipeError, match=r"data\.alphabet has '1' twice"):
        FolderText(tmp_path, "train", alphabet="011")
    assert FolderText(tmp_path, "train").info.classes == ("0", "1", "2", "7", "é")


def test_two_texts_of_an_image_are_refused(tmp_path):
    written(folder_text(tmp_path) / "labels.csv", b"0.png,1\n0.png,2\n")
    with pytest.raises(DataError, match=r"line 2 names 0\.png, as labels\.csv line 1 does"):
        FolderText(tmp_path, "train")


def test_composed_and_decomposed_letters_are_one_character(tmp_path):
    written(folder_text(tmp_path) / "labels.csv", "0.png,e\u0301\n1.png,\u00e9\n".encode())
    assert FolderText(tmp_path, "val", val_share=1).info.classes == ("\u00e9",)
    assert FolderText(tmp_path, "val", val_share=1, alphabet="e\u0301").info.classes == ("\u00e9",)


def test_alphabet_has_no_characters_of_images_that_do_not_exist(tmp_path):
    """A first row of other words than those known is a row, whose image there is not."""
    table = folder_text(tmp_path) / "labels.csv"
    table.write_text(table.read_text().replace("file,text", "id,transcript"))
    assert FolderText(tmp_path, "train").info.classes == ("0", "1", "2", "7", "é")


def strings(root, split="train", **options):
    return DigitStrings(root, split, **{"count": 12, **options})


def test_string_is_a_function_of_seed_split_and_position(tmp_path):
    mnist(tmp_path)
    first, again, other = strings(tmp_path), strings(tmp_path, count=3), strings(tmp_path, seed=1)
    for i in range(3):
        assert all(torch.equal(first[i][key], again[i][key]) for key in first.gives)
    assert any(not torch.equal(first[i]["image"], other[i]["image"]) for i in range(3))
    assert not torch.equal(first[0]["image"], strings(tmp_path, "val")[0]["image"])
    lengths = {len(strings(tmp_path, count=60)[i]["text"]) for i in range(60)}
    assert lengths == set(range(1, 7))


def test_splits_of_strings_share_no_image_of_a_digit(tmp_path):
    """MNIST's training images have the digits 0 to 5 here, its test images 0 to 3: the last of six is validation's."""
    mnist(tmp_path)
    used = {
        split: {int(c) for i in range(12) for c in strings(tmp_path, split)[i]["text"]}
        for split in ("train", "val", "test")
    }
    assert used == {"train": {0, 1, 2, 3, 4}, "val": {5}, "test": {0, 1, 2, 3}}


def test_digits_stand_from_left_to_right_on_their_clutter(tmp_path):
    """Two images of digits, a full square and a bar: of a string their columns can be read by hand."""
    digits = np.zeros((4, 28, 28), np.uint8)
    digits[0::2, 4:24, 6:22], digits[1::2, 4:24, 12:16] = 255, 255
    written(tmp_path / "train-images-idx3-ubyte.gz", gzip.compress(idx(digits)))
    written(tmp_path / "train-labels-idx1-ubyte.gz", gzip.compress(idx(np.array([0, 1, 0, 1], np.uint8))))
    reader = strings(tmp_path, clutter=0, count=40)
    for i in range(40):
        sample = reader[i]
        bright = (sample["image"][0] > 130).sum(0) > 10  # columns of ink
        starts = torch.nonzero(bright[1:] & ~bright[:-1])[:, 0]
        widths = [int(bright[s + 1 :].int().cumprod(0).sum()) for s in starts]
        assert [0 if width > 10 else 1 for width in widths] == sample["text"].tolist()
