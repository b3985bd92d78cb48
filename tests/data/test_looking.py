"""What a scan says of the files that it looked at."""

import logging
import re

from PIL import Image

from tests.data.test_store import Listed, segmented
from unpool.data.readers.folder import Folder
from unpool.data.store import scan


def test_scan_by_a_registered_reader_says_that_changes_of_its_files_go_unnoticed(caplog):
    caplog.set_level(logging.INFO)
    scan(Listed([segmented()] * 3))
    assert "the files of a reader of your own are not known: a change of their contents is not noticed" in caplog.text


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
