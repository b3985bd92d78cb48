import numpy as np
import pytest
from PIL import Image

from tests.data.encoding import png
from unpool.data.image_file import Unusable
from unpool.data.readers.image_pairs import ImagePairs
from unpool.data.readers.images import Images
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.types import GREY, RGB


def test_images_lie_in_folders_of_any_name(image, tmp_path):
    for path in ("Train400/a.png", "Train400/deep/b.png", "BSD68/c.png", "Set12/d.png", "CBSD68/e.png"):
        image(tmp_path / path)
    folders = {"train": "Train400", "val": "BSD68"}
    found = {split: Images(tmp_path, split, folders=folders).names for split in ("train", "val")}
    assert found == {"train": ["Train400/a.png", "Train400/deep/b.png"], "val": ["BSD68/c.png"]}
    with pytest.raises(DataError, match="no test split"):
        Images(tmp_path, "test", folders=folders)


def test_images_lie_in_train_and_val_or_are_divided(image, tmp_path):
    for i in range(10):
        image(tmp_path / "flat" / f"{i}.png")
        image(tmp_path / "laid" / ("train" if i else "valid") / f"{i}.png")
    train, val = (Images(tmp_path / "flat", split, val_share=0.3).names for split in ("train", "val"))
    assert (len(train), len(val)) == (7, 3)
    assert sorted([*train, *val]) == [f"{i}.png" for i in range(10)]
    assert Images(tmp_path / "laid", "val").names == ["valid/0.png"]
    assert len(Images(tmp_path / "laid", "train")) == 9
    assert len(Images(tmp_path / "flat", "test", val_share=1.0)) == 10


def test_images_are_read_in_grey_or_colour_of_8_or_16_bits(image, tmp_path):
    image(tmp_path / "colour.png", np.full((4, 5, 3), (200, 100, 50), np.uint8))
    Image.fromarray(np.full((4, 5), 257 * 77, np.uint16)).save(tmp_path / "deep.png")
    grey, colour = (Images(tmp_path, "test", val_share=1.0, decoding=one) for one in (GREY, RGB))
    assert colour[0]["image"][:, 0, 0].tolist() == [200, 100, 50]
    assert grey[0]["image"].shape == (1, 4, 5)
    assert grey[1]["image"].unique().tolist() == colour[1]["image"].unique().tolist() == [77]
    assert "16-bit grey" in str(scan(grey, memory=True).manifest["notes"])


def test_run_tells_of_16_bits_that_are_reduced(tmp_path):
    rows = bytes(4 * (1 + 5 * 6))  # 5x4 pixels of three values of two bytes
    deep = png(5, 4, depth=16, colour=2, rows=rows)
    for folder in ("noisy", "clean"):
        (tmp_path / "pairs" / "val" / folder).mkdir(parents=True)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "deep.png").write_bytes(deep)
    Image.new("RGB", (5, 4)).save(tmp_path / "one" / "plain.png")
    (tmp_path / "pairs" / "val" / "clean" / "a.png").write_bytes(deep)
    Image.new("RGB", (5, 4)).save(tmp_path / "pairs" / "val" / "noisy" / "a.png")
    for reader in (Images(tmp_path / "one", "test", val_share=1.0), ImagePairs(tmp_path / "pairs", "val")):
        told = [(one["note"], one["count"]) for one in scan(reader, memory=True).manifest["notes"]]
        assert told == [("16-bit colour image, reduced to 8 bits", 1)]


def test_images_refuse_folders_of_no_split(image, tmp_path):
    image(tmp_path / "a.png")
    with pytest.raises(RecipeError, match=r"data\.folders names tests; it takes train, val and test"):
        Images(tmp_path, "train", folders={"tests": "x"})


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("folder", ["BSD86", "empty"])
@pytest.mark.parametrize("reader", [Images, ImagePairs])
def test_named_folder_that_is_missing_or_empty_is_refused_and_nothing_drawn(image, tmp_path, reader, folder, split):
    for name in ("noisy/a.png", "noisy/b.png", "clean/a.png", "clean/b.png"):
        image(tmp_path / "Train400" / name)
        image(tmp_path / "BSD68" / name)
    (tmp_path / "empty").mkdir()
    given = "BSD86 does not exist" if folder == "BSD86" else "empty holds no image"
    with pytest.raises(DataError) as caught:
        reader(tmp_path, split, folders={"train": "Train400", "val": folder})
    told = str(caught.value)
    assert f"data.folders names {folder} for val, but" in told
    assert given in told
    assert "beside it: BSD68, " in told
    assert "correct the name, or leave val out to set a share of train aside" in told


def test_share_is_set_aside_where_validation_is_not_named(image, tmp_path):
    for i in range(10):
        image(tmp_path / "Train400" / f"{i}.png")
    image(tmp_path / "val" / "other.png")
    train, val = (Images(tmp_path, split, folders={"train": "Train400"}) for split in ("train", "val"))
    assert (len(train), len(val)) == (8, 2)
    assert not set(train.names) & set(val.names)
    assert val.origin["drawn"] == {"share": 0.2, "seed": 0}


def test_training_does_not_ask_for_the_folder_of_the_test(image, tmp_path):
    for name in ("a", "b"):
        image(tmp_path / name / "0.png")
    folders = {"train": "a", "val": "b", "test": "later"}
    assert Images(tmp_path, "train", folders=folders).names == ["a/0.png"]
    with pytest.raises(DataError, match=r"data\.folders names later for test.*beside it: a, b\): correct the name$"):
        Images(tmp_path, "test", folders=folders)


@pytest.mark.parametrize(("train", "val"), [("a", "a"), ("a", "./a/"), (".", "a"), ("a", "a/b"), ("a", "link")])
def test_one_folder_for_two_splits_is_refused(image, tmp_path, train, val):
    image(tmp_path / "a" / "b" / "0.png")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(RecipeError, match=r"for train and .* for val, which hold the same images"):
        Images(tmp_path, "train", folders={"train": train, "val": val})


@pytest.mark.parametrize("folder", ["/elsewhere", "../elsewhere", "a/../../b", "C:\\images"])
@pytest.mark.parametrize("reader", [Images, ImagePairs])
def test_folder_outside_of_the_root_is_refused(image, tmp_path, reader, folder):
    image(tmp_path / "a.png")
    with pytest.raises(RecipeError, match=r"for train; expected a folder below data\.root, such as train") as caught:
        reader(tmp_path, "train", folders={"train": folder})
    assert f"data.folders names {folder} for train" in str(caught.value)


def test_split_that_no_folder_is_named_for_is_told_with_those_that_are(image, tmp_path):
    image(tmp_path / "a" / "0.png")
    match = r"no test split; data\.folders names a for train and b for val: name the one of test there too"
    with pytest.raises(DataError, match=match):
        Images(tmp_path, "test", folders={"train": "a", "val": "b"})
    with pytest.raises(DataError, match=r"no val split; data\.folders names a for test: name the one of val there too"):
        Images(tmp_path, "val", folders={"test": "a"})


def test_pairs_give_the_clean_image_of_the_same_name(image, tmp_path):
    values = {name: np.full((4, 5, 3), value, np.uint8) for name, value in (("noisy", 90), ("clean", 70))}
    for name, shade in values.items():
        for i in range(3):
            image(tmp_path / "train" / name / f"{i}.png", shade + np.uint8(i))
    for path in ("train/noisy/alone.png", "val/noisy/0.png", "val/clean/0.png"):
        image(tmp_path / path)
    reader = ImagePairs(tmp_path, "train")
    assert reader.names == [f"train/noisy/{i}.png" for i in range(3)]
    assert [int(reader[i]["image"][0, 0, 0]) for i in range(3)] == [90, 91, 92]
    assert [int(reader[i]["clean"][0, 0, 0]) for i in range(3)] == [70, 71, 72]
    assert [fault.reason for fault in reader.faults] == [
        f"no clean image of that name in {tmp_path / 'train' / 'clean'}"
    ]


def test_pairs_of_two_sizes_are_refused_by_name(image, tmp_path):
    for i in range(2):
        image(tmp_path / "noisy" / f"{i}.png")
        image(tmp_path / "clean" / f"{i}.png", size=(6, 8 + i))
    reader = ImagePairs(tmp_path, "test", val_share=1.0)
    assert reader.measure(0).size_hw == (6, 8)
    for ask in (reader.measure, reader.__getitem__):
        with pytest.raises(Unusable, match=r"clean/1\.png: clean image is 9x6, its noisy one noisy/1\.png 8x6"):
            ask(1)


def test_pairs_without_clean_images_are_refused(image, tmp_path):
    image(tmp_path / "noisy" / "a.png")
    with pytest.raises(DataError, match="clean is missing; put the clean images there"):
        ImagePairs(tmp_path, "test", val_share=1.0)
    image(tmp_path / "clean" / "b.png")
    with pytest.raises(DataError, match="no image in"):
        ImagePairs(tmp_path, "test", val_share=1.0)
