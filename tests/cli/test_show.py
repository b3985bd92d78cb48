"""`unpool show`: what there is to show, and what is handed on."""

import json

import pytest
import torch
from PIL import Image

from unpool.cli import environment
from unpool.cli.main import main
from unpool.cli.show import SHOWN


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    monkeypatch.chdir(tmp_path)
    values = torch.randint(0, 256, (44, 52), generator=torch.Generator().manual_seed(1)).byte()
    Image.fromarray(values.numpy()).save("page.png")
    return tmp_path


def test_help_lists_what_there_is_to_show(capsys):
    assert main(["show", "--help"]) == main(["show"]) == 0
    capsys.readouterr()
    main(["show", "-h"])
    shown = capsys.readouterr().out
    assert all(f"  {name:10} {module.ABOUT}\n" in shown for name, module in SHOWN.items())
    assert main(["show", "dense", "--help"]) == 0
    assert "--output_stride" in capsys.readouterr().out


def test_unknown_thing_to_show_is_refused_with_the_nearest(capsys):
    assert main(["show", "dens", "lenet5", "page.png"]) == 2
    assert "there is nothing called 'dens' to show" in capsys.readouterr().err


def test_dense_writes_a_picture_and_prints_lines(place, capsys):
    assert main(["show", "dense", "lenet5", "page.png", "--output_stride", "2", "--class", "3"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "slid",
        "one",
        "crops",
        "dilated",
        "shared",
        "heat",
        "page_dense.png",
    ]
    assert "class 3" in lines[5]
    assert "warning: the weights are random" in err
    assert Image.open(place / "page_dense.png").mode == "RGB"


def test_dense_as_json_is_one_object(place, capsys):
    arguments = ["show", "dense", "lenet5", "page.png", "--output_stride", "2", "--json", "-o", "a.png"]
    assert main([*arguments, "--size", "40", "36"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["size_hw"], values["window_hw"], values["output_stride"]) == ([40, 36], [32, 32], 2)
    assert values["picture"] == "a.png"
    assert values["coarse_vs_crops"]["positions"] == 6


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["lenet5", "gone.png"], 3, "gone.png"),
        (["lenet5", "page.png", "--size", "31", "60"], 2, "resize the image"),
        (["unet", "page.png"], 2, "is no classifier"),
        (["lenet6", "page.png"], 2, "no network is called 'lenet6'"),
        (["lenet5", "page.png", "--output_stride", "3"], 2, "cannot be dilated to stride 3"),
        (["lenet5", "page.png", "--class", "cat"], 2, "there is no class 'cat'"),
        (["lenet5", "page.png", "-o", "page.png"], 2, "exists already"),
    ],
)
def test_what_cannot_be_shown_has_a_code_and_a_reason(place, capsys, arguments, code, told):
    assert main(["show", "dense", *arguments]) == code
    assert told in capsys.readouterr().err
    assert not (place / "page_dense.png").exists()


def test_dream_writes_a_picture_and_prints_what_was_excited(place, capsys):
    arguments = ["show", "dream", "lenet5", "--class", "3", "--octaves", "1", "--steps", "2", "-o", "three.png"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("note: the weights are random")
    assert lines[1].startswith("the score of class 3: ")
    assert lines[2] == "three.png"
    assert Image.open(place / "three.png").size == (32, 32)
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_dream_of_a_photograph_as_json_is_one_object(place, capsys):
    arguments = ["show", "dream", "lenet5", "page.png", "--layer", "features.conv1", "--unit", "2", "--steps", "1"]
    assert main([*arguments, "--json", "--size", "36", "40"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["goal"], values["size_hw"], values["picture"]) == ("unit 2 of features.conv1", [36, 40], "dream.png")
    assert len(values["scores"]) == 1
    assert values["notes"][1].startswith("1 of 4 octaves")
