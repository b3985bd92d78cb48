"""Where a run errs: from the command line, from Python and in the report."""

import json

import pytest
import torch

import unpool
from unpool.assemble.first_filters import FirstFilters
from unpool.cli import environment
from unpool.cli.main import main
from unpool.error_view import error_tables
from unpool.errors import RecipeError
from unpool.tasks.classification import Classification
from unpool.types import DataInfo

SMALL = {"data.count": 12, "data.workers": 0, "model.width": 4, "train.epochs": 1, "train.precision": "float32"}
SMALL |= {"train.memory_format": "contiguous", "data.augment": ["flip"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        unpool.train("scenes_unet", SMALL, run=folder / "run")
    return folder / "run"


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "prepare_torch", lambda: None)
    return tmp_path


def test_errors_of_a_run_are_what_its_evaluation_measured(run, quiet):
    view, kept = unpool.show_errors(run, pictures=False), json.loads((run / "metrics.json").read_text())
    for name in ("mean_iou", "ece", "boundary_iou", "recall_by_size", "confusion", "calibration"):
        assert view.values[name] == kept[name], name


def test_errors_are_printed_as_tables_and_written_as_a_page_that_replaces_nothing(run, quiet, capsys):
    page = quiet / "errors.html"
    assert main(["show", "errors", str(run), "-o", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    headings = [line.split()[0] for line, before in zip(lines, ["", *lines], strict=False) if not before]
    assert headings == ["class", "size", "truth", "mean"]
    assert lines[-1] == str(page)
    text = page.read_text(encoding="utf-8")
    parts = ["<h3>Calibration", "<h2>Worst", "<h2>Most confident mistakes"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert main(["show", "errors", str(run), "-o", str(page)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_errors_as_json_are_one_object_without_a_page(run, quiet, capsys):
    assert main(["show", "errors", str(run), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["images"] == 12
    assert "page" not in values


def test_kinds_of_mistakes_are_printed_with_what_they_cost():
    described = unpool.tasks.detection.Detection(DataInfo(classes=("cat",))).described
    values = {"mistakes": {"class": 3, "missed": 1200}, "mistake_costs": {"class": 0.25, "missed": None}}
    (rows,) = error_tables(values, described)
    assert rows[1:] == [("class", "0.2500", "3"), ("missed", "n/a", "1,200")]


def test_most_frequent_confusions_come_first_and_right_answers_never():
    described = Classification(DataInfo(classes=("a", "b", "c"))).described
    values = {"recall": dict.fromkeys("abc", 0.5), "confusion": [[9, 1, 0], [3, 9, 0], [0, 2, 9]]}
    assert error_tables(values, described)[1] == [
        ("truth", "answer", "images"),
        ("b", "a", "3"),
        ("c", "b", "2"),
        ("a", "b", "1"),
    ]


def test_report_has_augmented_images_and_the_first_layer_before_and_after(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    parts = [f"<h2>{name}</h2>" for name in ("Most confident mistakes", "Augmentation", "First layer", "Data")]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "before training" in text
    assert "after training" in text


def test_filters_before_training_outlast_a_resume(run):
    states = sorted((run / "last").glob("*/*.json"))
    kept = next(
        state["callbacks"]["FirstFilters"]
        for path in states
        if "callbacks" in (state := json.loads(path.read_text())) and "FirstFilters" in state["callbacks"]
    )
    resumed = FirstFilters()
    resumed.load_state_dict(kept)
    assert resumed.state_dict() == kept
    trained = unpool.load(run).model
    first = next(module for module in trained.modules() if isinstance(module, torch.nn.Conv2d))
    before = resumed._before
    assert before.shape == first.weight.shape
    assert not torch.allclose(before, first.weight, atol=1e-4)


def test_errors_of_what_is_no_run_are_refused(quiet, capsys):
    assert main(["show", "errors", str(quiet / "gone")]) != 0
    assert "gone" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in unpool.__all__ if name.startswith("show_")])
def test_every_show_function_is_documented_to_give_something_to_save(name):
    import typing

    kind = typing.get_type_hints(getattr(unpool, name))["return"]
    assert {"_repr_html_", "save"} <= set(dir(kind))


def test_views_are_saved_and_shown_in_a_notebook(quiet):
    sheet = unpool.show_augment("scenes_unet", SMALL)
    assert sheet.save(quiet / "sheet.png").stat().st_size > 1000
    assert "Augmentation" in sheet.save(quiet / "sheet.html").read_text(encoding="utf-8")
    assert sheet._repr_html_().startswith("<iframe ")
    with pytest.raises(RecipeError, match=r"saved as \.html or \.png"):
        sheet.save(quiet / "sheet.svg")


def test_anchors_are_a_page_too(quiet):
    shown = unpool.show_anchors("scenes_ssd", {"data.count": 8, "model.width": 8})
    assert "Reached least" in shown.view().to_page() or shown.share == 1
    assert shown.save(quiet / "anchors.html").is_file()
