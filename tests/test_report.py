import json
import re

import pytest
import torch

from tests.bound import bind
from unpool.errors import EnvironmentFault, ModelFileError
from unpool.report import Example, write_report
from unpool.report.classes import classes_section, classes_title
from unpool.report.facts import data_section
from unpool.task import Description, Exhibit
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.tasks.detection import Detection
from unpool.tasks.segmentation import Segmentation
from unpool.types import DataInfo

HOSTILE = "</title><script>alert('x')</script><img src=http://example.org/x onerror=alert(1)>"
INFO = DataInfo(classes=("sky", "road", "bicyclist"))
DESCRIBED = Segmentation(INFO).described
IMAGE = torch.full((3, 24, 32), 90, dtype=torch.uint8)


def history():
    rows = [(1, 46, 1.2, 0.31), (2, 92, 0.8, 0.62), (3, 138, 0.7, 0.58)]
    return [{"epoch": e, "step": s, "loss": loss, "mean_iou": iou} for e, s, loss, iou in rows]


def segmentation_metrics(**more):
    return {
        "mean_iou": 0.58,
        "pixel_accuracy": 0.913,
        "loss": 0.7,
        "images": 101,
        "iou": {"sky": 0.91, HOSTILE: 0.25, "bicyclist": None},
        "history": history(),
        "training": {
            "best_step": 92,
            "time_s": 3725.0,
            "precision": "bfloat16",
            "hardware": {"processor": "A <fast> one", "flags": ["amx_bf16", "avx2"], "cores": 2, "gpus": []},
            "versions": {"python": "3.11.9", "torch": "2.15.0"},
        },
        "precision": {"sky": 0.9, HOSTILE: 0.5, "bicyclist": None},
        "data": {"train": 367, "val": 101, "skipped": [{"path": f"a/{HOSTILE}.png", "reason": "truncated"}]},
        "baseline": {"metric": "mean_iou", "value": 0.271, "about": "Colour alone."},
        **more,
    }


@pytest.fixture
def run(tmp_path):
    return lay_run(tmp_path / "run", segmentation_metrics())


def lay_run(folder, metrics):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "recipe.yaml").write_text(f"format: 1\nabout: {HOSTILE}\n")
    (folder / "config.json").write_text(
        json.dumps(
            {
                "network": {"name": "unet", "backbone": "resnet34"},
                "task": {"name": "segmentation"},
                "info": {"classes": ["sky", HOSTILE, "bicyclist"], "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]},
            }
        )
    )
    step = {"kind": "step", "epoch": 0, "lr": 0.1, "images_per_s": 40.0, "waited_for_data_s": 2.0, "data_waited_s": 9.0}
    lines = [json.dumps({**step, "step": s, "loss": 2 / s}) for s in range(1, 139)]
    lines.insert(5, json.dumps({"kind": "evaluation", "step": 5, "epoch": 1, "mean_iou": 0.3}))
    bind(folder)
    (folder / "log.jsonl").write_text("\n".join(lines) + '\n{"kind": "step", "st')
    return folder


def make(run, examples=(), worst=(), described=DESCRIBED, best="mean_iou", legend=()):
    path = write_report(run, described=described, best=best, examples=examples, worst=worst, legend=legend)
    return path.read_text(encoding="utf-8")


def example(name, caption=""):
    return Example(name, Exhibit((("image", IMAGE), ("prediction", IMAGE)), caption=caption), 0.25)


def test_loss_of_an_evaluation_is_no_point_of_the_training_curve(run):
    before = make(run)
    log = run / "log.jsonl"
    log.write_text(log.read_text().replace('"mean_iou": 0.3', '"mean_iou": 0.3, "loss": 1000.0'))
    assert make(run) == before


def test_report_is_one_file_in_the_run(run):
    before = {path.name for path in run.iterdir()}
    path = write_report(run, described=DESCRIBED, best="mean_iou", examples=[example("a")], worst=[])
    assert path == run / "report.html"
    assert {entry.name for entry in run.iterdir()} == before | {"report.html"}


def test_report_takes_nothing_from_elsewhere_and_runs_nothing_of_the_data(run):
    text = make(run, [example(HOSTILE, HOSTILE)], [example(HOSTILE, HOSTILE)], legend=[(HOSTILE, (1, 2, 3))])
    assert text.count("<script") == 1  # ours
    assert "onerror=alert(1)>" not in text
    assert set(re.findall(r"<img src=\"([^,]*),", text)) == {"data:image/jpeg;base64"}
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert text.count("&lt;script&gt;") >= 8  # class, legend, file, caption, skipped file, recipe


def test_report_names_figures_by_their_words(run):
    text = make(run)
    assert '<p class="headline"><b>58.0 %</b><span>mean IoU</span></p>' in text
    for value, name in (("91.3 %", "pixel accuracy"), ("0.7", "loss"), ("1 h 02 min", "time")):
        assert f"<td>{name}</td><td>{value}</td>" in text
    assert "<td>mean IoU</td>" not in text
    assert "unet on resnet34, segmentation" in text


def test_report_says_where_the_best_evaluation_was_and_not_to_publish_it(run):
    text = make(run)
    assert "The best mean IoU was 62.0 % after epoch 2" in text
    assert "not one to publish" in text


def test_report_of_a_run_that_ended_at_its_best_says_so(tmp_path):
    metrics = segmentation_metrics(mean_iou=0.7)
    metrics["history"].append({"epoch": 4, "step": 184, "loss": 0.6, "mean_iou": 0.7})
    assert "which was the best one too" in make(lay_run(tmp_path / "run", metrics))


def test_report_lists_classes_from_the_best_to_the_absent(run):
    bars = re.findall(r'class="value">([^<]+)<', make(run))
    assert bars == ["91.0 %", "25.0 %", "absent"]


def test_report_names_classes_that_were_not_measured_or_never_learned(tmp_path):
    metrics = segmentation_metrics()
    metrics["data"] |= {"not_measured": ["sky", HOSTILE], "never_learned": ["bicyclist"]}
    text = make(lay_run(tmp_path / "run", metrics))
    assert "their scores are n/a, means are over the rest: sky, &lt;/title&gt;" in text
    assert "never learned, since the training set has none of them: bicyclist." in text


def test_report_shows_how_many_targets_each_class_has(tmp_path):
    metrics = segmentation_metrics()
    metrics["data"]["classes"] = {"label": {"counts": {"ant": 1200, HOSTILE: 30}, "largest_to_smallest": 40.0}}
    text = make(lay_run(tmp_path / "run", metrics))
    assert "Classes of the training set (label): largest to smallest 40 to 1" in text
    assert re.findall(r'class="value">([^<]+)<', text)[-2:] == ["1,200", "30"]


def test_report_says_on_how_many_images_the_boxes_of_each_class_are():
    boxes = {"counts": {"RBC": 2381, "WBC": 214}, "images": {"RBC": 205, "WBC": 1}}
    text = "".join(map(str, data_section({"data": {"train": 205, "val": 87, "classes": {"labels": boxes}}})))
    assert "2,381 on 205 images" in text
    assert re.search(r"214 on 1 image\b", text)


def test_report_compares_with_colour_alone(run):
    text = make(run)
    assert "a trivial answer: Colour alone. It reaches mean IoU 27.1 %." in text
    assert 'class="warning"' not in text


@pytest.mark.parametrize("value", [0.271, 0.1])
def test_report_warns_above_all_else_of_a_score_that_is_not_above_the_trivial_one(tmp_path, value):
    text = make(lay_run(tmp_path / "run", segmentation_metrics(mean_iou=value)))
    warned = text.index('class="warning"')
    assert warned < text.index('class="headline"')
    assert f"mean IoU is {100 * value:.1f} % and a trivial answer reaches 27.1 %" in text[warned:]


def test_report_warns_of_an_error_that_is_not_below_the_trivial_one(tmp_path):
    described = {"error": Description("error", unit="pixels", higher_is_better=False)}
    for error, warns in ((2.0, False), (4.0, True)):
        metrics = {"error": error, "baseline": {"metric": "error", "value": 3.0, "about": "The middle."}}
        text = make(lay_run(tmp_path / f"run{error}", metrics), described=described, best="error")
        assert ('class="warning"' in text) == warns


def test_report_draws_training_and_validation_and_leaves_out_a_cut_line(run):
    text = make(run)
    assert re.findall(r"<figcaption><b>([^<]+)", text) == ["Loss", "Validation", "Learning rate", "Images a second"]
    assert "Loss: training, validation" in text


def test_charts_are_over_epochs_and_name_both_axes(run):
    text = make(run)
    assert re.findall(r">([a-z%, ]+)</text>", text) == [
        *("epoch", "loss", "epoch", "%", "epoch", "learning rate", "epoch", "images a second")
    ]
    marks = re.findall(r"<title>validation ([\d.]+) at ([\d.]+)</title>", text)
    assert marks == [("1.2", "1"), ("0.8", "2"), ("0.7", "3")]
    assert "<title>mean IoU 62 at 2</title>" in text


def test_report_says_how_long_training_waited_for_data(run):
    assert "waited 4 min 36 s for data, 7.4 % of its time: give it more workers" in make(run)


def test_report_shows_skipped_files_recipe_machine_and_versions(run):
    text = make(run)
    assert "1 file was skipped" in text
    assert "truncated" in text
    assert "<pre>format: 1\nabout: &lt;/title&gt;" in text
    for cell in ("bfloat16", "A &lt;fast&gt; one", "amx_bf16, avx2", "3.11.9", "2.15.0"):
        assert f"<td>{cell}</td>" in text
    assert "gpus" not in text


def test_report_of_a_classifier_shows_recall_and_confusion(tmp_path):
    names = ["cat", "dog"]
    metrics = {
        "top1": 0.8,
        "top5": 1.0,
        "loss": 0.5,
        "recall": dict(zip(names, (0.75, 0.85), strict=True)),
        "confusion": [[3, 1], [2, 11]],
    }
    text = make(
        lay_run(tmp_path / "run", metrics), described=Classification(DataInfo(classes=("cat", "dog"))).described
    )
    assert "Recall, by class" in text
    assert "top-5" not in text  # of two classes
    assert re.findall(r'--share:[\d.]+">(\d+)<', text) == ["3", "1", "2", "11"]
    assert "<h3>Confusion, images</h3>" in text


def test_report_of_very_many_pixels_writes_their_confusion_in_percent(tmp_path):
    metrics = segmentation_metrics(confusion=[[900_000, 100_000, 0], [0, 0, 0], [1, 0, 3]])
    text = make(lay_run(tmp_path / "run", metrics))
    assert "<h3>Confusion, % of the pixels of each true class</h3>" in text
    assert re.findall(r'title="([^"]* of [^"]*)">([\d.]+)<', text) == [
        *(("900,000 of 1,000,000", "90.0"), ("100,000 of 1,000,000", "10.0"), ("1 of 4", "25.0"), ("3 of 4", "75.0"))
    ]


def test_report_calls_a_number_a_share_only_where_its_description_says_so(tmp_path):
    metrics = {"ssim": 0.91, "psnr": 28.5, "left_out": 0.5, "loss": 0.25, "history": history()}
    text = make(lay_run(tmp_path / "run", metrics), described=Denoising(DataInfo()).described)
    for value, name in (("28.5 dB", "PSNR"), ("0.91", "SSIM"), ("0.25", "loss")):
        assert f"<b>{value}</b><span>{name}</span>" in text or f"<td>{name}</td><td>{value}</td>" in text
    assert "91.0 %" not in text
    assert "left_out" not in text


def test_report_names_the_lowest_as_the_best_where_lower_is_better(tmp_path):
    described = {"error": Description("error", higher_is_better=False)}
    rows = [{"epoch": e, "step": e, "error": error} for e, error in ((1, 3.0), (2, 1.0), (3, 2.0))]
    text = make(lay_run(tmp_path / "run", {"error": 2.0, "history": rows}), described=described, best="error")
    assert "The best error was 1 after epoch 2" in text


def test_report_names_as_the_best_what_chose_the_best_weights(tmp_path):
    described = {"share": Description("share", is_share=True), "error": Description("error", higher_is_better=False)}
    rows = [{"epoch": e, "step": e, "share": e / 10, "error": e} for e in (1, 2, 3)]
    text = make(lay_run(tmp_path / "run", {**rows[-1], "history": rows}), described=described, best="error")
    assert "The best error was 1 after epoch 1" in text
    assert '<p class="headline"><b>3</b><span>error</span></p>' in text


def test_report_of_many_classes_shows_the_extremes_and_the_most_frequent_mistakes(tmp_path):
    names = [f"class {i}" for i in range(60)]
    counts = [[5 if i == j else 0 for j in range(60)] for i in range(60)]
    counts[7][9] = 4
    recall = {name: i / 100 for i, name in enumerate(names)}
    metrics = {"top1": 0.8, "recall": recall, "confusion": counts}
    described = Classification(DataInfo(classes=tuple(names))).described
    text = make(lay_run(tmp_path / "run", metrics), described=described)
    assert text.count('class="bar"') == 40
    assert "20 best and the 20 worst of 60" in text
    assert '<td>class 7</td><td>class 9</td><td class="number">4</td>' in text


def test_report_lives_with_what_a_run_did_not_measure(tmp_path):
    run = lay_run(tmp_path / "run", {"loss": None, "history": [], "data": {"train": 1, "val": 1, "skipped": []}})
    (run / "log.jsonl").unlink()
    (run / "config.json").unlink()
    text = make(run)
    assert "no values" in text
    assert "No file was skipped." in text


def test_report_of_a_run_without_metrics_is_refused(run):
    (run / "metrics.json").unlink()
    with pytest.raises(ModelFileError, match=r"metrics\.json"):
        make(run)


def test_report_that_cannot_be_written_is_an_environment_fault(run):
    (run / "report.html").mkdir()
    with pytest.raises(EnvironmentFault, match=r"report\.html"):
        make(run)


def test_section_of_each_joint_is_not_called_classes():
    assert classes_title({"mean_error": Description("error"), "pck": Description("PCK", each="joint")}) == "Joints"
    assert classes_title({"iou": Description("IoU", each="class")}) == classes_title({}) == "Classes"


def test_report_of_a_detector_shows_curves_and_what_mistakes_cost(tmp_path):
    metrics = {
        "ap": 0.5,
        "ap_by_class": {"cat": 0.6, "dog": 0.4, "emu": None},
        "precision": [[1.0, 0.5, 0.0], [0.5, 0.5, 0.0], []],
        "mistake_costs": {"class": 0.125, "missed": 0.0},
        "mistakes": {"class": 3, "missed": 0},
    }
    task = Detection(DataInfo(classes=("cat", "dog", "emu")))
    text = make(lay_run(tmp_path / "run", metrics), described=task.described, best="ap")
    assert "Precision at IoU 0.5 by recall: cat, dog" in text
    assert "AP at IoU 0.5 to 0.95, by class" in text
    assert "AP at IoU 0.5 lost to mistakes, by kind" in text
    assert text.index("12.5 %") > text.index("lost to mistakes")


def test_curves_of_many_classes_are_their_mean():
    described = {
        "ap": Description("AP", each="class"),
        "precision": Description("Precision", unit="recall", each="class", is_curve=True),
    }
    metrics = {"ap": {str(i): 0.5 for i in range(9)}, "precision": [[1.0, 0.5, 0.0]] * 9}
    chart = str(classes_section(metrics, described)[-1])
    assert chart.startswith('<div class="charts">')  # no wider than the charts of the training
    assert "mean of 9" in chart
    assert ">1</text>" in chart
    assert ">2</text>" not in chart


def test_sizes_keep_their_order_and_classes_are_sorted():
    kinds = {"iou": "class", "sizes": "size"}
    described = {name: Description(name, is_share=True, each=each) for name, each in kinds.items()}
    metrics = {"iou": {"a": 0.1, "b": 0.9}, "sizes": {"small": 0.1, "large": 0.9}}
    text = "".join(map(str, classes_section(metrics, described)))
    assert re.findall(r'class="name" title="(\w+)"', text) == ["b", "a", "small", "large"]


def test_all_numbers_of_a_class_stand_in_one_table():
    described = {name: Description(name, is_share=True, each="class") for name in ("recall", "precision")}
    text = "".join(map(str, classes_section({"recall": {"a": 0.5}, "precision": {"a": None}}, described)))
    assert "<th>class</th><th>recall</th><th>precision</th>" in text
    assert "<td>a</td><td>50.0 %</td><td>n/a</td>" in text


def test_calibration_is_a_curve_over_the_probability_with_its_bins():
    described = {"bins": Description("Calibration", unit="images", each="bin", is_calibration=True)}
    text = "".join(map(str, classes_section({"bins": [[0.9, 0.25, 1200.0]]}, described)))
    assert "share right 25 at 90" in text
    assert "probability of the answer, %" in text
    assert '<td>90.0 %</td><td>25.0 %</td><td class="number">1200</td>' in text
