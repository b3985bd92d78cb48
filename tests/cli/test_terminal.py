"""The program as a terminal runs it: pipes, encodings, an empty environment."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.stops import Started
from unpool.cli.console import escape_unencodable, flush, write_result

BARE = {"PATH": "", "UNPOOL_RESTARTED": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def unpool(*arguments: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "unpool", *arguments]
    return subprocess.run(command, capture_output=not options, env=env or BARE, check=False, timeout=60, **options)


@pytest.mark.parametrize(
    "variables", [{"LANG": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}]
)
def test_character_that_the_terminal_lacks_is_escaped(variables):
    done = unpool("recipes", "nö😀", env={**BARE, **variables})
    assert done.returncode == 2
    assert b"error: no recipe is called" in done.stderr
    assert b"Traceback" not in done.stderr


def test_result_that_the_terminal_lacks_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    escape_unencodable()
    write_result("é")
    flush()
    assert written.getvalue() == b"\\xe9\n"


def test_argument_that_is_no_text_is_refused_in_words():
    done = unpool("recipes", os.fsdecode(b"caf\xe9"))
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_very_long_argument_is_refused_in_words():
    done = unpool("recipes", "x" * 100_000)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "unpool", "recipes"], stdout=writing, stderr=subprocess.PIPE, env=BARE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_full_disk_behind_standard_output_is_told():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "unpool", "recipes"], stdout=full, stderr=subprocess.PIPE, env=BARE, check=False
        )
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: the disk is full")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="a shell")
@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closing):
    shell = ["/bin/sh", "-c", f'"$0" -m unpool recipes {closing}', sys.executable]
    assert subprocess.run(shell, env=BARE, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="a shell")
def test_file_of_a_run_never_gets_the_number_of_a_closed_stream(tmp_path):
    code = (
        "from unpool.cli.console import outlast_readers; outlast_readers(); import os, sys; "
        "file = open(sys.argv[1], 'w'); os.write(2, b'a library warns'); file.write(str(file.fileno()))"
    )
    shell = ["/bin/sh", "-c", '"$0" -c "$1" "$2" <&- >&- 2>&-', sys.executable, code, str(tmp_path / "file")]
    subprocess.run(shell, env=BARE, check=True)
    assert int((tmp_path / "file").read_text()) > 2


SMALL = ["data.count=8", "data.workers=1", "model.width=4", "train.epochs=2", "train.batch=4"]
SMALL += ["train.precision=float32", "train.memory_format=contiguous"]


def trained(run, *, out, err) -> int:
    """Exit code of a small training whose standard output and error are those descriptors."""
    command = [sys.executable, "-m", "unpool", "train", "scenes_unet", *SMALL, "--run", str(run)]
    return subprocess.run(command, stdout=out, stderr=err, env=os.environ, check=False, timeout=300).returncode


def finished(run) -> list[str]:
    """What a finished run has; names are missing where it did not come to its end."""
    return [name for name in ("metrics.json", "model.safetensors", "report.html") if (run / name).is_file()]


ALL = ["metrics.json", "model.safetensors", "report.html"]


@pytest.mark.slow
def test_pipe_whose_reader_leaves_after_a_line_ends_no_run(tmp_path):
    words = " ".join([sys.executable, "-m unpool train scenes_unet", *SMALL, "--run", str(tmp_path / "run")])
    script = f"( {words} 2>&1; echo $? > {tmp_path}/code ) | head -1"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "code").read_text() == "0\n"
    assert finished(tmp_path / "run") == ALL


@pytest.mark.slow
def test_pipe_and_disk_behind_the_log_end_no_run(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    assert trained(tmp_path / "pipe", out=writing, err=writing) == 0
    assert finished(tmp_path / "pipe") == ALL
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        assert trained(tmp_path / "full", out=writing, err=full) == 0
        assert finished(tmp_path / "full") == ALL
        assert trained(tmp_path / "result", out=full, err=subprocess.DEVNULL) == 4  # its metrics are not shown
    assert finished(tmp_path / "result") == ALL


@pytest.mark.slow
def test_closed_terminal_ends_no_run_that_nohup_started(tmp_path):
    command = ["nohup", sys.executable, "-m", "unpool", "train", "scenes_unet", *SMALL, "--run", "run"]
    started = Started(command, way="terminal", folder=tmp_path)
    while not (tmp_path / "run").exists():
        time.sleep(0.05)
    started.stop(signal.SIGHUP)
    assert started.end() == 0
    assert finished(tmp_path / "run") == ALL


@pytest.mark.slow
def test_error_keeps_its_code_where_nobody_reads_it(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "unpool", "train", "folder_resnet18", f"data.root={tmp_path}/none"]
    done = subprocess.run(command, stdout=writing, stderr=writing, cwd=tmp_path, check=False, timeout=120)
    assert done.returncode == 3
