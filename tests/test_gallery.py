"""Every command in docs/gallery.md can be given, and it shows every picture of docs/gallery, with words for it."""

import re
import shlex
from pathlib import Path

from tests.test_readme import commands, fault_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")


def test_every_command_of_the_gallery_can_be_given() -> None:
    asked = commands(TEXT)
    assert len(asked) > 10
    assert {shlex.join(command): fault for command in asked if (fault := fault_of(command))} == {}


def test_every_picture_is_shown_once_and_described() -> None:
    shown = re.findall(r"!\[(.*)\]\((.*)\)", TEXT)
    files = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "gallery").iterdir()]
    assert sorted(path for _, path in shown) == sorted(files)
    assert all(len(words.split()) > 3 for words, _ in shown)
