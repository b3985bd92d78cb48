"""What every error keeps: words, exit codes of processes, and the user's files untouched."""

import ast
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.stops import Started
from tests.tiny_trees import write_tree
from unpool.cli.main import main
from unpool.errors import STOP_SIGNALS, Stopped, UnpoolError

ROOT = Path(__file__).parents[2]
SMALL = ["data.workers=0", "train.batch=4", "train.precision=float32", "train.memory_format=contiguous"]
SCENES = ["train", "scenes_unet", "data.count=8", "model.width=4", *SMALL]
CODES = {0, 1, 2, 3, 4, 5, 75, 129, 130, 143}


def sums(folder: Path) -> dict[str, str]:
    """sha256 of every file below the folder."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def unpool(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unpool", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd, **options)


def is_one_error(text: str) -> bool:
    """Whether a program's standard error has one message, and no trace of its insides."""
    return len(re.findall(r"^error: ", text, flags=re.MULTILINE)) == 1 and "Traceback" not in text


FAULTS = [
    (0, ["--version"]),
    (2, ["trian"]),
    (2, ["train", "scenes_unet", "train.learning_rat=1"]),
    (3, ["train", "folder_resnet18", "data.root=nowhere"]),
    (3, ["evaluate", "nowhere"]),
    (4, [*SCENES, "--run", "/proc/here"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "arguments"), FAULTS, ids=lambda value: str(value)[:30])
def test_process_ends_with_the_code_of_its_fault_and_one_message(tmp_path, code, arguments):
    done = unpool(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert code == 0 or is_one_error(done.stderr)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_count_that_is_not_the_published_one_ends_with_1(tmp_path):
    code = """if True:
        import dataclasses, sys
        from unpool.cli.main import main
        from unpool.models import MODELS
        MODELS["lenet5"] = dataclasses.replace(MODELS["lenet5"], params=60_000)
        sys.exit(main(["models", "lenet5", "--count"]))
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path).returncode == 1


@pytest.mark.slow
def test_run_that_diverges_ends_with_5(tmp_path):
    exploding = ["train.lr=1e6", "train.optimizer=sgd", "train.clip_norm=null", "train.epochs=9"]
    done = unpool(*SCENES, *exploding, "--run", "run", cwd=tmp_path)
    assert done.returncode == 5
    assert is_one_error(done.stderr)


@pytest.mark.slow
def test_run_at_its_time_limit_ends_with_75_and_can_be_resumed(tmp_path):
    """A limit that falls before the first save leaves nothing to resume, and none is offered: then a longer one."""
    for limit_s in (0.001, 2, 8, 32, 128):
        limited = ["train.epochs=100000", f"train.time_limit_s={limit_s}", "--run", "run"]
        done = unpool(*SCENES, *limited, cwd=tmp_path)
        assert done.returncode == 75
        assert "error" not in done.stderr
        assert f"\nstopped at the time limit of {limit_s:g} s" in done.stderr
        if (tmp_path / "run").exists():
            break
        assert "resume with" not in done.stderr
    assert limit_s > 1
    assert done.stderr.endswith("resume with: unpool train --resume run\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_run_that_a_signal_stops_ends_with_its_code_and_can_be_resumed(tmp_path, number):
    command = [sys.executable, "-m", "unpool", *SCENES, "train.epochs=100000", "--run", "run"]
    started = Started(command, way="group", folder=tmp_path)
    while not list(tmp_path.glob("run/last/step-*/manifest.json")):
        assert started.process.poll() is None
    started.stop(number)
    assert started.end() == 128 + number
    text = started.output.decode()
    assert "error" not in text
    assert text.endswith("; resume with: unpool train --resume run\n")


@pytest.mark.slow
def test_debug_shows_the_traceback_of_a_user_s_fault(tmp_path):
    done = unpool("--debug", "evaluate", "nowhere", cwd=tmp_path)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "error: no run directory nowhere" in done.stderr


@pytest.mark.slow
def test_no_verb_changes_a_file_of_the_user(tmp_path):
    """A damaged image among good ones: it is left out, counted, and left as it is."""
    root = write_tree("folder", tmp_path / "set")
    (next(iter(root.rglob("*.jpg")))).write_bytes(b"")
    before = sums(root)
    run = str(tmp_path / "run")
    small = ["data.size=[32,32]", "train.epochs=1", "train.warmup_epochs=0", *SMALL]
    assert main(["train", "folder_resnet18", f"data.root={root}", *small, "--run", run]) == 0
    assert main(["evaluate", run]) == 0
    assert main(["predict", run, str(root), "-o", str(tmp_path / "out")]) == 3
    assert main(["train", "folder_unet", f"data.root={root}", "--run", str(tmp_path / "wrong")]) == 3
    assert sums(root) == before


def test_every_exit_code_is_documented_where_the_program_begins():
    text = " ".join((main.__doc__ or "").split())
    listed = {int(number) for number in re.findall(r"\b\d+\b", text[text.index("Returns:") :])}
    assert listed == CODES
    ours = {error.exit_code for error in UnpoolError.__subclasses__() if error is not Stopped}
    stops = {Stopped("x", number).exit_code for number in STOP_SIGNALS}
    assert ours | stops | {0} <= listed


def test_every_error_says_what_it_is_raised_for():
    source = ast.parse((ROOT / "src" / "unpool" / "errors.py").read_text(encoding="utf-8"))
    classes = [node for node in source.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 9
    assert all(ast.get_docstring(node) for node in classes)


@pytest.mark.slow
def test_training_from_python_leaves_every_handler_of_signals_alone(tmp_path):
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    assert main([*SCENES, "train.epochs=1", "--run", str(tmp_path / "run")]) == 0
    assert main([*SCENES, "train.epochs=1", "--run", str(tmp_path / "run")]) == 2
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_all_that_a_run_leaves_has_the_permissions_that_the_umask_leaves(tmp_path, mask):
    before = os.umask(mask)
    try:
        run = tmp_path / "runs" / "run"
        assert main([*SCENES, "train.epochs=1", "--run", str(run)]) == 0
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in [run, *run.rglob("*")]}
    assert len(modes) > 8
    for path, mode in modes.items():
        assert oct(mode) == oct((0o777 if path.is_dir() else 0o666) & ~mask), path
