"""MNIST in IDX files."""

import gzip

import numpy as np
import pytest
import torch

from tests.data.readers.trees import idx, mnist, pixels, written
from unpool.data.readers.mnist import Mnist, read_idx
from unpool.errors import DataError
from unpool.types import RGB


def test_image_and_label_are_those_of_the_files(tmp_path):
    reader = Mnist(mnist(tmp_path), "train")
    assert len(reader) == 6
    assert reader[4]["image"].equal(torch.from_numpy(pixels(6, 28, 28)[4:5]))
    assert int(reader[4]["label"]) == 4
    assert reader.info.classes == tuple("0123456789")


def test_grey_is_repeated_for_three_channels_in_memory_of_its_own(tmp_path):
    reader = Mnist(mnist(tmp_path), "val", decoding=RGB)
    image = reader[0]["image"]
    image[0] = 0
    assert image[1].equal(reader[0]["image"][1])
    assert reader[0]["image"][0].equal(reader[0]["image"][2])


def test_unpacked_files_in_the_usual_folder_are_found(tmp_path):
    for path in sorted(mnist(tmp_path).iterdir()):
        written(tmp_path / "MNIST" / "raw" / path.stem, gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(Mnist(tmp_path, "test")) == 4


def test_root_with_only_the_split_asked_for_works(tmp_path):
    for path in mnist(tmp_path).glob("train*"):
        path.unlink()
    assert len(Mnist(tmp_path, "val")) == 4
    with pytest.raises(DataError, match=r"no train split; looked for train-images-idx3-ubyte, train-images-idx3"):
        Mnist(tmp_path, "train")


@pytest.mark.parametrize("change", [-1, 1])
def test_file_longer_or_shorter_than_its_header_is_refused(change, tmp_path):
    data = idx(pixels(2, 3, 4))
    path = written(tmp_path / "x", data[:change] if change < 0 else data + b"0")
    with pytest.raises(DataError, match=rf"{24 + change} bytes after its header, which says \(2, 3, 4\)"):
        read_idx(path, axes=3)


def test_file_of_another_kind_is_refused(tmp_path):
    path = written(tmp_path / "x", idx(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="starts with 00000801; expected 00000803"):
        read_idx(path, axes=3)


def test_truncated_gzip_is_refused(tmp_path):
    path = written(tmp_path / "x.gz", gzip.compress(idx(pixels(20, 8, 8)))[:-20])
    with pytest.raises(DataError, match=r"x\.gz: cannot read"):
        read_idx(path, axes=3)


def test_different_numbers_of_images_and_labels_are_refused(tmp_path):
    path = mnist(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(5, np.uint8))))
    with pytest.raises(DataError, match="holds 5 labels and its image file 4 images"):
        Mnist(tmp_path, "val")


def test_label_that_is_no_digit_is_refused(tmp_path):
    path = mnist(tmp_path) / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.array([1, 2, 10, 3], np.uint8))))
    with pytest.raises(DataError, match="holds label 10; expected 0 to 9"):
        Mnist(tmp_path, "val")


@pytest.mark.data
def test_public_files_are_read(shared_data):
    reader = Mnist(shared_data / "mnist", "train")
    assert len(reader) == 60000
    assert [int(reader[i]["label"]) for i in range(5)] == [5, 0, 4, 1, 9]
