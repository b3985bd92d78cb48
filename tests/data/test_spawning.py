"""Scripts without a main guard, in real processes: nothing is spawned, and one line says why."""

import os
import subprocess
import sys
import textwrap

import pytest

from unpool.data.spawning import why_script_cannot, why_unsendable

SCRIPT = """
import logging
import torch
from torch import nn
import unpool

logging.basicConfig(level=logging.INFO, format="%(message)s")
print("started")

class Squares(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.full((1, 8, 8), 20 * index, dtype=torch.uint8), index % 2


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


def main(**changes):
    overrides = {"train.precision": "float32", "train.memory_format": "contiguous", "train.batch": 4, **changes}
    sets = {"train": Squares(), "val": Squares(), "classes": ["even", "odd"]}
    overrides["data.allow_duplicates"] = True
    metrics = unpool.train(overrides=overrides, task="classification", model=network(), epochs=1, **sets)
    print("trained", metrics["images"])

"""


def run(tmp_path, end, *, by=("script.py",), text=None):
    (tmp_path / "script.py").write_text(SCRIPT + textwrap.dedent(end))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *by]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, input=text, timeout=300
    )


@pytest.mark.slow
def test_a_small_set_needs_no_guard(tmp_path):
    done = run(tmp_path, "main()")
    assert done.stdout.split("\n")[:2] == ["started", "trained 12"], done.stderr
    assert "batches are made by a thread" not in done.stderr


def test_processes_without_a_guard_are_refused_before_anything_is_spawned(tmp_path):
    """A large run that does not ask for processes goes on with a thread."""
    end = """
    from unpool.assemble import processes
    from unpool.errors import RecipeError

    try:
        main(**{"data.workers": 1})
    except RecipeError as error:
        print(error)
    processes._SMALL_PIXELS = 0
    main(**{"data.memory": False})
    """
    done = run(tmp_path, end)
    started, refused, trained = done.stdout.splitlines()[:3]
    assert (started, trained) == ("started", "trained 12"), done.stderr
    assert refused.startswith("data.workers is 1, and line ")
    assert "of script.py starts the training outside of `if __name__" in refused
    assert done.stderr.count("batches are made by a thread: line") == 1
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_processes_behind_a_guard_read_a_set_of_the_script(tmp_path):
    end = 'if __name__ == "__main__":\n    main(**{"data.workers": 1, "data.memory": False})'
    done = run(tmp_path, end)
    assert done.stdout.count("trained 12") == 1, done.stderr


@pytest.mark.slow
def test_a_set_that_is_defined_at_a_prompt_is_read_by_a_thread(tmp_path):
    end = 'from unpool.assemble import processes\nprocesses._SMALL_PIXELS = 0\nmain(**{"data.memory": False})'
    code = f"exec({SCRIPT + end!r})"
    done = run(tmp_path, "", by=("-c", code))
    assert "trained 12" in done.stdout, done.stderr
    assert "defined in a notebook or at a prompt" in done.stderr


@pytest.mark.slow
def test_a_program_from_standard_input_uses_a_thread(tmp_path):
    end = 'from unpool.assemble import processes\nprocesses._SMALL_PIXELS = 0\nmain(**{"data.memory": False})'
    done = run(tmp_path, "", by=("-",), text=SCRIPT + end)
    assert "trained 12" in done.stdout, done.stderr
    assert "batches are made by a thread: the program is not in a file" in done.stderr


def test_here_the_test_program_is_guarded():
    assert why_script_cannot() == ""


def test_what_cannot_be_sent_is_named():
    assert why_unsendable([1, 2]) == ""
    assert "cannot be sent to a process" in why_unsendable(lambda: 1)


@pytest.mark.parametrize(
    "guard", ['if __name__ == "__main__":', pytest.param('if "__main__" == __name__:', marks=pytest.mark.slow)]
)
def test_both_ways_to_write_the_guard_are_known(tmp_path, guard):
    (tmp_path / "guarded.py").write_text(
        f"from unpool.data.spawning import why_script_cannot\n{guard}\n    print(repr(why_script_cannot()))\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "guarded.py"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "''\n"
