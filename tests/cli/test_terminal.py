"""The program as a terminal runs it: pipes, encodings, an empty environment."""

import io
import os
import subprocess
import sys

import pytest

from unpool.cli.console import escape_unencodable, flush, write_result

BARE = {"PATH": "", "UNPOOL_RESTARTED": "1"}


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


@pytest.mark.parametrize(
    "arguments", [["--help"], ["recipes"], ["train", "--help"], ["train"], ["recipes", "mnist_convnet"]]
)
def test_commands_that_compute_nothing_import_no_torch(arguments):
    code = "import sys; from unpool.cli.main import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, env=BARE, check=False)
    assert done.returncode == 0, done.stderr
