"""Masks that NumPy saved, and stacks: read where they are one page of ids, refused by name where they are not."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.mask_files import npy, palette_gif, stack_tiff
from tests.data.readers.trees import encoded, pixels, written
from unpool.data.image_file import Unreadable, Unusable
from unpool.data.mask_file import probe_mask, read_stored
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.store import scan
from unpool.errors import DataError

IDS = np.array([[0, 1, 1, 2], [2, 0, 0, 1], [1, 1, 2, 0]], np.uint8)


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "i4", "i8", "u8", "?"])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 1)])
def test_whole_numbers_and_booleans_are_ids(shape, kind, tmp_path):
    values = IDS.astype(kind)
    path = written(tmp_path / "m.npy", npy(values.reshape(shape)))
    assert read_stored(path).values.tolist() == values.astype(int).tolist()


def test_order_of_the_axes_in_memory_changes_nothing(tmp_path):
    path = written(tmp_path / "m.NPY", npy(np.asfortranarray(IDS)))
    assert read_stored(path).values.tolist() == IDS.tolist()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (IDS.astype(np.float32), r"mask holds float32; ids are integers: save mask\.astype\(np\.uint8\)"),
        (IDS.astype(complex), "mask holds complex128"),
        (IDS.astype("U3"), "mask holds <U3"),
        (IDS.astype(np.int16) - 1, "mask has ids -1 to 1; expected 0 to 65535"),
        (IDS.astype(np.int64) + 2**40, "mask has ids 1099511627776 to 1099511627778"),
        (np.eye(3, dtype=np.uint8)[IDS], r"mask has shape \(3, 4, 3\), colours or a page a class; .*mask\.argmax\(2\)"),
        (np.zeros((3, 4, 5), np.uint8), r"mask has shape \(3, 4, 5\), a stack; .*stack\.argmax\(0\)"),
        (np.eye(3, dtype=bool)[IDS].transpose(2, 1, 0)[..., :2], r"mask has shape \(3, 4, 2\), a stack"),
        (IDS.reshape(1, 1, 3, 4), r"mask has shape \(1, 1, 3, 4\); expected \(height, width\)"),
        (IDS.reshape(-1), r"mask has shape \(12,\); expected"),
        (IDS[:0], r"mask has shape \(0, 4\); expected"),
    ],
)
def test_array_that_is_no_page_of_ids_is_refused(values, says, tmp_path):
    with pytest.raises(Unusable, match=says):
        read_stored(written(tmp_path / "m.npy", npy(values)))


def test_pickled_array_is_refused_and_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "loaded",))

    path = written(tmp_path / "m.npy", npy(np.array([Trap()], object), allow_pickle=True))
    with pytest.raises(Unusable, match="array holds Python objects, which are not loaded"):
        read_stored(path)
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", npy(IDS)[:-3], b"no array at all"])
def test_damaged_array_is_named(data, tmp_path):
    with pytest.raises((Unreadable, Unusable), match=r"m\.npy"):
        read_stored(written(tmp_path / "m.npy", data))


@pytest.mark.parametrize(
    "data",
    [
        stack_tiff(np.stack([i == IDS for i in range(3)]).astype(np.uint8)),
        palette_gif(IDS, [(9, 9, 9), (1, 2, 3), (5, 5, 5)], frames=3),
    ],
)
def test_stack_of_pages_is_refused_with_their_number(data, tmp_path):
    with pytest.raises(Unusable, match="mask is a stack of 3 pages; a mask is one page of ids"):
        read_stored(written(tmp_path / "m", data))


def tree(root: Path, suffix: str, data: bytes) -> Path:
    written(root / "classes.txt", b"sky\ncat\ndog\n")
    for i in range(3):
        written(root / "images" / f"{i}.png", encoded(pixels(3, 4, 3, seed=i)))
        written(root / "masks" / f"{i}{suffix}", data)
    return root


@pytest.mark.parametrize("memory", [True, False])
def test_folder_of_arrays_is_read(memory, tmp_path):
    samples = scan(FolderMasks(tree(tmp_path, "_mask.npy", npy(IDS)), "val", val_share=1.0), memory=memory).samples
    assert [samples[i]["mask"].tolist() for i in range(3)] == [IDS.tolist()] * 3


def test_array_of_another_size_is_refused_with_both(tmp_path):
    with pytest.raises(DataError, match=r"masks/0\.npy: mask is 3x4, its image images/0\.png decodes to 4x3"):
        scan(FolderMasks(tree(tmp_path, ".npy", npy(IDS.T)), "val", val_share=1.0))


@pytest.mark.parametrize("suffix", [".json", ".mat", ".txt"])
def test_folder_of_masks_that_are_no_images_says_what_it_holds(suffix, tmp_path):
    with pytest.raises(DataError, match=rf"masks, which holds 3 \{suffix} files, which are no images: put each mask"):
        FolderMasks(tree(tmp_path, suffix, b"{}"), "train")


def test_folder_without_images_says_what_it_holds(tmp_path):
    tree(tmp_path, ".npy", npy(IDS))
    for path in (tmp_path / "images").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DataError, match=r"images holds 3 \.txt files, which are no images; put the images there"):
        FolderMasks(tmp_path, "train")


@pytest.mark.parametrize("read", [read_stored, probe_mask])
def test_array_of_more_pixels_than_are_allowed_is_refused_with_the_way_to_allow_them(read, tmp_path):
    path = written(tmp_path / "m.npy", npy(IDS))
    read(path, max_pixels=12)
    with pytest.raises(Unusable, match=r"m\.npy: image is 4x3 = 12 pixels; the limit is 11: .*data\.max_pixels=12"):
        read(path, max_pixels=11)
