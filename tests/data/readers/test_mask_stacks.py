"""Stacks of images with stacks of masks: each page is a sample with its mask, or the files are refused by name."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.data.mask_files import npy
from tests.data.readers.trees import encoded, pixels, written
from unpool.data.image_file import Unusable, probe
from unpool.data.readers.folder_masks import FolderMasks
from unpool.data.stack import Page
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import Decoding

DEEP = Decoding(channels=1, range=(0, 65535))


def volume(pages: int, kind: type[np.generic], *, height: int = 24, width: int = 31) -> np.ndarray:
    top = np.iinfo(kind).max
    return np.random.default_rng(pages).integers(0, top, (pages, height, width), dtype=kind, endpoint=True)


def ids(pages: int, kind: type[np.generic], *, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(pages + 100).integers(0, classes, (pages, 24, 31)).astype(kind)


def tiff(path: Path, pages, *, big: bool = False, **options) -> Path:
    """Written page by page by tifffile, whose sizes may differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options.setdefault("photometric", "minisblack")
    with tifffile.TiffWriter(path, byteorder=options.pop("byteorder", "<"), bigtiff=big) as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None, **options)
    return path


def array(path: Path, pages: np.ndarray) -> Path:
    return written(path, npy(pages))


def root_of(tmp_path: Path, *, classes: int = 3) -> Path:
    written(tmp_path / "classes.txt", "".join(f"class {i}\n" for i in range(classes)).encode())
    return tmp_path


def everything(root: Path, *, memory: bool | None = None, decoding: Decoding = DEEP, **options):
    return scan(FolderMasks(root, "val", val_share=1.0, decoding=decoding, **options), memory=memory).samples


FORMS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "LZW": {"compression": "lzw"},
    "LZW, predictor, big-endian": {"compression": "lzw", "predictor": True, "byteorder": ">"},
    "deflate, strips": {"compression": "zlib", "rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "LZW, tiles": {"tile": (16, 16), "compression": "lzw"},
    "BigTIFF": {"big": True, "compression": "lzw"},
    "WhiteIsZero": {"photometric": "miniswhite"},
    "WhiteIsZero, LZW": {"photometric": "miniswhite", "compression": "lzw"},
    "WhiteIsZero, big-endian": {"photometric": "miniswhite", "byteorder": ">"},
}


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("kinds", [(np.uint8, np.uint8), (np.uint16, np.uint8), (np.uint16, np.uint16)])
@pytest.mark.parametrize("form", FORMS)
def test_each_page_is_a_sample_with_its_mask(form, kinds, memory, tmp_path):
    of_mask = dict(FORMS[form])
    of_image = {**of_mask, "photometric": "minisblack"}
    pages = 2 + list(FORMS).index(form) % 4
    image, mask = volume(pages, kinds[0]), ids(pages, kinds[1])
    tiff(tmp_path / "images" / "v.tif", image, **of_image)
    tiff(tmp_path / "masks" / "v_mask.tif", mask, **of_mask)
    samples = everything(root_of(tmp_path), memory=memory)
    assert list(samples.names) == [f"images/v.tif page {i}" for i in range(1, pages + 1)]
    shown = image if kinds[0] is np.uint8 else np.rint(image / 257).astype(np.uint8)
    for i in range(pages):
        assert np.array_equal(samples[i]["image"][0].numpy(), shown[i])
        assert np.array_equal(samples[i]["mask"].numpy(), mask[i])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kinds", [("tif", "npy"), ("npy", "tif"), ("npy", "npy")])
def test_arrays_are_stacks_too(kinds, order, tmp_path):
    values = {
        "images": np.asarray(volume(4, np.uint8), order=order),
        "masks": np.asarray(ids(4, np.uint8), order=order),
    }
    for (folder, pages), kind in zip(values.items(), kinds, strict=True):
        (tiff if kind == "tif" else array)(tmp_path / folder / f"v.{kind}", pages)
    samples = everything(root_of(tmp_path))
    assert list(samples.names) == [f"images/v.{kinds[0]} page {i}" for i in range(1, 5)]
    for i in range(4):
        assert np.array_equal(samples[i]["image"][0].numpy(), values["images"][i])
        assert np.array_equal(samples[i]["mask"].numpy(), values["masks"][i])


def test_pages_of_different_sizes_agree_page_by_page(tmp_path):
    sizes = [(20, 30), (24, 31), (9, 50)]
    cut = [volume(2, np.uint8, height=h, width=w)[0] for h, w in sizes]
    masks = [values % 3 for values in cut]
    tiff(tmp_path / "images" / "v.tif", cut)
    tiff(tmp_path / "masks" / "v.tif", masks, compression="lzw")
    samples = everything(root_of(tmp_path))
    assert [tuple(samples[i]["mask"].shape) for i in range(3)] == sizes
    assert all(np.array_equal(samples[i]["mask"].numpy(), masks[i]) for i in range(3))
    tiff(tmp_path / "masks" / "v.tif", [masks[0], masks[2], masks[1]])
    says = r"masks/v\.tif page 2: mask is 50x9, its image images/v\.tif page 2 decodes to 31x24"
    with pytest.raises(DataError, match=says):
        everything(root_of(tmp_path))


@pytest.mark.parametrize("name", ["v.tif", "v.npy"])
def test_different_numbers_of_pages_are_refused_with_both(name, tmp_path):
    tiff(tmp_path / "images" / "v.tif", volume(5, np.uint8))
    (tiff if name == "v.tif" else array)(tmp_path / "masks" / name, ids(3, np.uint8))
    with pytest.raises(DataError, match=r"images/v\.tif: image is a stack of 5 pages, and its mask .* has 3"):
        everything(root_of(tmp_path))


def test_image_stack_with_one_mask_is_refused(tmp_path):
    tiff(tmp_path / "images" / "v.tif", volume(5, np.uint8))
    written(tmp_path / "masks" / "v.png", encoded(ids(1, np.uint8)[0]))
    with pytest.raises(DataError, match=r"image is a stack of 5 pages, and its mask .*v\.png has 1"):
        everything(root_of(tmp_path))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (pixels(24, 31, 3, seed=0), ids(3, np.uint8)),  # a picture beside one page a class
        (
            np.zeros((24, 31, 3), np.uint8),
            np.eye(3, dtype=np.uint8)[ids(1, np.uint8)[0]],
        ),  # bands last beside classes last
        (np.zeros((3, 24, 31), np.uint8), np.eye(3, dtype=np.uint8)[ids(1, np.uint8)[0]].transpose(2, 0, 1)),
        (np.zeros((3, 24, 30), np.uint8), ids(3, np.uint8)),  # pages of another size
        (np.zeros((4, 24, 31), np.uint8), ids(3, np.uint8)),
        (np.zeros((24, 31), np.uint8), ids(3, np.uint8)),
    ],
)
def test_arrays_that_may_mean_something_else_are_refused(image, mask, tmp_path):
    array(tmp_path / "images" / "v.npy", image)
    array(tmp_path / "masks" / "v.npy", mask)
    with pytest.raises(
        DataError, match=r"mask is a stack of 3|a stack; a mask is one page|a page a class|expected \(H, W, C\)"
    ):
        everything(root_of(tmp_path), decoding=Decoding())


def test_one_page_a_class_is_no_stack_of_slices(tmp_path):
    tiff(tmp_path / "images" / "v.tif", pixels(24, 31, 3, seed=0).transpose(2, 0, 1))
    tiff(tmp_path / "masks" / "v.tif", np.stack([ids(1, np.uint8)[0] == i for i in range(3)]).astype(np.uint8) * 255)
    with pytest.raises(DataError, match=r"masks/v\.tif: mask is a stack of 3 pages, of which each pixel is set in one"):
        everything(root_of(tmp_path))


def test_damaged_stack_is_left_out_and_named(tmp_path, caplog):
    for name in ("whole", "cut"):
        tiff(tmp_path / "images" / f"{name}.tif", volume(3, np.uint8))
        path = tiff(tmp_path / "masks" / f"{name}.tif", ids(3, np.uint8))
    path.write_bytes(path.read_bytes()[:40])
    with caplog.at_level(logging.WARNING):
        assert len(everything(root_of(tmp_path))) == 3
    assert f"left out {path}: damaged TIFF file" in caplog.text


def test_fault_of_a_page_names_the_page(tmp_path):
    masks = ids(4, np.uint8)
    masks[2, 5, 5] = 77
    tiff(tmp_path / "images" / "v.tif", volume(4, np.uint8))
    tiff(tmp_path / "masks" / "v.tif", masks)
    with pytest.raises(DataError, match=r"1 of 4 samples cannot be used:\n  .*masks/v\.tif page 3: mask has ids"):
        everything(root_of(tmp_path))


def test_one_range_is_that_of_all_pages(tmp_path):
    image = volume(3, np.uint16) >> 8
    image[1] <<= 4  # 12 bits
    tiff(tmp_path / "images" / "v.tif", image)
    tiff(tmp_path / "masks" / "v.tif", ids(3, np.uint8))
    reader = FolderMasks(root_of(tmp_path), "val", val_share=1.0, decoding=Decoding(channels=1))
    samples = scan(reader, memory=False).samples
    assert reader.decoding.set_range == (0, 4095)
    assert np.array_equal(samples[0]["image"][0].numpy(), np.rint(image[0] / 4095 * 255).astype(np.uint8))


def test_validation_is_the_last_block_of_one_stack(tmp_path, caplog):
    tiff(tmp_path / "images" / "v.tif", volume(10, np.uint8))
    tiff(tmp_path / "masks" / "v.tif", ids(10, np.uint8))
    for seed in range(5):
        train, val = (FolderMasks(root_of(tmp_path), part, val_share=0.3, seed=seed) for part in ("train", "val"))
        assert list(train.names) == [f"images/v.tif page {i}" for i in range(1, 8)]
        assert list(val.names) == [f"images/v.tif page {i}" for i in range(8, 11)]
    with caplog.at_level(logging.WARNING):
        scan(val)
    assert "validation takes the last pages of the one stack, 8 to 10, since neighbouring pages" in caplog.text


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_validation_takes_whole_stacks_of_several(share, tmp_path, caplog):
    for i in range(4):
        tiff(tmp_path / "images" / f"{i}.tif", volume(i + 2, np.uint8))
        tiff(tmp_path / "masks" / f"{i}.tif", ids(i + 2, np.uint8))
    for seed in range(5):
        parts = [FolderMasks(root_of(tmp_path), part, val_share=share, seed=seed) for part in ("train", "val")]
        train, val = ({name.split(" page ")[0] for name in reader.names} for reader in parts)
        assert len(val) == max(1, int(4 * share))
        assert len(train) == 4 - len(val)
        assert not train & val
    with caplog.at_level(logging.WARNING):
        scan(parts[1])
    assert "validation is drawn as whole stacks" in caplog.text


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (16, 16)}])
def test_no_other_page_is_decoded(options, tmp_path):
    image, mask = volume(5, np.uint8), ids(5, np.uint8)
    tiff(tmp_path / "images" / "v.tif", image, **options)
    path = tiff(tmp_path / "masks" / "v.tif", mask, **options)
    reader = FolderMasks(root_of(tmp_path), "val", val_share=1.0)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for page in file.pages[:3]:
            for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    assert np.array_equal(reader[3]["mask"].numpy(), mask[3])


def test_page_that_went_missing_is_a_fault_of_that_file(tmp_path):
    path = tiff(tmp_path / "v.tif", volume(2, np.uint8))
    assert probe(Page(path, 2)).frames == 1
    with pytest.raises(Unusable, match=r"v\.tif page 3: damaged file: it no longer has a page 3"):
        probe(Page(path, 3))


@pytest.mark.data
def test_slices_of_the_public_volume_are_those_that_tifffile_reads(shared_data, tmp_path):
    source = shared_data / "isbi2012_em"
    if not source.is_dir():
        pytest.skip("no isbi2012_em")
    for folder, name in (("images", "train-volume.tif"), ("masks", "train-labels.tif")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "em.tif").symlink_to(source / name)
    written(tmp_path / "classes.txt", b"membrane\ncell\n")
    samples = everything(tmp_path, memory=False, mask_values={0: 0, 255: 1})
    image, mask = (tifffile.imread(source / name) for name in ("train-volume.tif", "train-labels.tif"))
    assert list(samples.names) == [f"images/em.tif page {i}" for i in range(1, 25)]
    assert all(np.array_equal(samples[i]["image"][0].numpy(), image[i]) for i in range(24))
    assert all(np.array_equal(samples[i]["mask"].numpy(), mask[i] == 255) for i in range(24))
