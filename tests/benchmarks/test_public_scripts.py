"""A line is inserted into a script as it is, at one place, and what the check said is read back from its report."""

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.mistakes.case import causes
from benchmarks.public_scripts.__main__ import edited, prepare, run, said_by, with_line
from benchmarks.public_scripts.scripts import REPORT, SCRIPTS, Change, Mistake, Script
from benchmarks.public_scripts.trees import BUILDING, TEXTURES, write_streets, write_textures

TEXT = """import torch


def main():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    images = torch.rand(32, 3, 4, 4)
    train = [(images[i : i + 8], (images[i : i + 8].mean((1, 2, 3)) > 0.5).long()) for i in (0, 8, 16, 24)]
    rate = 0.1
    for epoch in range(3):
        raise RuntimeError("the loop is not to be reached")


main()
"""
SCRIPT = Script(
    name="own",
    file="train.py",
    repository="",
    revision="",
    sha256="",
    words=(),
    write=lambda folder: (folder / "data").mkdir(),
    before="    for epoch in range(3):",
    arguments="model=model, train=train, loss=torch.nn.functional.cross_entropy, minutes=0.1",
    mistakes=(),
)
MIXED = Mistake(
    "labels_begin_at_1",
    "data.label_range",
    "made up",
    [Change("> 0.5).long())", "> 0.5).long() + 1)")],
    spoil=lambda root: (root / "data" / "spoiled").mkdir(),
)


@pytest.fixture
def scripts(tmp_path):
    (tmp_path / "scripts" / "own").mkdir(parents=True)
    (tmp_path / "scripts" / "own" / "train.py").write_text(TEXT)
    return tmp_path / "scripts"


def test_text_with_its_line_is_otherwise_as_it_was():
    lines = with_line(TEXT, SCRIPT).splitlines()
    number = lines.index(SCRIPT.before)
    assert lines.pop(number - 1) == f"    {SCRIPT.line.strip()}"
    assert lines == TEXT.splitlines()


@pytest.mark.parametrize("old", ["import", "nowhere"])
def test_place_that_is_not_there_once_is_refused(old):
    text = "import a\nimport b\n"
    with pytest.raises(ValueError, match="not once"):
        edited(text, Change(old, "x"))


def test_mistake_is_planted_in_the_text_and_in_the_data(scripts, tmp_path):
    (tmp_path / "run").mkdir()
    prepare(SCRIPT, MIXED, scripts=scripts, folder=tmp_path / "run")
    assert ".long() + 1)" in (tmp_path / "run" / "train.py").read_text()
    assert (tmp_path / "run" / "data" / "spoiled").is_dir()
    assert (scripts / "own" / "train.py").read_text() == TEXT


@pytest.mark.slow
def test_script_ends_at_its_line_with_what_the_check_says(scripts):
    right = run(SCRIPT, None, scripts=scripts, python=sys.executable)
    wrong = run(SCRIPT, MIXED, scripts=scripts, python=sys.executable)
    assert "failure" not in right
    assert right["measured"] > 5
    assert right["causes"] == []
    assert wrong["causes"][:1] == ["data.label_range"]


def test_what_a_report_says_stands_in_its_order():
    def found(verdict, cause, about="x"):
        return {"verdict": verdict, "about": about, "value": None, "cause": cause, "cure": "", "evidence": []}

    checks = [
        {"name": "late", "findings": [found("fail", "optim.rate_high"), found("warn", "data.leak")]},
        {"name": "early", "findings": [found("fail", "data.unreadable")]},
        {"name": "broken", "findings": [found("not applicable", "", "could not be measured: KeyError")]},
    ]
    said = said_by({"checks": checks, "seconds": 1.26})
    assert said["causes"] == ["data.unreadable", "optim.rate_high"]
    assert said["warnings"] == ["data.leak"]
    assert said["unmeasured"] == ["broken: could not be measured: KeyError"]
    assert (said["measured"], said["seconds"]) == (3, 1.3)


def test_each_script_has_five_mistakes_of_known_causes():
    known = causes()
    for script in SCRIPTS:
        assert len({mistake.name for mistake in script.mistakes}) == 5
        assert all(mistake.cause in known and set(mistake.also) <= set(known) for mistake in script.mistakes)
        assert all(mistake.changes or mistake.spoil for mistake in script.mistakes)
        compile(script.line.strip(), script.name, "exec")


def test_trees_lie_as_the_scripts_read_them(tmp_path):
    write_textures(tmp_path / "textures", train=2, val=1)
    write_streets(tmp_path / "streets", train=1, val=1, test=1)
    assert sorted(one.name for one in (tmp_path / "textures" / "val").iterdir()) == sorted(TEXTURES)
    assert len(list((tmp_path / "textures" / "train").glob("*/*.jpg"))) == 2 * len(TEXTURES)
    for split in ("train", "val", "test"):
        (image,) = (tmp_path / "streets" / split).iterdir()
        mask = Image.open(tmp_path / "streets" / f"{split}annot" / image.name)
        assert (Image.open(image).size, mask.mode) == (mask.size, "L")
        assert 0.02 < (np.asarray(mask) == BUILDING).mean() < 0.9


def test_report_has_a_name_in_the_line():
    assert f"open('{REPORT}', 'w')" in SCRIPT.line
