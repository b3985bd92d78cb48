"""What a scan says of many faults: some on the screen, all of them in a file."""

import logging
import os
import re
import tempfile
from pathlib import Path

import pytest

from tests.data.test_store import Listed
from unpool.data.findings import Findings, listing
from unpool.data.image_file import Unreadable, Unusable
from unpool.errors import DataError, EnvironmentFault
from unpool.types import Fault


@pytest.fixture(autouse=True)
def _temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def faults(count: int) -> list[Fault]:
    return [Fault(f"masks/{i}.png", f"mask has {i} colours") for i in range(count)]


def all_listed(text: str) -> list[str]:
    """Lines of the file that a message names."""
    return Path(re.search(r"all \d+ are listed in (.+)", text)[1]).read_text(encoding="utf-8").splitlines()


def test_list_that_the_screen_cuts_is_whole_in_a_file():
    text = listing(faults(9))
    assert text.count("\n") == 4
    assert text.splitlines()[-2].endswith("and 6 more of this cause")
    assert all_listed(text) == [f"masks/{i}.png: mask has {i} colours" for i in range(9)]


def test_causes_that_the_screen_leaves_out_are_in_the_file():
    many = [Fault("a.png", "x" * (i + 1)) for i in range(12)]
    assert len(all_listed(listing(many))) == 12


def test_list_that_is_whole_on_the_screen_writes_no_file(tmp_path):
    assert "listed in" not in listing(faults(3))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_takes_no_list_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert listing(faults(4)).endswith("(no list of all 4 could be written: No such file or directory)")


def test_name_that_is_no_text_is_escaped_in_the_list():
    text = listing([Fault(os.fsdecode(b"\xff.png"), "empty")] * 4)
    assert all_listed(text)[0] == "\\udcff.png: empty"


def test_set_that_cannot_be_used_names_the_list():
    findings = Findings(Listed([{}] * 20))
    for index in range(20):
        findings.add(findings.attempt(_unusable, index), f"{index}.png")
    with pytest.raises(DataError, match="20 of 20 samples cannot be used") as error:
        findings.verdict(20)
    assert len(all_listed(str(error.value))) == 20


def _unusable(index: int) -> None:
    raise Unusable(f"{index}.png", "wrong")


def test_files_left_out_say_where_all_are_listed(caplog):
    findings = Findings(Listed([{}] * 40))
    for fault in faults(5):
        findings.add(fault, fault.path)
    with caplog.at_level(logging.WARNING):
        findings.verdict(35)
    assert caplog.messages[0] == "5 of 40 files are left out"
    assert "all 5 files left out are listed under `skipped` in data.json" in caplog.text
    assert len(findings.manifest([])["skipped"]) == 5


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        Unreadable("0.png", "cannot read (Too many open files)"),
        DataError("cannot read (Too many open files)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_file_that_the_machine_cannot_open_is_never_left_out(error):
    def look(index: int) -> None:
        raise error

    with pytest.raises(EnvironmentFault, match=r"raise `ulimit -n`"):
        Findings(Listed([{}] * 20)).attempt(look, 0)
