"""The table of a network in a terminal: narrow, by parts, and under the network's name."""

import json
import os

import pytest
from torch import nn

import unpool
from unpool.cli import summary as verb
from unpool.cli.main import main
from unpool.inspection.table_text import CUT, SHORTEST


@pytest.fixture(scope="module")
def table():
    return unpool.summary("resnet18")


def columns(text: str) -> list[str]:
    return text.splitlines()[1].split()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (None, []),
        (140, []),
        (120, []),
        (110, ["weights"]),
        (100, ["weights", "stride"]),
        (90, ["weights", "stride", "activations"]),
        (80, ["weights", "stride", "activations", "field"]),
        (60, ["weights", "stride", "activations", "field"]),
    ],
)
def test_table_fits_the_width_and_names_what_it_leaves_out(table, width, left_out):
    text = table.to_text(width)
    lines = text.splitlines()
    rules = [i for i, line in enumerate(lines) if line.startswith("---")]
    assert width is None or all(len(line) <= width for line in lines[1 : rules[1] + 1])
    assert not set(left_out) & set(columns(text))
    assert len(columns(text)) == 9 - len(left_out)
    notes = [line for line in lines if line.startswith("left out")]
    assert notes == ([f"left out to fit {width} columns: {', '.join(left_out)}"] if left_out else [])


def test_names_are_cut_at_their_beginning_and_keep_some_letters(table):
    for width in (62, 5):
        cut = [line.split()[0] for line in table.to_text(width).splitlines() if line.startswith(CUT)]
        whole = [row.name for row in table.rows if len(row.name) > len(cut[0])]
        assert cut == [CUT + name[len(CUT) - len(cut[0]) :] for name in whole]
        assert len(cut[0]) >= SHORTEST


def test_counts_are_shortened_before_anything_is_left_out(table):
    assert "118M" in table.to_text(110)
    assert "118,013,952" in table.to_text()


def test_rows_of_a_part_are_joined_to_their_sums(table):
    parts = table.at_depth(2)
    names = [row.name for row in parts.rows]
    assert names == [
        "",
        "backbone.stem",
        "backbone.pool",
        "backbone.stages",
        "head.pool",
        "head.flatten",
        "head.linear",
    ]
    assert [row.layer for row in parts.rows][1:4] == ["3 layers", "POOL3", "59 layers"]
    for key in ("params", "macs", "activations", "weights"):
        assert sum(getattr(row, key) for row in parts.rows) == sum(getattr(row, key) for row in table.rows)
    assert (parts.rows[3].output, parts.rows[3].field_size) == ((512, 7, 7), (435, 435))
    assert table.at_depth(99) == table
    with pytest.raises(ValueError, match="depth is 0; it must be at least 1"):
        table.at_depth(0)


def test_parts_of_one_name_that_do_not_follow_one_another_stay_apart():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4)

        def forward(self, image):
            return self.a(self.b(self.a(image)))

    rows = unpool.summary(Twice(), (1, 4, 4)).at_depth(1).rows
    assert [(row.name, row.layer) for row in rows][1:] == [("a", "2 layers"), ("b", "FC-4"), ("a", "2 layers")]


def test_summary_by_name_takes_the_published_size_or_another(table):
    assert (table.network, table.input) == ("resnet18", (3, 224, 224))
    assert unpool.summary("resnet18", (3, 64, 96)).input == (3, 64, 96)
    assert unpool.summary("lenet5_28").input == (1, 28, 28)
    with pytest.raises(ValueError, match="give input_shape"):
        unpool.summary(nn.Conv2d(1, 1, 1))


def test_summary_prints_itself_as_wide_as_the_terminal(table, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert str(table) == repr(table) == table.to_text(80)
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=(80, 24): os.terminal_size(fallback))
    assert str(table) == table.to_text()


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["--size", "64"], [3, 64, 64]),
        (["--size", "64", "96"], [3, 64, 96]),
        (["--size=64x96"], [3, 64, 96]),
        (["--size", "64", "in_channels=1"], [1, 64, 64]),
    ],
)
def test_size_is_one_number_or_two_before_or_after_the_name(words, shape, capsys):
    orders = [["resnet18", *words]] + ([[*words, "resnet18"]] if "=1" not in words[-1] else [])
    for order in orders:
        assert main(["summary", *order, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["input"] == shape


def test_command_names_the_network_with_its_options_and_fits_a_terminal(capsys, monkeypatch):
    main(["summary", "resnet18", "width=8"])
    assert capsys.readouterr().out.startswith("resnet18 width=8 on 3x224x224\nname ")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(verb, "is_terminal", lambda: True)
    main(["summary", "resnet18", "--depth", "2"])
    shown = capsys.readouterr().out
    assert "activations  weights" not in shown
    assert "backbone.stages" in shown


def test_command_counts_memory_and_writes_csv_and_markdown(capsys):
    assert main(["summary", "lenet5", "--batch", "8", "--optimizer", "adam"]) == 0
    assert "training, batch 8: " in (text := capsys.readouterr().out)
    assert "state of adam" in text
    assert main(["summary", "lenet5", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("features.conv1,CONV5-6,Conv2d,6x28x28,4704,150,156,")
    assert main(["summary", "lenet5", "--markdown"]) == 0
    assert "| features.conv1 | CONV5-6 | 6x28x28 |" in capsys.readouterr().out
    assert main(["summary", "lenet5", "--optimizer", "adm"]) == 2
    assert "there is no optimizer 'adm'; did you mean 'adam'?" in capsys.readouterr().err
