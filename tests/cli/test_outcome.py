"""Every end of a command: its exit code, its one message, and no traceback."""

import errno
import re
import signal

import pytest

from unpool.cli.main import main
from unpool.errors import (
    DataError,
    Diverged,
    EnvironmentFault,
    ModelFileError,
    NotConvertible,
    RecipeError,
    Stopped,
    TimeLimit,
    UnpoolError,
)

ENDS = [
    (RecipeError("the words"), 2),
    (DataError("the words"), 3),
    (ModelFileError("the words"), 3),
    (NotConvertible("the words"), 2),
    (EnvironmentFault("the words"), 4),
    (Diverged("the words"), 5),
]
STOPS = [
    (TimeLimit("the words"), 75),
    (Stopped("the words", signal.SIGINT), 130),
    (Stopped("the words", signal.SIGTERM), 143),
]


@pytest.mark.parametrize(("error", "code"), ENDS, ids=lambda value: type(value).__name__)
def test_error_is_one_message_with_its_exit_code(fake, capsys, error, code):
    fake.error = error
    assert main(["evaluate", "r"]) == code
    err = capsys.readouterr().err
    assert err.count("error: the words\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(("error", "code"), STOPS, ids=lambda value: type(value).__name__)
def test_stop_that_was_asked_for_is_one_line_and_no_error(fake, capsys, error, code):
    error.__notes__ = ["saved at step 7"]
    fake.error = error
    assert main(["evaluate", "r"]) == code
    err = capsys.readouterr().err
    assert err.endswith("\nthe words: saved at step 7\n")
    assert "error" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [Stopped("stopped by SIGTERM", signal.SIGTERM), DataError("the words")], ids=repr)
@pytest.mark.parametrize("is_of_all", [True, False])
def test_process_of_a_run_says_what_the_leader_does_not_meet(fake, capsys, monkeypatch, error, is_of_all):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    error.is_of_all = is_of_all
    fake.error = error
    assert main(["evaluate", "r"]) == error.exit_code
    assert ("process 1: " in capsys.readouterr().err) is not is_of_all


@pytest.mark.parametrize("number", ["0", "1"])
def test_interrupt_is_said_by_the_first_process_of_a_machine(fake, capsys, monkeypatch, number):
    for name, value in {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": number}.items():
        monkeypatch.setenv(name, value)
    fake.error = KeyboardInterrupt()
    assert main(["evaluate", "r"]) == 130
    assert ("stopped" in capsys.readouterr().err) is (number == "0")


def test_every_kind_of_error_has_its_exit_code_tested():
    assert {type(error) for error, _ in (*ENDS, *STOPS)} == set(UnpoolError.__subclasses__())


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback_and_the_message(fake, capsys, place):
    fake.error = DataError("the words")
    assert main(["--debug", "evaluate", "r"] if place == "before" else ["evaluate", "r", "--debug"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: the words\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory; lower train.batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "lower train.batch"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "lower train.batch"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: permission is missing"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), "read-only"),
        (OSError(errno.EMFILE, "Too many open files", "/x/y"), "error: too many files are open: raise `ulimit -n`"),
        (OSError(errno.ENFILE, "Too many open files in system"), "raise `ulimit -n`"),
        pytest.param(ImportError("libm.so: Too many open files"), "raise `ulimit -n`", id="library"),
        (DataError("x.png: cannot read (Too many open files)"), "raise `ulimit -n`"),
    ],
    ids=str,
)
def test_fault_of_the_machine_ends_with_4_and_advice(fake, capsys, error, words):
    fake.error = error
    assert main(["evaluate", "r"]) == 4
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "error", [RuntimeError("a"), KeyError("a"), ImportError("a"), FileNotFoundError(2, "No such file", "x")]
)
def test_fault_of_ours_is_not_hidden(fake, error):
    fake.error = error
    with pytest.raises(type(error)):
        main(["evaluate", "r"])


@pytest.mark.parametrize("error", [Stopped("halt", signal.SIGINT), TimeLimit("halt"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("place", ["runs/plain", "runs/with space"])
def test_stopped_training_prints_the_command_that_resumes(fake, capsys, error, place):
    error.__notes__ = []
    fake.error = error
    assert main(["train", "camvid_unet", "--run", place]) in (130, 75)
    quoted = f"'{place}'" if " " in place else place
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"{str(error) or 'stopped'}: resume with: unpool train --resume {quoted}"


def test_stopped_resume_prints_the_command_that_resumes(fake, capsys, tmp_path):
    (tmp_path / "r" / "last").mkdir(parents=True)
    fake.error = TimeLimit("halt")
    assert main(["train", "--resume", "r"]) == 75
    assert "resume with: unpool train --resume r\n" in capsys.readouterr().err


def test_nothing_to_resume_is_not_offered(fake, capsys):
    fake.error = KeyboardInterrupt()
    assert main(["train", "--resume", "r"]) == 130
    assert capsys.readouterr().err.endswith("\nstopped\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "there is no verb 'trian'; did you mean 'train'?"),
        (["--verbose"], "there is no verb '--verbose'"),
        (["train"], "give a recipe's name or file, or --resume RUN"),
        (["train", "train.lr=3"], "name or file comes before 'train.lr=3'"),
        (["train", "camvid_unet", "cifar10"], "'cifar10' is no section.key=value"),
        (["train", "camvid_unet", "--batch", "3"], "unrecognized arguments: --batch"),
        (["train", "camvid_unet", "--data.root", "d"], "settings have no dashes and one =: data.root=VALUE"),
        (["train", "camvid_unet", "/"], "'/' is a folder; of the data set, write data.root=/"),
        (["train", "camvid_unet", "--resume", "r"], "'camvid_unet' is no section.key=value"),
        (["train", "--resume", "r", "--run", "s"], "leave --run out"),
        (["evaluate"], "required: RUN; see unpool evaluate --help"),
        (["evaluate", "r", "--split", "dev"], "invalid choice: 'dev'"),
        (["evaluate", "r", "--spli", "val"], "unrecognized arguments"),
        (["predict", "r", "-o", "out"], "required: IMAGE"),
        (["recipes", "nope"], "no recipe is called 'nope'"),
        (["recipes", "camvid_unet", "--schema"], "leave 'camvid_unet' out"),
        (["models", "nothing_like_it"], "no network fits"),
        (["summary", "resnet81"], "no network is called 'resnet81'; did you mean"),
        (["summary", "resnet18", "widht=3"], "did you mean 'width'?"),
        (["summary", "resnet18", "width=wide"], "it must be a whole number"),
        (["summary", "resnet18", "num_classes=0"], "num_classes is 0"),
        (["summary", "resnet18", "name=vgg11"], "leave name=... out"),
        (["summary", "resnet18", "--size", "0", "5"], "'0' is not a number of pixels"),
        (["summary", "resnet18", "--size", "5x6x7"], "'5x6x7' has 3 sides"),
        (["summary", "resnet18", "--size"], "expected one argument"),
        (["summary", "resnet18", "--depth", "0"], "'0' is not a depth from 1"),
        (["recipes", "--all"], "say which: unpool recipes NAME --all"),
        (["summary", "unet_valid", "--size", "33", "47"], "cannot take an image of (1, 33, 47)"),
    ],
)
def test_wrong_command_line_ends_with_2_and_one_message(fake, capsys, arguments, words):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert re.match(r"error: ", shown.err)
    assert shown.err.count("error: ") == 1
    assert words in shown.err
    assert shown.out == ""
    assert fake.calls == []


def test_path_longer_than_the_system_allows_is_named_in_part(fake, capsys):
    fake.error = OSError(errno.ENAMETOOLONG, "File name too long", "a" * 5000)
    assert main(["evaluate", "r"]) == 4
    err = capsys.readouterr().err
    assert "longer than the file system allows" in err
    assert len(err) < 400
