"""EXIF orientation of images and of their masks: they agree, or the pair is refused; EXIF is written by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.mask_files import (
    exif_chunk,
    grey_png,
    grey_tiff,
    npy,
    palette_png,
    rgb_png,
    with_exif,
    with_late_exif,
)
from tests.data.readers.trees import encoded, written
from unpool.data.orientation import turned
from unpool.data.readers.camvid import CamVid
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.readers.image_pairs import ImagePairs
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.types import IGNORE

WIDE, SQUARE = (32, 48), (32, 32)
STORED = r"set data\.exif=ignore if the masks were drawn on the stored pixels"
EITHER = "set data.exif=ignore if .* drawn on the stored pixels .neither.*or data.exif=image if they are upright"


def marked(size: tuple[int, int]) -> np.ndarray:
    """Ids with a mark in one corner, which no turn and no mirror keeps."""
    ids = np.zeros(size, np.uint8)
    ids[:8, :16] = 1
    return ids


def look(ids: np.ndarray) -> np.ndarray:
    return np.repeat((ids * 200)[..., None], 3, 2)


def png_image(ids: np.ndarray, orientation: int) -> bytes:
    return rgb_png(look(ids), extra=exif_chunk(orientation) if orientation else b"")


def late_image(ids: np.ndarray, orientation: int) -> bytes:
    return with_late_exif(rgb_png(look(ids)), orientation)


def late_mask(ids: np.ndarray, orientation: int) -> bytes:
    return with_late_exif(grey_png(ids), orientation)


def jpeg_image(ids: np.ndarray, orientation: int) -> bytes:
    return with_exif(encoded(look(ids), "JPEG"), orientation, order=">")


def tiff_image(ids: np.ndarray, orientation: int) -> bytes:
    return grey_tiff(ids * 200, orientation=orientation)


def png_mask(ids: np.ndarray, orientation: int) -> bytes:
    return grey_png(ids, extra=exif_chunk(orientation, order=">") if orientation else b"")


def palette_mask(ids: np.ndarray, orientation: int) -> bytes:
    return palette_png(ids, [(9, 9, 200), (200, 9, 9)], extra=exif_chunk(orientation) if orientation else b"")


def tiff_mask(ids: np.ndarray, orientation: int) -> bytes:
    return grey_tiff(ids, orientation=orientation)


def tree(root: Path, image: tuple[str, bytes], mask: tuple[str, bytes]) -> Path:
    written(root / "classes.txt", b"ground\nmark\n")
    written(root / "images" / f"0.{image[0]}", image[1])
    written(root / "masks" / f"0.{mask[0]}", mask[1])
    return root


def whole(root: Path, **options) -> FolderMasks:
    return FolderMasks(root, "val", val_share=1.0, **options)


def agrees(reader: FolderMasks, *, memory: bool) -> bool:
    """Whether the mark of the image lies where that of the mask does, in the scanned samples."""
    sample = scan(reader, memory=memory).samples[0]
    return bool(((sample["image"][0] > 100) == (sample["mask"] == 1)).all())


@pytest.mark.parametrize("size", [WIDE, SQUARE])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (("png", png_image), ("png", png_mask)),
        (("jpg", jpeg_image), ("png", palette_mask)),
        (("png", png_image), ("tif", tiff_mask)),
        (("tif", tiff_image), ("png", png_mask)),
        (("png", late_image), ("png", png_mask)),
        (("png", png_image), ("png", late_mask)),
    ],
)
def test_one_orientation_of_both_turns_both(image, mask, orientation, size, tmp_path):
    ids = marked(size)
    tree(tmp_path, (image[0], image[1](ids, orientation)), (mask[0], mask[1](ids, orientation)))
    for exif, seen in (("apply", turned(ids, orientation)), ("ignore", ids)):
        if image[0] == "tif" and exif == "ignore":
            continue  # Pillow turns the image of a TIFF whatever it is asked
        for memory in (True, False):
            assert agrees(whole(tmp_path, exif=exif), memory=memory)
        assert whole(tmp_path, exif=exif)[0]["mask"].tolist() == seen.tolist()


@pytest.mark.parametrize("size", [WIDE, SQUARE])
@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("has_tag", ["image", "mask"])
@pytest.mark.parametrize("is_upright", [True, False])
def test_one_orientation_of_two_is_right_or_refused(is_upright, has_tag, orientation, size, tmp_path):
    """The file without a tag was made from the stored pixels of the other, or from what a viewer shows."""
    ids = marked(size)
    other = turned(ids, orientation) if is_upright else ids
    data = {
        name: write(*((ids, orientation) if name == has_tag else (other, 0)))
        for name, write in {"image": png_image, "mask": png_mask}.items()
    }
    tree(tmp_path, ("png", data["image"]), ("png", data["mask"]))
    is_told_by_size = size == WIDE and orientation >= 5
    for memory in (True, False):
        if is_told_by_size and is_upright:
            assert agrees(whole(tmp_path), memory=memory)
        else:
            says = "by EXIF orientation" if is_told_by_size else EITHER if has_tag == "image" else STORED
            with pytest.raises(DataError, match=rf"masks/0\.png: .*{says}"):
                scan(whole(tmp_path), memory=memory)
    if not is_upright:
        assert agrees(whole(tmp_path, exif="ignore"), memory=False)
    elif has_tag == "image":
        assert agrees(whole(tmp_path, exif="image"), memory=False)


@pytest.mark.parametrize(("one", "other"), [(3, 2), (6, 8), (2, 5), (3, 4)])
def test_two_orientations_that_differ_are_refused(one, other, tmp_path):
    ids = marked(SQUARE)
    tree(tmp_path, ("png", png_image(ids, one)), ("png", png_mask(ids, other)))
    with pytest.raises(DataError, match=f"its image has EXIF orientation {one}, the mask {other}: {EITHER}"):
        scan(whole(tmp_path))


def test_size_does_not_tell_two_orientations_apart(tmp_path):
    tree(tmp_path, ("png", png_image(marked(WIDE), 6)), ("png", png_mask(marked(WIDE).T, 3)))
    with pytest.raises(DataError, match=f"its image has EXIF orientation 6, the mask 3: {EITHER}"):
        scan(whole(tmp_path))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientation_that_means_nothing_counts_as_none(orientation, tmp_path):
    ids = marked(WIDE)
    tree(tmp_path, ("jpg", jpeg_image(ids, orientation)), ("npy", npy(ids)))
    assert agrees(whole(tmp_path), memory=True)


def test_photograph_on_its_side_with_the_mask_of_another_file_is_told_by_size_only(tmp_path):
    tree(tmp_path / "wide", ("jpg", jpeg_image(marked(WIDE), 6)), ("npy", npy(turned(marked(WIDE), 6))))
    assert agrees(whole(tmp_path / "wide"), memory=False)
    tree(tmp_path / "square", ("jpg", jpeg_image(marked(SQUARE), 6)), ("npy", npy(turned(marked(SQUARE), 6))))
    with pytest.raises(DataError, match=f"its image has EXIF orientation 6, the mask none: {EITHER}"):
        scan(whole(tmp_path / "square"))


def test_camvid_refuses_one_orientation_of_two(tmp_path):
    written(tmp_path / "train" / "0.png", png_image(marked(SQUARE), 4))
    written(tmp_path / "annot" / "0.png", png_mask(marked(SQUARE), 0))
    written(tmp_path / "train.txt", b"train/0.png annot/0.png\n")
    with pytest.raises(DataError, match=f"its image has EXIF orientation 4, the mask none: {EITHER}"):
        scan(CamVid(tmp_path, "train"))
    sample = CamVid(tmp_path, "train", exif="image")[0]
    assert sample["mask"].equal(torch.from_numpy(marked(SQUARE)))
    assert sample["image"][0].flip(0).gt(100).equal(torch.from_numpy(marked(SQUARE)) == 1)
    assert IGNORE not in sample["mask"]


@pytest.mark.parametrize("size", [WIDE, SQUARE])
@pytest.mark.parametrize(("noisy", "clean"), [(3, 3), (6, 6), (3, 0), (0, 2), (6, 0), (5, 7)])
def test_noisy_and_clean_images_are_turned_alike_or_refused(noisy, clean, size, tmp_path):
    for name, orientation in (("noisy", noisy), ("clean", clean)):
        written(tmp_path / name / "0.png", png_image(marked(size), orientation))
    reader = ImagePairs(tmp_path, "val", val_share=1.0)
    if noisy == clean:
        sample = scan(reader, memory=False).samples[0]
        assert sample["clean"].equal(sample["image"])
        assert sample["clean"][0].gt(100).numpy().tolist() == (turned(marked(size), noisy) == 1).tolist()
    else:
        with pytest.raises(DataError, match=r"clean/0\.png: .*"):
            scan(reader, memory=False)
    sample = ImagePairs(tmp_path, "val", val_share=1.0, exif="ignore")[0]
    assert sample["clean"].equal(sample["image"])


def test_clean_images_that_are_upright_already_are_not_turned(tmp_path):
    written(tmp_path / "noisy" / "0.png", png_image(marked(SQUARE), 3))
    written(tmp_path / "clean" / "0.png", png_image(turned(marked(SQUARE), 3), 0))
    sample = scan(ImagePairs(tmp_path, "val", val_share=1.0, exif="image")).samples[0]
    assert sample["clean"].equal(sample["image"])


def test_option_of_masks_is_refused_with_what_it_may_be(tmp_path):
    with pytest.raises(RecipeError, match=r"data\.exif is 'turn'; expected apply or ignore or image"):
        FolderMasks(tree(tmp_path, ("png", b""), ("png", b"")), "val", exif="turn")
