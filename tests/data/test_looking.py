"""What a scan says of the files that it looked at."""

import logging
import re

from PIL import Image

from tests.data.test_store import Listed, segmented
from unpool.data.readers.folder import Folder
from unpool.data.store import scan


def test_samples_that_no_files_are_known_of_have_checksums_of_image_and_target():
    first, other, masked = segmented(), segmented(), segmented()
    other["image"] = other["image"] ^ 1
    masked["mask"] = 1 - masked["mask"]
    sums = scan(Listed([first, first, other, masked])).manifest["checksums"]
    assert sums[0] == sums[1]
    assert len(set(sums)) == 3


def test_scan_of_a_set_that_is_not_held_says_how_many_images_it_decoded(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (5, 4), {"a": "red", "b": "blue"}[name]).save(tmp_path / "train" / name / "1.png")
    reader = Folder(tmp_path, "train")
    scan(reader, memory=True)
    assert "decoded" not in caplog.text
    scan(reader, memory=False)
    assert re.search(r"decoded 2 images before training in \d+ s, to be sure of them", caplog.text)
