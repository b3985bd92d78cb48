"""Fixtures that every folder of tests may use; one thread, so that tests on few cores do not wait for one another.

Torch, which takes seconds, is imported in them: the process that hands out the tests to others needs none.
"""

import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
gc.disable()  # until all tests are collected: nothing of them is garbage


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: the search for garbage, a second each time, leaves them out from now on."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _subnormal_numbers() -> Iterator[None]:
    """A command called in this process has them rounded to zero, which is no business of the tests after it."""
    yield
    import torch

    torch.set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def _short_runs() -> Iterator[None]:
    """Settings of precision and memory format are timed in two rounds of one step, whichever wins.

    A report has two pictures of each kind, which take a third of a tiny run. Statistics of batch norm for averaged
    weights are read in one epoch of a set and not in ten, of which a tiny one needs all. Runs are not checked before
    their first step, which takes longer than most of them.
    """
    import torch

    from unpool import guarding, report_pictures
    from unpool.training import calibration, speed

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "ENOUGH_S", 0.0)
        patch.setattr(speed, "SAMPLE_S", 1e-6)
        patch.setattr(guarding, "LONGEST_S", 0.0)
        patch.setattr(report_pictures, "SHOWN", 2)
        patch.setattr(calibration, "EPOCHS", 1)
        yield


@pytest.fixture
def heard_signals() -> Iterator[None]:
    """All signals, also where `nohup` or a shell that runs the tests in the background has some ignored."""
    from unpool.errors import STOP_SIGNALS

    before = {number: signal.signal(number, signal.default_int_handler) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lists of faults, which go to the system's folder for temporary files, stay with those of the tests."""
    tempfile.tempdir = str(tmp_path_factory.mktemp("temporary"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; a test that asks for it skips where there is none."""
    folder = Path(os.environ.get("UNPOOL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set UNPOOL_DATA")
    return folder
