import json
import os
import signal
from functools import partial

import pytest
import torch

from tests.training.toy_run import Broken, Loader, Task, make_job, same_bits
from unpool.errors import ModelFileError, Stopped, TimeLimit
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load, states
from unpool.training.evaluation import Evaluate
from unpool.training.files import host_copy, write_tensors
from unpool.training.log import Monitor
from unpool.training.loop import fit
from unpool.training.saving import Save
from unpool.training.state import final_state, job_state, restore
from unpool.training.stopping import StopRequest

SETTINGS = {
    "sgd": {},
    "sgd, averaged, clipped": {"ema": 0.9, "clip_norm": 0.3},
    "adamw, averaged, bf16, channels-last": {
        "optimizer": "adamw",
        "ema": 0.8,
        "precision": "bfloat16",
        "memory_format": "channels_last",
    },
    "adam, accumulated": {"optimizer": "adam", "accumulate": 4},
    "scaled float16": {"precision": "float16"},
}


class Snapshots(Callback):
    """The state after every step, in memory, as if each had been saved."""

    rank = 100

    def __init__(self, callbacks) -> None:
        self.callbacks = callbacks
        self.states = []

    def after_step(self, job, record):
        tensors, meta = job_state(job, self.callbacks)
        copies = {name: value.clone() for name, value in host_copy(tensors).items()}
        self.states.append((copies, json.loads(json.dumps(meta))))


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_resume_after_every_step_gives_the_bits_of_the_run_left_in_peace(settings):
    measure = Evaluate(Loader(shuffle=False))
    snapshots = Snapshots([measure])
    whole = make_job(**settings)
    fit(whole, [measure, snapshots])
    assert len(snapshots.states) == whole.total_steps
    for tensors, meta in snapshots.states:
        resumed, again = make_job(**settings), Evaluate(Loader(shuffle=False))
        torch.manual_seed(99)
        restore(resumed, [again], tensors=tensors, meta=meta)
        fit(resumed, [again])
        assert same_bits(job_state(resumed)[0], job_state(whole)[0])
        assert job_state(resumed)[1] == job_state(whole)[1]
        assert again.state_dict() == measure.state_dict()


class StopAfter(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, job, record):
        if record.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def run(folder, extra=(), *, every_s=0.0, log_every=1, **settings):
    """A run in `folder`, resumed where there is something to resume."""
    job = make_job(**settings)
    measure, monitor = (
        Evaluate(Loader(shuffle=False), best=partial(write_tensors, folder / "best.safetensors")),
        Monitor(folder / "log.jsonl", every=log_every),
    )
    kept = [measure, monitor]
    known = load(folder / "last")
    if known is not None:
        restore(job, kept, tensors=known[0], meta=known[1])
    fit(job, [*kept, Save(folder / "last", callbacks=kept, every_s=every_s), *extra])
    return job, measure


def shown(folder) -> list:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kept = ("kind", "step", "epoch", "loss", "lr", "top1", "gradient_norm")
    return [{key: line.get(key) for key in kept} for line in lines]


@pytest.mark.parametrize("every_s", [0.0, 1000.0])
@pytest.mark.parametrize("step", [1, 4, 6, 11, 12])
def test_sigterm_after_a_step_saves_and_the_resumed_run_is_the_same(tmp_path, step, every_s):
    (tmp_path / "peace").mkdir()
    (tmp_path / "killed").mkdir()
    whole, measure = run(tmp_path / "peace", ema=0.9)
    with pytest.raises(Stopped, match="stopped by SIGTERM") as stop:
        run(tmp_path / "killed", [StopAfter(step)], every_s=every_s, ema=0.9)
    assert stop.value.exit_code == 143
    assert stop.value.__notes__ == [f"saved at step {step}"]
    assert load(tmp_path / "killed" / "last")[1]["step"] == step
    resumed, again = run(tmp_path / "killed", ema=0.9)
    assert same_bits(job_state(resumed)[0], job_state(whole)[0])
    assert again.history == measure.history
    assert shown(tmp_path / "killed") == shown(tmp_path / "peace")
    best = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("peace", "killed")]
    assert best[0] == best[1]


def test_sigterm_in_an_evaluation_is_serviced_there_and_the_evaluation_done_again(tmp_path):
    class Slow(Task):
        calls = 0

        def decode(self, output, inputs):
            Slow.calls += 1
            if Slow.calls == 8:
                os.kill(os.getpid(), signal.SIGTERM)
            assert Slow.calls != 10, "two batches after the signal"
            return super().decode(output, inputs)

    (tmp_path / "peace").mkdir()
    (tmp_path / "killed").mkdir()
    whole, measure = run(tmp_path / "peace", ema=0.9)
    with pytest.raises(Stopped):
        run(tmp_path / "killed", ema=0.9, task=Slow())
    assert load(tmp_path / "killed" / "last")[1]["counters"]["position"] == 6
    resumed, again = run(tmp_path / "killed", ema=0.9)
    assert same_bits(job_state(resumed)[0], job_state(whole)[0])
    assert again.history == measure.history
    assert shown(tmp_path / "killed") == shown(tmp_path / "peace")


def test_log_lines_of_every_third_step_are_the_same_after_a_resume(tmp_path):
    run_in(tmp_path / "peace", log_every=3)
    with pytest.raises(Stopped):
        run_in(tmp_path / "killed", extra=[StopAfter(5)], log_every=3)
    run_in(tmp_path / "killed", log_every=3)
    assert shown(tmp_path / "killed") == shown(tmp_path / "peace")


def test_log_lines_after_the_saved_step_are_cut_off(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, [StopAfter(4)])
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"kind": "step", "step": 5}\n{"kind": "st')
    run(tmp_path)
    assert [line["step"] for line in shown(tmp_path) if line["kind"] == "step"] == list(range(1, 13))


@pytest.mark.parametrize("change", [lambda text: text[:-20], lambda text: text.replace('"loss": ', '"loss": 1', 1)])
def test_log_that_is_not_the_one_of_the_saved_state_is_refused(tmp_path, change):
    with pytest.raises(Stopped):
        run(tmp_path, [StopAfter(4)])
    log = tmp_path / "log.jsonl"
    log.write_text(change(log.read_text()))
    with pytest.raises(ModelFileError, match=r"log\.jsonl is not as the run wrote it.*put it back, or remove it"):
        run(tmp_path)
    log.unlink()
    run(tmp_path)
    assert [line["step"] for line in shown(tmp_path) if line["kind"] == "step"] == list(range(5, 13))


def test_finished_run_that_is_resumed_does_nothing(tmp_path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    job, _ = run(tmp_path)
    assert job.loader.served == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_longer_run_goes_on_from_a_finished_one(tmp_path):
    run(tmp_path)
    job, _ = run(tmp_path, epochs=3)
    assert job.loader.served[0] == (2, 0)
    assert job.counters.epoch == 3


def test_state_is_saved_at_the_start_at_the_end_and_no_more_often_than_asked(tmp_path):
    run(tmp_path, every_s=1000.0)
    assert [path.name for path in states(tmp_path / "last")] == ["step-00000012", "step-00000000"]


def test_save_comes_in_the_middle_of_an_epoch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [Interrupting(4)])
    assert load(tmp_path / "last")[1]["counters"]["position"] == 3


class Interrupting(Callback):
    """Stops without any chance to save, before the save of its step."""

    rank = 50

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, job, record):
        if record.step == self.step:
            raise KeyboardInterrupt


def test_time_limit_saves_and_can_be_resumed(tmp_path):
    whole, _ = run_in(tmp_path / "peace")
    with pytest.raises(TimeLimit, match="stopped at the time limit of 0 s") as stop:
        run_in(tmp_path / "limited", stop=StopRequest(0.0))
    assert stop.value.exit_code == 75
    resumed, _ = run_in(tmp_path / "limited")
    assert same_bits(job_state(resumed)[0], job_state(whole)[0])


def run_in(folder, **settings):
    folder.mkdir(exist_ok=True)
    return run(folder, **settings)


def test_diverged_run_saves_nothing_after_the_bad_step(tmp_path):
    from unpool.errors import Diverged

    with pytest.raises(Diverged):
        run(tmp_path, task=Broken(3))
    tensors, meta = load(tmp_path / "last")
    assert meta["step"] == 2
    assert all(bool(value.isfinite().all()) for value in tensors.values())


def test_state_of_another_network_is_refused():
    tensors, meta = job_state(make_job())
    with pytest.raises(ModelFileError, match=r"network and the recipe's differ: the state lacks \['model\.0\.bias'\]"):
        restore(make_job(), tensors={k: v for k, v in tensors.items() if k != "weights/model.0.bias"}, meta=meta)
    with pytest.raises(ModelFileError, match=r"model\.0\.bias is \(9,\) in the saved state and \(8,\)"):
        restore(make_job(), tensors={**tensors, "weights/model.0.bias": torch.zeros(9)}, meta=meta)


def test_state_with_averaging_is_refused_without_it_and_the_other_way_round():
    plain, averaged = make_job(epochs=1), make_job(epochs=1, ema=0.9)
    fit(plain)
    fit(averaged)
    for saved, job in ((plain, make_job(ema=0.9)), (averaged, make_job())):
        tensors, meta = job_state(saved)
        with pytest.raises(ModelFileError, match=r"differ in train\.ema"):
            restore(job, tensors=tensors, meta=meta)


def test_restored_moments_are_laid_out_as_their_weights():
    def job():
        model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 6), torch.nn.Flatten())
        loader = Loader()
        loader.image = loader.image.repeat(1, 3, 1, 1)
        return make_job(epochs=1, memory_format="channels_last", optimizer="adamw", model=model, loader=loader)

    saved, resumed = job(), job()
    fit(saved)
    tensors, meta = job_state(saved)
    restore(resumed, tensors=host_copy(tensors), meta=meta)
    weight = resumed.model[0].weight
    assert resumed.optimizer.state[weight]["exp_avg"].stride() == weight.stride() == (108, 1, 18, 3)


def test_final_state_shares_no_memory_with_the_network():
    job = make_job()
    state = final_state(job)
    with torch.no_grad():
        job.model[0].weight.zero_()
    assert float(state["0.weight"].abs().sum()) > 0


def test_state_of_a_newer_version_says_so(tmp_path):
    job = make_job()
    tensors, meta = job_state(job)
    with pytest.raises(ModelFileError, match=r"the saved state was made by a newer version of Unpool \(format 2"):
        restore(job, tensors=tensors, meta={**meta, "format": 2})
