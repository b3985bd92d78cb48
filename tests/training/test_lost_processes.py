"""A process of a run ends or stands still: the others end soon, each says what only it knows, and nothing hangs."""

import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch._C._distributed_c10d import FileStore, HashStore

from tests.training.ranks import by_ranks, start
from tests.training.test_processes import PartOfLoader
from tests.training.toy_run import Broken, Loader, make_job, prepare
from unpool.errors import DataError, Diverged, Stopped
from unpool.training import heartbeat, one_voice, processes
from unpool.training.evaluation import evaluate
from unpool.training.heartbeat import Heartbeat
from unpool.training.loop import fit
from unpool.training.stopping import StopRequest


@pytest.fixture
def beats_fast(monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.02)
    monkeypatch.setattr(heartbeat, "READING", 10)


def end_of_leader(children):
    """The exit code of the first of two processes, the second of which is gone or stands still."""
    children[0].join(20)
    children[1].kill()
    children[1].join()
    return children[0].exitcode


def wait_for(value):
    ends_s = time.monotonic() + 20
    while value() is None and time.monotonic() < ends_s:
        time.sleep(0.01)


def test_process_that_dies_is_lost_by_the_others():
    def work(rank):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        processes.wait()

    queue, children = start(2, work)
    end_of_leader(children)
    assert "another process of this run was lost" in pickle.loads(queue.get(timeout=20))[1][1]


def test_process_that_stands_still_ends_the_others_in_the_midst_of_an_exchange(beats_fast, monkeypatch):
    monkeypatch.setattr(heartbeat, "ANSWER_S", 0.2)

    def work(rank):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        processes.wait()

    _, children = start(2, work)
    assert end_of_leader(children) == 4


def test_process_that_reads_leaves_by_an_exception_where_another_stands_still(beats_fast):
    def work(rank):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        with StopRequest() as stop:
            while True:
                stop.check()
                time.sleep(0.01)

    queue, children = start(2, work)
    end_of_leader(children)
    assert "EnvironmentFault: process 1 has ended or stands still" in pickle.loads(queue.get(timeout=20))[1][1]


def test_process_that_serves_the_store_and_stands_still_is_noticed(beats_fast):
    over = threading.Event()
    hung = SimpleNamespace(add=lambda name, count: over.wait(60), check=lambda names: False)
    with Heartbeat(hung, rank=1, world_size=2) as watching:
        wait_for(lambda: watching.fault)
        over.set()
    assert "process 0 has ended or stands still" in str(watching.fault)


def test_process_may_take_longer_until_training_begins(beats_fast, monkeypatch):
    monkeypatch.setattr(heartbeat, "READING", 10**6)
    monkeypatch.setattr(heartbeat, "ANSWER_S", 60.0)
    with Heartbeat(HashStore(), rank=0, world_size=2) as watching:
        monkeypatch.setattr(processes, "_HEARTBEATS", [watching])
        time.sleep(0.3)
        assert watching.fault is None
        with suppress(Stopped):
            fit(make_job(epochs=1))
        wait_for(lambda: watching.fault)
    assert "process 1 has ended or stands still" in str(watching.fault)


def test_process_stops_once_its_starter_is_gone(beats_fast, monkeypatch, capsys):
    monkeypatch.setenv("UNPOOL_STARTER", str(os.getppid()))
    with StopRequest() as stop, Heartbeat(HashStore(), rank=0, world_size=1) as watching:
        time.sleep(0.1)
        assert stop.number is None
        monkeypatch.setenv("UNPOOL_STARTER", "0")
        wait_for(lambda: stop.number)
    assert stop.number == signal.SIGTERM
    assert watching.is_orphan
    assert capsys.readouterr().err == "the program that started the processes is gone, so they stop\n"


def test_watching_others_writes_nothing(beats_fast, tmp_path):
    store = FileStore(str(tmp_path / "store"), -1)
    for rank in range(1, 8):
        store.add(f"beats/{rank}", 1)
    before = (tmp_path / "store").stat().st_size
    with Heartbeat(store, rank=0, world_size=8):
        time.sleep(0.3)
    beats = int(store.get("beats/0"))
    assert beats > 0
    assert (tmp_path / "store").stat().st_size - before < 60 * (beats + 1)


def test_error_that_all_meet_is_said_by_the_leader(monkeypatch):
    monkeypatch.setattr(one_voice, "SAME", one_voice.SAME * 10)

    def work(rank):
        raise DataError("the words")

    queue, _ = start(3, work)
    outcomes = dict(pickle.loads(queue.get(timeout=20)) for _ in range(3))
    assert [rank for rank in range(3) if "{'is_of_all': True}" not in outcomes[rank][1]] == [0]


def test_error_that_all_but_the_leader_meet_is_said_by_one_of_them(monkeypatch):
    monkeypatch.setattr(one_voice, "SAME", one_voice.SAME / 20)
    store, said = HashStore(), []
    for rank in (1, 2, 3):
        with pytest.raises(DataError) as error, one_voice.said_once(store, rank):
            raise DataError("the words")
        said.append(error.value.is_of_all)
    assert said == [False, True, True]


def test_all_name_the_samples_of_all_where_the_loss_is_not_finite():
    def work(rank):
        loader = PartOfLoader()
        job = make_job(loader=loader, part=loader.part, task=Broken(1))
        with pytest.raises(Diverged) as error:
            fit(job)
        return str(error.value)

    first, second = by_ranks(2, work)
    assert first == second
    indices = next(Loader().stream(0, 0, 1))["index"].tolist()
    assert ", ".join(f"image_{i}.png" for i in indices) in first


def test_image_of_another_process_that_is_not_finite_is_named():
    def work(rank):
        loader = PartOfLoader()
        job = make_job(loader=loader, part=loader.part)
        if rank == 1:
            job.prepare = lambda batch: {**batch, "image": torch.full_like(prepare(batch)["image"], float("nan"))}
        with pytest.raises(DataError, match="images hold values that are not finite") as error:
            fit(job)
        return str(error.value)

    first, second = by_ranks(2, work)
    assert first == second


def test_one_process_may_evaluate_by_itself():
    job = make_job()
    alone = evaluate(job.model, job.task, Loader(), prepare=prepare)

    def work(rank):
        return evaluate(job.model, job.task, Loader(), prepare=prepare) if rank == 0 else None

    assert by_ranks(2, work) == [pytest.approx(alone), None]
