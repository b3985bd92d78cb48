import json

import pytest

from unpool.cli import environment
from unpool.cli.main import main

SMALL = ["data.count=8", "data.workers=0", "model.width=4", "train.batch=2"]


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_curve_is_printed_and_drawn_and_nothing_else_is_written(folder, capsys):
    assert main(["find-lr", "scenes_unet", *SMALL, "--steps", "30", "-o", "curve.html"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["rate", "loss"]
    assert out[-1] == "curve.html"
    assert [path.name for path in folder.iterdir() if path.name != "cache"] == ["curve.html"]
    assert "Learning-rate range test" in (folder / "curve.html").read_text()


def test_json_has_the_curve_and_what_it_says(folder, capsys):
    assert main(["find-lr", "scenes_unet", *SMALL, "--steps", "30", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert set(values) == {"rates", "losses", "smoothed", "proposal", "lowest", "too_low", "too_high", "broke_at"}
    assert len(values["rates"]) == len(values["losses"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "5"], "steps is 5; a curve needs at least 30"),
        (["--steps", "0"], "steps is 0; a curve needs at least 30"),
        (["-o", "curve.png"], "must end in .html"),
        (["-o", "mine.html"], "no file is replaced"),
    ],
)
def test_what_gives_no_curve_is_refused(folder, capsys, words, says):
    (folder / "mine.html").touch()
    assert main(["find-lr", "scenes_unet", *SMALL, *words]) == 2
    assert says in capsys.readouterr().err
