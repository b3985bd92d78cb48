import io
import json

import pytest
import torch
from rich.console import Console

from tests.training.toy_run import Loader, make_job, network
from unpool.errors import EnvironmentFault
from unpool.training.callbacks import Callback
from unpool.training.evaluation import Evaluate
from unpool.training.job import StepRecord
from unpool.training.log import Monitor, TensorBoard, as_json, list_variables
from unpool.training.loop import fit
from unpool.training.progress import Progress, _four_digits, as_time


class Losses(Callback):
    def __init__(self):
        self.losses = []

    def after_step(self, job, record):
        self.losses.append(record.loss)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_log_has_a_line_a_step_and_one_an_evaluation(tmp_path):
    path = tmp_path / "log.jsonl"
    fit(make_job(), [Evaluate(Loader()), Monitor(path)])
    found = lines(path)
    assert [line["kind"] for line in found] == (["step"] * 6 + ["evaluation"]) * 2
    assert {"step", "epoch", "loss", "lr", "images_per_s", "waited_for_data_s", "data_waited_s"} <= found[0].keys()
    assert found[0]["memory_mib"] > 10
    assert (found[-1]["epoch"], found[-1]["step"]) == (2, 12)
    assert 0 <= found[-1]["top1"] <= 1


def test_log_of_every_fourth_step_averages_the_loss_over_them(tmp_path):
    losses, path = Losses(), tmp_path / "log.jsonl"
    fit(make_job(), [losses, Monitor(path, every=4)])
    found = [line["loss"] for line in lines(path)]
    assert found == pytest.approx([sum(losses.losses[i : i + 4]) / 4 for i in (0, 4, 8)])


def test_log_measures_the_waiting_since_the_line_before(tmp_path):
    job, path = make_job(), tmp_path / "log.jsonl"

    class Waiting(Callback):
        def after_step(self, job, record):
            job.loader.waited_s += 0.5
            job.loader.ready_s += 0.25

    fit(job, [Waiting(), Monitor(path, every=3)])
    assert [line["waited_for_data_s"] for line in lines(path)] == [1.5] * 4
    assert [line["data_waited_s"] for line in lines(path)] == [0.75] * 4


def test_log_of_a_new_run_begins_empty(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("old\n")
    fit(make_job(epochs=1), [Monitor(path)])
    assert len(lines(path)) == 6


def test_log_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(EnvironmentFault, match=r"cannot write .*log\.jsonl: Is a directory"):
        fit(make_job(epochs=1), [Monitor(tmp_path / "log.jsonl")])


def test_numbers_that_json_cannot_say_become_null():
    assert as_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {1: None}}) == {
        "a": None,
        "b": [None, 1.5],
        "c": {"1": None},
    }


def test_variables_are_listed_with_their_sum():
    table = list_variables(network())
    assert "0.weight" in table
    assert "8x1x3x3" in table
    assert table.endswith("6 variables, 483 values, 0.0 MB in float32")


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, in the order written."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_the_figures_of_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    job = make_job()

    class Waiting(Callback):
        def after_step(self, job, record):
            job.loader.waited_s += 0.5
            job.loader.ready_s += 0.25

    path = tmp_path / "log.jsonl"
    fit(job, [Waiting(), Monitor(path, every=4), TensorBoard(tmp_path, every=4)])
    logged, drawn = lines(path), scalars(tmp_path)
    exact = ("loss", "lr", "gradient_norm", "skipped", "replaced", "waited_for_data_s", "data_waited_s")
    assert drawn.keys() == {f"train/{name}" for name in (*exact, "images_per_s", "memory_mib")}
    for name in exact:
        assert [step for step, _ in drawn[f"train/{name}"]] == [4, 8, 12]
        assert [value for _, value in drawn[f"train/{name}"]] == pytest.approx([line[name] for line in logged])
    assert [value for _, value in drawn["train/memory_mib"]] == pytest.approx(
        [line["memory_mib"] for line in logged], rel=0.1
    )
    assert min(value for _, value in drawn["train/images_per_s"]) > 0


def test_tensorboard_shows_every_metric_by_class(tmp_path):
    pytest.importorskip("tensorboard")
    found = {
        "mean_iou": 0.5,
        "images": 22,
        "iou": {"road": 0.25, "sky": None},
        "recall": {"road": 0.75},
        "worst": None,
        "confusion": [[1, 2], [3, 4]],
    }

    class Measuring(Callback):
        def after_epoch(self, job):
            return found

    fit(make_job(epochs=1), [Measuring(), TensorBoard(tmp_path)])
    assert {tag: value for tag, ((_, value),) in scalars(tmp_path).items() if tag.startswith("val/")} == {
        "val/mean_iou": 0.5,
        "val/images": 22,
        "val/iou/road": 0.25,
        "val/recall/road": 0.75,
    }


def test_saved_losses_count_in_the_next_figures_of_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    losses, board = Losses(), TensorBoard(tmp_path, every=6)
    board.load_state_dict({"losses": [5.0, 7.0]})
    fit(make_job(epochs=1, loader=Loader(count=23)), [losses, board])
    ((step, value),) = scalars(tmp_path)["train/loss"]
    assert step == 6
    assert value == pytest.approx((5.0 + 7.0 + sum(losses.losses)) / 8)
    assert board.state_dict() == {"losses": []}


def test_images_per_s_leaves_out_what_an_evaluation_takes_between_two_lines(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("unpool.training.log.time.monotonic", lambda: now[0])

    class Clock(Callback):
        def after_step(self, job, record):
            now[0] += 2.0

        def after_epoch(self, job):
            now[0] += 100.0
            return {}

    path = tmp_path / "log.jsonl"
    fit(make_job(loader=Loader(count=24)), [Clock(), Monitor(path, every=4)])
    assert [line["images_per_s"] for line in lines(path) if line["kind"] == "step"] == [2.0, 2.0, 2.0]


def test_progress_shows_step_loss_and_speed_on_a_terminal():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    job = make_job()

    class Slow(Callback):
        def after_step(self, job, record):
            import time

            time.sleep(0.02)

    fit(job, [Slow(), Evaluate(Loader()), Progress(console)])
    assert "images/s" in screen.getvalue()
    assert "/12 loss" in screen.getvalue()
    assert "epoch 2/2  training loss" in screen.getvalue()


def test_progress_without_a_terminal_is_a_line_an_evaluation():
    screen = io.StringIO()
    fit(make_job(), [Evaluate(Loader()), Progress(Console(file=screen, width=160))])
    assert [line.split("  ")[0] for line in screen.getvalue().splitlines()] == ["epoch 1/2", "epoch 2/2"]


def test_line_of_an_epoch_has_the_mean_training_loss_since_the_one_before():
    screen, losses, evaluate = io.StringIO(), Losses(), Evaluate(Loader())
    fit(make_job(), [losses, evaluate, Progress(Console(file=screen, width=160))])
    seen, half = losses.losses, len(losses.losses) // 2
    means = [sum(seen[:half]) / half, sum(seen[half:]) / half]
    assert screen.getvalue().splitlines() == [
        f"epoch {1 + i}/2  training loss {mean:.4f}  validation loss {line['loss']:.4f}  top1 {line['top1']:.4f}"
        for i, (mean, line) in enumerate(zip(means, evaluate.history, strict=True))
    ]


def test_columns_of_numbers_stay_aligned_as_they_grow():
    assert [_four_digits(value) for value in (0.69314, 9.99, 1726.2166, None)] == [
        "0.6931",
        "9.9900",
        "1726.2",
        "   n/a",
    ]


def test_mean_training_loss_of_an_epoch_is_saved_with_the_run():
    half = Progress(Console(file=io.StringIO()))
    record = StepRecord(1, 0, 3.0, {}, 0.1, 1.0, 4, True)  # noqa: FBT003, a tuple
    half._note(record, 0.1)
    rest = Progress(Console(file=io.StringIO()))
    rest.load_state_dict(half.state_dict())
    rest._note(record._replace(loss=5.0), 0.1)
    assert rest._losses.take() == 4.0


def test_progress_says_how_long_the_steps_that_are_left_take(monkeypatch):
    now, screen, losses = [0.0], io.StringIO(), Losses()
    monkeypatch.setattr("unpool.training.progress.time.monotonic", lambda: now[0])

    class Clock(Callback):
        def after_step(self, job, record):
            now[0] += 40.0

    fit(make_job(), [Clock(), losses, Progress(Console(file=screen, width=160))])
    shown = screen.getvalue().splitlines()
    assert [line.rpartition(", ")[2] for line in shown] == [f"{as_time(40 * (12 - i))} left" for i in range(1, 13)]
    assert f"step 1/12 loss {losses.losses[0]:.4f} " in shown[0]
    assert " 0.1 images/s" in shown[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((5, "5 s"), (89, "89 s"), (600, "10 min"), (11_100, "3 h 05 min"), (200_000, "55 h 33 min")),
        *((90 * 5005 * 12.0, "63 days"), (2.51 * 86_400, "3 days")),
    ],
)
def test_times_read_as_said(seconds, text):
    assert as_time(seconds) == text


def test_logging_leaves_the_random_numbers_alone(tmp_path):
    first, second = make_job(), make_job()
    fit(first)
    fit(second, [Monitor(tmp_path / "log.jsonl"), Progress(Console(file=io.StringIO()))])
    assert torch.equal(first.model[0].weight, second.model[0].weight)
