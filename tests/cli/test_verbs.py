"""What each verb prints and hands on."""

import json
import re
from dataclasses import replace

import pytest

from unpool.cli import console
from unpool.cli.main import main
from unpool.cli.verbs import VERBS
from unpool.models import AREAS, MODELS, names
from unpool.network_names import listed_networks
from unpool.recipe import recipe_names, recipe_path
from unpool.tasks import TASKS


def test_help_names_every_verb(capsys):
    assert main([]) == main(["--help"]) == main(["-h"]) == 0
    capsys.readouterr()
    main([])
    shown = capsys.readouterr().out
    assert all(f"  {verb:10} {module.ABOUT}\n" in shown for verb, module in VERBS.items())


SHORT = ("attribution", "deconvnet", "dense", "features")  # views whose help fits into 80 columns


@pytest.mark.parametrize("words", [[], *([verb] for verb in VERBS), *(["show", view] for view in SHORT)])
def test_help_fits_into_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main([*words, "--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("columns", [80, 40])
def test_table_fits_into_a_terminal_and_a_pipe_gets_all(columns, capsys, monkeypatch):
    rows = [("name", "12", "x" * 30, "y" * 60), ("a longer name", "1,234,567", "x", "y")]
    console.write_table(rows)
    assert capsys.readouterr().out.splitlines()[0] == f"name           12         {'x' * 30}  {'y' * 60}"
    monkeypatch.setattr(console, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    console.write_table(rows)
    first, second = capsys.readouterr().out.splitlines()
    assert len(first) == columns
    assert first.endswith("...")
    assert second.startswith("a longer name  1,234,567  x")


def test_number_is_never_shortened_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setattr(console, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    console.write_table([("a name that is long", "1,234,567")])
    assert capsys.readouterr().out == "a name that is long  1,234,567\n"


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_says_what_it_does(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert VERBS[verb].ABOUT in capsys.readouterr().out


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unpool 0.")


def test_recipes_begin_their_lines(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()
    assert all(len(line.split()) > 3 for line in lines)


def test_recipe_is_printed_as_it_is_shipped(capsys):
    main(["recipes", "camvid_unet"])
    assert capsys.readouterr().out == recipe_path("camvid_unet").read_text()


def test_schema_is_one_json_object(capsys):
    assert main(["recipes", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"].keys() == {
        "format",
        "about",
        "data",
        "model",
        "task",
        "train",
    }


def test_models_are_listed_with_size_and_source(capsys):
    assert main(["models", "resnet18"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "task", "weights", "parameters", "GMACs", "source"]
    row = next(line for line in lines if line.startswith("resnet18 "))
    assert row.split()[1:4] == ["classification", "imagenet", "11,689,512"]


def test_models_as_json_are_the_table(capsys):
    main(["models", "vgg*", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert list(rows) == names("vgg*")
    assert rows["vgg16"]["params"] == MODELS["vgg16"].params == 138_357_544


def test_summary_counts_the_whole_network(capsys):
    assert main(["summary", "mnist_convnet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == MODELS["mnist_convnet"].params


def test_summary_takes_size_and_options_in_any_order(capsys):
    assert main(["summary", "--size", "33", "47", "resnet18", "num_classes=7", "--json", "width=8"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["input"] == [3, 33, 47]
    assert values["rows"][-1]["output"] == [7]


def test_train_hands_on_recipe_overrides_and_place(fake, capsys, tmp_path):
    assert main(["train", "camvid_unet", "train.lr=1", "--run", "here", "data.root=x"]) == 0
    [(verb, recipe, overrides, run)] = fake.calls
    assert (verb, recipe, overrides, str(run)) == ("train", "camvid_unet", ["train.lr=1", "data.root=x"], "here")
    assert capsys.readouterr().out.splitlines()[-1] == "here"


def test_train_leaves_checks_out_where_it_is_asked_to_and_never_of_a_run_that_goes_on(fake, capsys, tmp_path):
    assert main(["train", "camvid_unet", "--no-check"]) == 0
    assert fake.calls[0][4:] == ("unchecked",)
    assert main(["train", "--resume", str(tmp_path), "--no-check"]) == 2
    assert "--no-check is of a new run" in capsys.readouterr().err


def test_train_prints_metrics_then_report_then_the_run(fake, capsys):
    main(["train", "camvid_unet"])
    *metrics, report, run = capsys.readouterr().out.splitlines()
    assert metrics == ["mean_iou  0.5000", "iou", "  car     0.2500", "  sky     n/a"]
    assert (report, run) == ("report: runs/fake-1/report.html", "runs/fake-1")


def test_number_of_a_trivial_answer_is_printed_under_its_metric(fake, capsys):
    fake.metrics = {"top1": 0.5, "baseline": {"metric": "top1", "value": 1 / 3, "about": "Always bees."}}
    main(["train", "camvid_unet"])
    assert capsys.readouterr().out.splitlines()[:3] == ["top1      0.5000", "baseline", "  top1    0.3333"]


def test_train_prints_the_numbers_of_a_group_and_leaves_out_its_texts(fake, capsys):
    fake.metrics = {
        "training": {"precision": "float32", "time_s": 2.5, "hardware": {"cores": 2}},
        "versions": {"a": "1"},
    }
    main(["train", "camvid_unet"])
    assert capsys.readouterr().out.splitlines()[:-2] == ["training", "  time_s  2.5000"]


def test_what_libraries_print_goes_to_standard_error(fake, capsys):
    main(["train", "camvid_unet"])
    shown = capsys.readouterr()
    assert "a library" not in shown.out
    assert "a library prints" in shown.err
    assert "a library tells" in shown.err


def test_resume_hands_on_run_and_overrides(fake, capsys, tmp_path):
    (tmp_path / "r").mkdir()
    assert main(["train", "--resume", "r", "train.epochs=3"]) == 0
    [(verb, run, overrides)] = fake.calls
    assert (verb, str(run), overrides) == ("resume", "r", ["train.epochs=3"])
    assert capsys.readouterr().out.splitlines()[-1] == "r"


def test_resume_of_a_finished_run_says_so(fake, capsys):
    fake.metrics["already_complete"] = True
    assert main(["train", "--resume", "r"]) == 0
    assert "complete" in capsys.readouterr().err


def test_evaluate_as_json_prints_exactly_what_the_function_gives(fake, capsys):
    assert main(["evaluate", "r", "--json", "--split", "test", "--weights", "best", "data.root=x"]) == 0
    assert json.loads(capsys.readouterr().out) == {**fake.metrics, "run": "r"}
    [(verb, run, *rest)] = fake.calls
    assert (verb, str(run), rest) == ("evaluate", "r", [["data.root=x"], "test", "best"])


def test_evaluate_measures_the_last_weights_on_val_by_default(fake):
    main(["evaluate", "r"])
    assert fake.calls[0][3:] == ("val", "last")


def test_predict_hands_on_images_and_prints_the_folder(fake, capsys):
    assert main(["predict", "r", "-o", "out", "a.png", "b é.png"]) == 0
    [(_, run, images, out, weights, black_white, _, csv, *_)] = fake.calls
    assert [str(image) for image in images] == ["a.png", "b é.png"]
    assert (str(run), str(out), weights, black_white, csv) == ("r", "out", "last", None, False)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith("pictures and predictions.json are in out\n")


def test_predict_writes_a_line_for_each_image_to_standard_output_and_nothing_else(fake, capsys):
    fake.records = [{"image": "a.png", "brief": "bee 0.93"}, {"image": "b.png", "error": "b.png: file is empty"}]
    fake.records.append({"image": "c.png", "brief": "", "view": "c_view.jpg"})
    assert main(["predict", "r", "a.png", "b.png", "c.png", "--csv"]) == 3
    shown = capsys.readouterr()
    assert shown.out == "a.png  bee 0.93\nb.png  not answered\nc.png  c_view.jpg\n"
    assert "\npredicting 3 images\n" in f"\n{shown.err}"
    assert "pictures, predictions.json and predictions.csv are in r/predictions\n" in shown.err


def test_predict_ends_with_the_count_of_images_that_were_not_answered(fake, capsys):
    fake.records = [
        {"image": "a.png", "brief": "x"},
        {"image": "b.png", "error": "b.png: file is empty"},
        {"image": "c.png", "brief": "x"},
    ]
    assert main(["predict", "r", "-o", "out", "a.png", "b.png", "c.png"]) == 3
    shown = capsys.readouterr()
    assert "error: 1 of 3 images not answered; predictions.json has the reason of each" in shown.err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("predict,,a.png", "RUN"),
        ("predict,r,", "IMAGE"),
        ("predict,r,a.png,-o,", "-o/--out"),
        ("predict,r,a.png,--out=", "-o/--out"),
        ("evaluate,", "RUN"),
        ("train,", "RECIPE key=value"),
        ("train,--resume,", "--resume"),
        ("train,x,--run,", "--run/--run-dir"),
        ("show,dense,,a.png", "RUN|MODEL"),
        ("show,dense,r,", "IMAGE"),
        ("recipes,", "NAME"),
        ("models,", "PATTERN"),
    ],
)
def test_empty_argument_is_refused_by_name_and_is_not_the_working_directory(fake, capsys, words, names):
    assert main(words.split(",")) == 2
    assert f"error: argument {names}: it is empty; give a name or a path" in capsys.readouterr().err
    assert fake.calls == []


def test_predict_takes_a_network_that_was_published(fake):
    assert main(["predict", "resnet50", "a.png", "--weights", "imagenet", "-o", "out"]) == 0
    assert (str(fake.calls[0][1]), fake.calls[0][4]) == ("resnet50", "imagenet")


def test_predict_hands_on_the_range_of_values(fake, capsys):
    assert main(["predict", "r", "a.tif", "--range", "0", "4095", "-o", "out"]) == 0
    assert fake.calls[0][5] == (0, 4095)
    assert main(["predict", "r", "a.tif", "--range", "9", "9", "-o", "out"]) == 2
    assert "--range is 9 9; expected two numbers, the lower one first" in capsys.readouterr().err


def test_summary_refuses_weights_since_they_change_nothing(capsys):
    assert main(["summary", "resnet18", "weights=imagenet"]) == 2
    assert "leave weights=... out" in capsys.readouterr().err


def test_models_are_counted_anew_beside_the_published_figures(capsys):
    assert main(["models", "lenet5", "--count"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "parameters", "published", "output", "GMACs", "published", "verdict"]
    assert lines[0].split() == ["lenet5", "61,706", "61,706", "10", "0.00041652", "0.00042", "agrees"]


def test_count_that_differs_from_the_published_one_is_told_by_the_exit_code(capsys, monkeypatch):
    monkeypatch.setitem(MODELS, "lenet5", replace(MODELS["lenet5"], params=60_000))
    assert main(["models", "lenet5", "--count", "--json"]) == 1
    rows = {row["name"]: row["wrong"] for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows == {"lenet5": ["parameters"], "lenet5_28": []}


def test_misprints_are_listed_with_what_is_true(capsys):
    assert main(["models", "--misprints", "vgg16"]) == 0
    assert "15,237,608" in capsys.readouterr().out
    assert main(["models", "vgg16", "--misprints", "--json"]) == 0
    assert {row["about"] for row in json.loads(capsys.readouterr().out)["misprints"]} == {"vgg16"}
    assert main(["models", "--misprints", "xyz"]) == 2


@pytest.mark.parametrize("task", TASKS)
def test_models_are_listed_by_the_names_of_tasks(task, capsys):
    assert main(["models", task, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    fitting = [name for name, row in MODELS.items() if row.gives in TASKS[task].takes]
    assert [row["name"] for row in rows] == list(AREAS.get(task, fitting))
    assert {row["task"] for row in rows} == (
        {task} if task in AREAS else {listed_networks()[name].task for name in fitting}
    )


def test_models_of_a_task_and_timm_s_are_offered(capsys):
    assert main(["models", "denoising", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["name"] for row in rows] == list(AREAS["denoising"])
    assert {row["task"] for row in rows} == {"denoising"}
    assert main(["models", "efficientnet_b"]) == 2
    assert re.search(r"timm has \d+: unpool models 'timm/\*efficientnet_b\*'", capsys.readouterr().err)
    assert main(["models", "restnet18"]) == 2
    assert "did you mean 'resnet18'?" in capsys.readouterr().err
