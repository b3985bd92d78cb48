"""Folders of images and masks, and every way in which a mask can be wrong."""

import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.readers.trees import encoded, folder_masks, pixels, written
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.types import IGNORE


def one(root: Path, mask: np.ndarray, *, classes: str = "sky\nroad\n", count: int = 3) -> Path:
    """A set of images with equal masks."""
    written(root / "classes.txt", classes.encode())
    for i in range(count):
        written(root / "images" / f"{i}.png", encoded(pixels(*mask.shape[:2], 3, seed=i)))
        written(root / "masks" / f"{i}.png", encoded(mask))
    return root


def masks_of(root: Path, **options) -> torch.Tensor:
    reader = FolderMasks(root, "train", **options)
    scan(reader)
    return reader[0]["mask"]


def test_mask_holds_the_ids_of_the_file(tmp_path):
    ids = pixels(6, 8, most=2)
    assert masks_of(one(tmp_path, ids)).equal(torch.from_numpy(ids))


def test_ids_beyond_the_classes_stop_with_every_file_named(tmp_path):
    one(tmp_path, np.array([[0, 1, 255]], np.uint8))
    with pytest.raises(DataError) as caught:
        scan(FolderMasks(tmp_path, "val", val_share=1.0))
    text = str(caught.value)
    assert text.startswith("3 of 3 samples cannot be used:")
    assert all(f"masks/{i}.png: mask has ids {{0, 1, 255}} and the set 2 classes (0 to 1)" in text for i in range(3))
    assert "set data.ignore=255 if 255 is unlabelled, or remap" in text


def test_binary_mask_of_black_and_white_proposes_the_mapping(tmp_path):
    one(tmp_path, np.array([[0, 255]], np.uint8))
    with pytest.raises(DataError, match=r"data\.mask_values=\{0: 0, 255: 1\}"):
        scan(FolderMasks(tmp_path, "train"))
    assert masks_of(tmp_path, mask_values={0: 0, 255: 1}).tolist() == [[0, 1]]


@pytest.mark.parametrize("ids", [[255, 255], [0, 255]])
def test_mapping_proposed_for_black_and_white_keeps_black_the_first_class(ids, tmp_path):
    one(tmp_path, np.array([ids], np.uint8))
    with pytest.raises(DataError) as caught:
        scan(FolderMasks(tmp_path, "train"))
    assert "set data.mask_values={0: 0, 255: 1} if 0 is the first class of classes.txt" in str(caught.value)
    assert "or data.ignore=255 if 255 is unlabelled" in str(caught.value)
    assert "255: 0" not in str(caught.value)


@pytest.mark.parametrize(
    ("ids", "classes", "options"),
    [
        ([3, 7], "sky\nroad\n", {}),
        ([7], "sky\nroad\n", {}),
        ([0, 255], "sky\nroad\ncar\n", {}),
        ([0, 255], "sky\nvoid\nroad\n", {"ignore": 1}),
        ([0, 255], "sky\nroad\ncar\n", {"mask_values": {0: 0, 1: 1}}),
        ([0, 255], "sky\nroad\n", {"mask_values": {0: IGNORE, 1: 0}}),
    ],
)
def test_mapping_that_one_file_cannot_tell_is_not_proposed(ids, classes, options, tmp_path):
    one(tmp_path, np.array([ids], np.uint8), classes=classes)
    with pytest.raises(DataError) as caught:
        scan(FolderMasks(tmp_path, "train", **options))
    assert f"mask has ids {{{', '.join(map(str, ids))}}}" in str(caught.value)
    assert "remap with data.mask_values, which gives each id of the set its class" in str(caught.value)
    assert "data.mask_values={" not in str(caught.value)


def test_ignored_id_becomes_the_ignore_value(tmp_path):
    one(tmp_path, np.array([[0, 1, 77]], np.uint8))
    assert masks_of(tmp_path, ignore=77).tolist() == [[0, 1, IGNORE]]
    assert FolderMasks(tmp_path, "train", ignore=77).info.ignore == 77


def test_ignored_line_of_the_class_file_is_no_class(tmp_path):
    one(tmp_path, np.array([[0, 1, 2]], np.uint8), classes="void\nsky\nroad\n")
    assert masks_of(tmp_path, ignore=0).tolist() == [[IGNORE, 0, 1]]
    assert FolderMasks(tmp_path, "train", ignore=0).info.classes == ("sky", "road")


def test_mapping_may_join_and_ignore_ids(tmp_path):
    one(tmp_path, np.array([[3, 4, 5, 6]], np.uint8))
    assert masks_of(tmp_path, mask_values={3: 0, 4: 1, 5: 1, 6: 255}).tolist() == [[0, 1, 1, IGNORE]]


def test_mapping_to_no_class_and_double_meaning_are_refused(tmp_path):
    one(tmp_path, np.array([[0, 1]], np.uint8))
    with pytest.raises(RecipeError, match=r"data\.mask_values gives \[2\]; classes\.txt has ids 0 to 1"):
        FolderMasks(tmp_path, "train", mask_values={0: 2})
    with pytest.raises(RecipeError, match=r"data\.ignore=0 and data\.mask_values makes 0 a class"):
        FolderMasks(tmp_path, "train", mask_values={0: 1}, ignore=0)


def test_ids_are_those_that_a_mask_of_16_bits_can_hold(tmp_path):
    root = one(tmp_path, pixels(4, 4, most=2))
    for stored in (65536, -1):
        for options in ({"ignore": stored}, {"mask_values": {stored: 1}}):
            with pytest.raises(RecipeError, match=rf"ids in masks are 0 to 65535; .* give \[.*{stored}"):
                FolderMasks(root, "train", **options)
    assert len(FolderMasks(root, "val", val_share=1, ignore=65535)) == 3


def test_mapping_gaps_are_refused(tmp_path):
    one(tmp_path, np.array([[3, 4, 5]], np.uint8))
    with pytest.raises(DataError, match=r"mask has ids \{3, 4, 5\} .* so \[4\] mean nothing"):
        masks_of(tmp_path, mask_values={3: 0, 5: 1})


def test_palette_mask_is_read_by_its_indices(tmp_path):
    one(tmp_path, np.array([[0, 1]], np.uint8))
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putdata([1, 0])
    image.putpalette([200, 10, 10, 5, 5, 5])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    for i in range(3):
        written(tmp_path / "masks" / f"{i}.png", stream.getvalue())
    assert masks_of(tmp_path).tolist() == [[1, 0]]


COLOURED = "sky 0 0 255\nroad, 128 64 128\n"


def colours(ids: list[list[int]]) -> np.ndarray:
    return np.array([[0, 0, 255], [128, 64, 128]], np.uint8)[np.array(ids)]


def test_colour_masks_are_read_by_the_colours_of_the_classes(tmp_path):
    one(tmp_path, colours([[0, 1], [1, 1]]), classes="sky 0 0 255\nwide road 128 64 128\n")
    assert masks_of(tmp_path).tolist() == [[0, 1], [1, 1]]
    info = FolderMasks(tmp_path, "train").info
    assert info.classes == ("sky", "wide road")
    assert info.palette == ((0, 0, 255), (128, 64, 128))


def test_colour_of_an_ignored_line_is_ignored(tmp_path):
    one(tmp_path, colours([[0, 1]]), classes="void 0 0 255\nroad 128 64 128\ncar 1 2 3\n")
    assert masks_of(tmp_path, ignore=0).tolist() == [[IGNORE, 0]]
    assert FolderMasks(tmp_path, "train", ignore=0).info.palette == ((128, 64, 128), (1, 2, 3))


def test_colour_mask_saved_as_jpeg_is_refused(tmp_path):
    one(tmp_path, colours([[0, 1] * 8] * 16), classes="sky 0 0 255\nroad 128 64 128\n")
    for path in (tmp_path / "masks").iterdir():
        written(path.with_suffix(".jpg"), encoded(colours([[0, 1] * 8] * 16), "JPEG"))
        path.unlink()
    with pytest.raises(DataError, match=r"\d+ unknown colours: mask is lossy JPEG; re-export as PNG"):
        scan(FolderMasks(tmp_path, "train"))


def test_smooth_edges_are_refused_with_their_colours(tmp_path):
    values = colours([[0, 1]])
    values[0, 0] = (64, 32, 190)
    one(tmp_path, values, classes="sky 0 0 255\nroad 128 64 128\n")
    with pytest.raises(DataError, match=r"1 unknown colours in the mask: \(64, 32, 190\)"):
        scan(FolderMasks(tmp_path, "train"))


def test_alpha_channel_is_refused_with_its_colours(tmp_path):
    values = np.dstack([colours([[0, 1]]), np.array([[255, 9]], np.uint8)])
    one(tmp_path, values, classes="sky 0 0 255\nroad 128 64 128\n")
    with pytest.raises(DataError, match=r"colours with alpha: \(128, 64, 128, 9\)"):
        scan(FolderMasks(tmp_path, "train"))


def test_sixteen_bit_ids_are_mapped_without_clipping(tmp_path):
    one(tmp_path, np.array([[26001, 255, 7]], np.uint16))
    assert masks_of(tmp_path, mask_values={7: 0, 26001: 1, 255: 255}).tolist() == [[1, IGNORE, 0]]


def test_sizes_that_differ_are_refused_with_both(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    written(tmp_path / "masks" / "1.png", encoded(pixels(8, 6, most=2)))
    for memory in (True, False):
        with pytest.raises(DataError, match=r"masks/1\.png: mask is 6x8, its image images/1\.png decodes to 8x6"):
            scan(FolderMasks(tmp_path, "val", val_share=1.0), memory=memory)


def turned(values: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def test_mask_drawn_on_the_raw_pixels_of_a_turned_image_names_exif(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    for i in range(3):
        (tmp_path / "images" / f"{i}.png").unlink()
        written(tmp_path / "images" / f"{i}.jpg", turned(pixels(6, 8, 3)))
    match = r"mask is 8x6, its image images/\d\.jpg decodes to 6x8 .* by EXIF orientation 6: set data\.exif=ignore"
    with pytest.raises(DataError, match=match):
        scan(FolderMasks(tmp_path, "train"))
    assert scan(FolderMasks(tmp_path, "train", exif="ignore")).samples[0]["image"].shape == (3, 6, 8)


def test_streaming_scan_sees_the_turned_size(tmp_path):
    one(tmp_path, pixels(8, 6, most=2))
    for i in range(3):
        (tmp_path / "images" / f"{i}.png").unlink()
        written(tmp_path / "images" / f"{i}.jpg", turned(pixels(6, 8, 3)))
    samples = scan(FolderMasks(tmp_path, "train"), memory=False).samples
    assert samples.sizes_hw[0] == tuple(samples[0]["image"].shape[1:]) == (8, 6)


def test_leftovers_of_both_sides_are_listed_and_skipped(tmp_path):
    root = folder_masks(tmp_path)
    (root / "masks" / "1.png").unlink()
    (root / "images" / "3.png").unlink()
    result = scan(FolderMasks(root, "val", val_share=1.0))
    assert list(result.samples.names) == ["images/0.png", "images/2.png", "images/4.png"]
    told = {Path(fault.path).relative_to(root).as_posix(): fault.reason for fault in result.faults}
    assert told["images/1.png"].startswith("no mask of that name in")
    assert told["masks/3.png"].startswith("mask without an image of that name in")
    assert len(result.manifest["skipped"]) == 2


def test_names_are_matched_composed(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    for folder, form in (("images", "NFC"), ("masks", "NFD")):
        name = unicodedata.normalize(form, "Käfer")
        (tmp_path / folder / "0.png").rename(tmp_path / folder / f"{name}.png")
    reader = FolderMasks(tmp_path, "val", val_share=1.0)
    assert len(reader) == 3
    assert reader.faults == []


def test_mask_may_bear_a_suffix(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    (tmp_path / "masks" / "0.png").rename(tmp_path / "masks" / "0_mask.png")
    assert len(FolderMasks(tmp_path, "val", val_share=1.0)) == 3


@pytest.mark.parametrize("second", ["0_mask.png", "0.bmp"])
def test_two_candidates_for_a_mask_are_refused(second, tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    written(tmp_path / "masks" / second, encoded(pixels(6, 8, most=2)))
    with pytest.raises(DataError, match=rf"images/0\.png: ambiguous pairing, its mask could be .*{second[2:]}"):
        FolderMasks(tmp_path, "train")


def test_two_images_for_one_mask_are_refused(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    written(tmp_path / "images" / "0.jpg", encoded(pixels(6, 8, 3), "JPEG"))
    with pytest.raises(DataError, match=r"ambiguous pairing, 0\.jpg and 0\.png would share a mask"):
        FolderMasks(tmp_path, "train")


def test_image_called_like_a_mask_of_another_keeps_its_own(tmp_path):
    one(tmp_path, pixels(6, 8, most=2))
    for folder, values in (("images", pixels(6, 8, 3)), ("masks", pixels(6, 8, most=2))):
        written(tmp_path / folder / "0_mask.png", encoded(values))
    assert len(FolderMasks(tmp_path, "val", val_share=1.0)) == 4


def test_equal_stems_in_different_folders_keep_their_own_masks(tmp_path):
    written(tmp_path / "classes.txt", b"sky\nroad\n")
    for value, folder in enumerate(("a", "b")):
        written(tmp_path / "images" / folder / "same.png", encoded(np.full((2, 2, 3), value, np.uint8)))
        written(tmp_path / "masks" / folder / "same.png", encoded(np.full((2, 2), value, np.uint8)))
    reader = FolderMasks(tmp_path, "val", val_share=1.0)
    assert reader.names == ["images/a/same.png", "images/b/same.png"]
    assert [int(reader[i]["image"].max()) for i in range(2)] == [int(reader[i]["mask"].max()) for i in range(2)]
    assert [int(reader[i]["mask"].max()) for i in range(2)] == [0, 1]


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_of_either_layout_are_kept_apart(layout, tmp_path):
    written(tmp_path / "classes.txt", b"sky\nroad\n")
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            for kind, values in (("images", pixels(4, 4, 3)), ("masks", pixels(4, 4, most=2))):
                written(tmp_path / layout.format(split=split, kind=kind) / f"{i}.png", encoded(values))
    train, val = FolderMasks(tmp_path, "train"), FolderMasks(tmp_path, "val")
    assert (len(train), len(val)) == (3, 2)
    assert val.names[0] == layout.format(split="val", kind="images") + "/0.png"
    assert train.origin["drawn"] is None
    with pytest.raises(DataError, match="no test split; looked for test/images, testing/images: check"):
        FolderMasks(tmp_path, "test")


def test_root_with_only_the_val_split_works(tmp_path):
    written(tmp_path / "classes.txt", b"sky\nroad\n")
    written(tmp_path / "val" / "images" / "0.png", encoded(pixels(4, 4, 3)))
    written(tmp_path / "val" / "masks" / "0.png", encoded(pixels(4, 4, most=2)))
    assert FolderMasks(tmp_path, "val").names == ["val/images/0.png"]


def test_a_fifth_is_set_aside_and_recorded(tmp_path):
    one(tmp_path, pixels(4, 4, most=2), count=10)
    train, val = FolderMasks(tmp_path, "train", seed=3), FolderMasks(tmp_path, "val", seed=3)
    assert (len(train), len(val)) == (8, 2)
    assert set(train.names).isdisjoint(val.names)
    manifest = scan(val).manifest
    assert manifest["drawn"] == {"share": 0.2, "seed": 3}
    assert manifest["names"] == val.names


def test_val_that_rounds_to_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="leaves no image for val"):
        FolderMasks(one(tmp_path, pixels(4, 4, most=2), count=2), "val")


def test_all_of_a_flat_root_is_val_and_test_where_all_is_held_out(tmp_path):
    one(tmp_path, pixels(4, 4, most=2))
    val, test = (FolderMasks(tmp_path, split, val_share=1) for split in ("val", "test"))
    assert val.names == test.names == [f"images/{i}.png" for i in range(3)]
    with pytest.raises(DataError, match="a share of 1 set aside for validation leaves no image for train"):
        FolderMasks(tmp_path, "train", val_share=1)


def test_flat_root_has_no_test_split_where_less_is_held_out(tmp_path):
    one(tmp_path, pixels(4, 4, most=2))
    with pytest.raises(DataError, match="no test split; looked for test/images, testing/images: check"):
        FolderMasks(tmp_path, "test", val_share=0.99)


def test_train_folder_is_no_test_split_where_all_is_held_out(tmp_path):
    written(tmp_path / "classes.txt", b"sky\nroad\n")
    for kind, values in (("images", pixels(4, 4, 3)), ("masks", pixels(4, 4, most=2))):
        written(tmp_path / kind / "train" / "0.png", encoded(values))
    assert len(FolderMasks(tmp_path, "val", val_share=1)) == 1
    with pytest.raises(DataError, match="no test split; looked for test/images"):
        FolderMasks(tmp_path, "test", val_share=1)


def test_no_pair_at_all_names_both_folders(tmp_path):
    one(tmp_path, pixels(4, 4, most=2))
    for i, path in enumerate(sorted((tmp_path / "masks").iterdir())):
        path.rename(path.with_name(f"other{i}.png"))
    with pytest.raises(DataError, match=r"no image in .*images has a mask in .*masks \(6 files left over\)"):
        FolderMasks(tmp_path, "train")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sky\n", "1 classes; masks hold 2 to 255"),
        ("sky\nroad\nsky\n", "sky appears twice"),
        ("sky 1 2 3\nroad 1 2 3\n", r"\(1, 2, 3\) appears twice"),
        ("sky 1 2 3\nroad\n", "1 of 2 lines have a colour; give all of them one, or none"),
        ("sky\n\nroad\n", "line 2 is blank, and lines give the ids, from 0: delete it, or name the class of id 1"),
        ("\n\nsky\nroad\n", "line 1 is blank"),
        ("sky 1 2 3\nroad 4 5 6\n \t\ncar 7 8 9\n\n", "line 3 is blank"),
        ("sky 1 2 3\nroad 1 2 300\n", "a colour has a value above 255"),
    ],
)
def test_class_file_with_a_mistake_is_refused(text, told, tmp_path):
    one(tmp_path, pixels(4, 4, most=2), classes=text)
    with pytest.raises(DataError, match=rf"classes\.txt: {told}"):
        FolderMasks(tmp_path, "train")


def test_class_file_of_a_windows_editor_is_read(tmp_path):
    one(tmp_path, pixels(4, 4, most=2), classes="\ufeffno\r\nnull\r\n\r\n")
    assert FolderMasks(tmp_path, "train").info.classes == ("no", "null")


def test_blank_lines_after_the_last_class_are_no_classes(tmp_path):
    one(tmp_path, pixels(4, 4, most=2), classes="sky\nroad\n\n \t\n\n")
    assert FolderMasks(tmp_path, "train").info.classes == ("sky", "road")


def test_missing_class_file_says_what_to_write(tmp_path):
    (one(tmp_path, pixels(4, 4, most=2)) / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"classes\.txt is missing; write the name of one class a line"):
        FolderMasks(tmp_path, "train")


def test_missing_folder_of_masks_is_named(tmp_path):
    (one(tmp_path, pixels(4, 4, most=2)) / "masks").rename(tmp_path / "labels")
    with pytest.raises(DataError, match="masks is missing"):
        FolderMasks(tmp_path, "train")


def test_all_ignored_mask_is_a_sample_like_others(tmp_path):
    one(tmp_path, np.full((2, 3), 9, np.uint8))
    assert masks_of(tmp_path, ignore=9).tolist() == [[IGNORE] * 3] * 2
