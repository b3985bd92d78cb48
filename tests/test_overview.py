"""What a run says of itself before its first step, and what only the log keeps."""

import logging
import re

import pytest

import unpool
from unpool import conduct
from unpool.finishing import tell_baseline
from unpool.recipe import Model
from unpool.run_directory import shown_path
from unpool.screen import ReadingBar, audible, log_to_stderr
from unpool.task import Baseline, Description

SMALL = {
    "data.count": 8,
    "data.workers": 0,
    "model.width": 4,
    "train.epochs": 2,
    "train.batch": 4,
    "train.accumulate": 2,
}
SMALL |= {"train.precision": "float32", "train.memory_format": "contiguous"}


@pytest.fixture
def told(tmp_path, monkeypatch, caplog) -> list[logging.LogRecord]:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG, logger="unpool")
    unpool.train("scenes_unet", SMALL, run=tmp_path / "run")
    return caplog.records


def test_six_lines_say_what_is_trained(told):
    (text,) = [record.getMessage() for record in told if record.getMessage().startswith("data ")]
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == ["data", "network", "device", "steps", "run", "time"]
    assert re.fullmatch(
        r"data     8 images to train on, 8 to validate, 5 classes \(background \d+%, .* 1 more down to \w+ \d+%\)",
        lines[0],
    )
    assert lines[1] == "network  unet_same_bn, 30,561 parameters"
    assert re.fullmatch(r"device   cpu \(\d+ threads?\), float32, contiguous", lines[2])
    assert lines[3] == "steps    2 in 2 epochs, 4 images a batch of 2 batches"
    assert lines[4] == "run      run"
    assert re.fullmatch(r"time     about .*, evaluation not counted", lines[5])


def test_network_is_named_with_its_backbone():
    assert Model(name="unet", backbone="resnet34").described == "unet on resnet34"
    assert Model(name="resnet18").described == "resnet18"


@pytest.mark.parametrize(("higher_is_better", "measured"), [(True, 0.25), (False, 0.75)])
def test_score_no_better_than_a_trivial_answer_is_told_with_both_numbers(caplog, higher_is_better, measured):
    description = Description("score", higher_is_better=higher_is_better)
    tell_baseline(Baseline("score", 0.5, "Always yes."), {"score": measured}, description)
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert warning == f"the network's score is {measured:.4f}, not better than the 0.5000 of a trivial answer"


def test_table_of_parameters_is_in_the_run_and_on_the_screen_only_with_verbose(told, tmp_path):
    (table,) = [record for record in told if "variables, 30,561 values" in record.getMessage()]
    assert table.levelno == logging.DEBUG
    assert (tmp_path / "run" / "variables.txt").read_text() == table.getMessage() + "\n"


@pytest.mark.parametrize("verbose", [False, True])
def test_screen_shows_what_is_below_info_only_with_verbose(verbose, capsys):
    with log_to_stderr(verbose=verbose):
        logging.getLogger("unpool.x").debug("much")
        logging.getLogger("unpool.x").info("little")
    assert capsys.readouterr().err == ("much\n" if verbose else "") + "little\n"


@pytest.mark.parametrize(
    ("hears", "heard", "written"),
    [
        (None, [], "little\nwarning: much\n"),
        (logging.WARNING, ["much"], "little\n"),
        (logging.INFO, ["little", "much"], ""),
    ],
)
def test_what_no_handler_of_a_program_hears_is_written(hears, heard, written, capsys, monkeypatch):
    records: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.NullHandler() if hears is None else Listener()])
    monkeypatch.setattr(root, "level", hears or logging.WARNING)
    logging.getLogger("unpool").manager._clear_cache()
    with audible(None):
        logging.getLogger("unpool.x").info("little")
        logging.getLogger("unpool.x").warning("much")
    assert (records, capsys.readouterr().err) == (heard, written)
    logging.getLogger("unpool.x").info("after")
    assert records == heard + ["after"] * (hears == logging.INFO)


def test_reading_is_said_once_for_each_set_where_there_is_no_terminal(capsys):
    with ReadingBar() as progress:
        for total in (49, 1):
            for done in range(1, total + 1):
                progress(done, total)
    assert capsys.readouterr().err == "reading 49 images\nreading 1 image\n"


def test_path_is_shown_from_the_working_directory_where_it_is_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs" / "x") == "runs/x"
    assert shown_path(tmp_path.parent / "other") == str(tmp_path.parent / "other")


def test_time_counts_every_batch_of_a_step(tmp_path, monkeypatch, caplog):
    choose = conduct.speed.choose
    monkeypatch.setattr(conduct.speed, "choose", lambda *a, **k: choose(*a, **k)._replace(seconds_per_step=5.0))
    caplog.set_level(logging.INFO, logger="unpool")
    unpool.train("scenes_unet", SMALL, run=tmp_path / "run")
    assert "time     about 20 s, evaluation not counted" in caplog.text  # 2 steps of 2 batches
