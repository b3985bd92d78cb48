"""CIFAR-10 in archives and in its binary batches."""

import gzip
import io
import tarfile

import pytest
import torch

from tests.data.readers.trees import archived, cifar, cifar_batches, encoded, pixels, written
from unpool.data import archive as archive_module
from unpool.data.archive import read_archive
from unpool.data.decode import decode_image
from unpool.data.readers.cifar import Cifar
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import GREY, RGB


def test_record_is_a_label_and_three_planes(tmp_path):
    reader = Cifar(cifar_batches(tmp_path), "train")
    assert len(reader) == 20
    assert [int(reader[i]["label"]) for i in range(4)] == [3, 1, 9, 0]
    record = pixels(4, 3073, seed=len("data_batch_1"))[1]
    assert reader[1]["image"].equal(torch.from_numpy(record[1:].reshape(3, 32, 32)))
    assert reader.info.classes[3] == "cat"
    assert reader.names[5] == "data_batch_2.bin/00001"


def test_grey_is_the_luma_of_the_planes(tmp_path):
    record = pixels(4, 3073, seed=len("data_batch_1"))[2, 1:].reshape(3, 32, 32).astype(float)
    luma = torch.from_numpy(0.299 * record[0] + 0.587 * record[1] + 0.114 * record[2])
    grey = Cifar(cifar_batches(tmp_path), "train", decoding=GREY)[2]["image"]
    assert (grey[0] - luma).abs().max() <= 0.51


def test_batches_are_found_in_their_folder_itself(tmp_path):
    root = cifar_batches(tmp_path) / "cifar-10-batches-bin"
    assert len(Cifar(root, "val")) == 4


def test_archive_is_preferred_to_batches_and_nothing_is_unpacked(tmp_path):
    cifar_batches(cifar(tmp_path))
    before = sorted(tmp_path.rglob("*"))
    reader = Cifar(tmp_path, "train")
    assert reader.names[0] == "train/cat/0000.jpg"
    assert len(reader) == 6
    scan(reader)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_of_an_archive_that_are_no_images_are_counted(tmp_path):
    image = encoded(pixels(32, 32, 3, seed=0), "JPEG")
    names = {"train/plane/0.jpg": image, "train/cat/0.jpg": image, "train/readme.txt": b"x", "train/cat/a.txt": b"x"}
    archived(tmp_path / "train.tar.gz", names)
    reader = Cifar(tmp_path, "train")
    assert (len(reader), reader.origin["ignored"]) == (2, 2)


def test_images_of_an_archive_are_those_of_its_files(tmp_path):
    reader = Cifar(cifar(tmp_path), "val")
    data = encoded(pixels(32, 32, 3, seed=len("test/cat/0000.jpg")), "JPEG")
    assert reader[0]["image"].equal(decode_image(data, RGB))
    assert [int(reader[i]["label"]) for i in range(4)] == [0, 0, 1, 1]


def test_labels_are_numbered_by_the_list_of_names(tmp_path):
    written(cifar(tmp_path) / "batches.meta.txt", b"plane\r\ncat\r\n\r\n")
    reader = Cifar(tmp_path, "val")
    assert reader.info.classes == ("plane", "cat")
    assert [int(reader[i]["label"]) for i in range(4)] == [1, 1, 0, 0]


def test_folder_that_the_list_of_names_lacks_is_refused(tmp_path):
    written(cifar(tmp_path) / "batches.meta.txt", b"plane\ndog\n")
    with pytest.raises(DataError, match="unknown classes 'cat'"):
        Cifar(tmp_path, "val")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_root_with_only_the_split_asked_for_works(split, tmp_path):
    cifar(tmp_path)
    (tmp_path / ("test.tar.gz" if split == "train" else "train.tar.gz")).unlink()
    assert len(Cifar(tmp_path, split)) > 0


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no val split; looked for test\.tar\.gz, test_batch\.bin, cifar-10-batches"):
        Cifar(tmp_path, "val")


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_root_with_some_of_the_training_batches_is_refused(below, tmp_path):
    folder = cifar_batches(tmp_path) / "cifar-10-batches-bin"
    for i in (2, 4, 5):
        (folder / f"data_batch_{i}.bin").unlink()
    match = r"bin lacks data_batch_2\.bin, data_batch_4\.bin, data_batch_5\.bin; the train split is all 5 batches"
    with pytest.raises(DataError, match=match):
        Cifar(tmp_path / below, "train")
    assert len(Cifar(tmp_path / below, "val")) == 4


def test_batch_of_a_wrong_length_is_refused(tmp_path):
    path = cifar_batches(tmp_path) / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch\.bin: 12291 bytes; expected a multiple of 3073"):
        Cifar(tmp_path, "test")


def test_label_that_is_no_class_is_refused(tmp_path):
    path = cifar_batches(tmp_path) / "cifar-10-batches-bin" / "test_batch.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(DataError, match="label 10; expected 0 to 9"):
        Cifar(tmp_path, "test")


def test_broken_image_in_an_archive_is_left_out_by_its_name(tmp_path):
    good = encoded(pixels(32, 32, 3), "JPEG")
    files = {"test/a/0.jpg": good, "test/a/1.jpg": b"", "test/b/0.jpg": good}
    archived(tmp_path / "test.tar.gz", files)
    result = scan(Cifar(tmp_path, "val"))
    assert [tuple(fault) for fault in result.faults] == [("test/a/1.jpg", "file is empty (0 bytes)")]
    assert list(result.samples.names) == ["test/a/0.jpg", "test/b/0.jpg"]


def test_image_of_another_size_is_refused(tmp_path):
    files = {f"test/{name}/0.jpg": encoded(pixels(32, 40, 3), "JPEG") for name in "ab"}
    archived(tmp_path / "test.tar.gz", files)
    with pytest.raises(DataError, match=r"test/a/0\.jpg: image is 40x32; CIFAR's are 32x32"):
        Cifar(tmp_path, "val")[0]


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:/x.jpg", "C:x.jpg", "a\\x.jpg"])
def test_member_that_leaves_the_archive_is_refused(name, tmp_path):
    path = archived(tmp_path / "a.tar.gz", {"a/ok.jpg": b"1", name: b"2"})
    with pytest.raises(DataError, match="leaves the archive's folder; archive refused"):
        read_archive(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_member_that_is_no_file_is_refused(kind, tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("a/x.jpg")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"member 'a/x\.jpg' is a link or a device; archive refused"):
        read_archive(path)


def test_member_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for data in (b"1", b"2"):
            member = tarfile.TarInfo("a/x.jpg")
            member.size = 1
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match=r"member 'a/x\.jpg' is there twice"):
        read_archive(path)


def test_archive_gzipped_in_two_parts_is_read_whole(tmp_path):
    path = archived(tmp_path / "a.tar.gz", {"a/x.jpg": b"1" * 3000, "a/y.jpg": b"2"})
    data = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    archive = read_archive(path)
    assert archive.names == ["a/x.jpg", "a/y.jpg"]
    assert archive.read(0) == b"1" * 3000


def test_truncated_archive_is_refused(tmp_path):
    path = archived(tmp_path / "a.tar.gz", {"a/x.jpg": bytes(pixels(2000))})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="truncated archive"):
        read_archive(path)


def test_damaged_archive_is_refused(tmp_path):
    path = archived(tmp_path / "a.tar.gz", {"a/x.jpg": bytes(pixels(2000))})
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged archive"):
        read_archive(path)


def test_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = archived(tmp_path / "a.tar.gz", {"a/x.jpg": bytes(3 << 20)})
    assert len(read_archive(path).names) == 1
    monkeypatch.setattr(archive_module, "MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1,048,576 bytes"):
        read_archive(path)


@pytest.mark.data
def test_public_archive_is_read_whole(shared_data):
    reader = Cifar(shared_data / "cifar10_jpeg", "val")
    assert len(reader) == 5000
    assert reader.info.classes[:3] == ("airplane", "automobile", "bird")
    assert reader.names[-1] == "test/truck/0499.jpg"
