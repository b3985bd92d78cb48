"""What is refused before torch is imported, and what is said first."""

import json
import os
import subprocess
import sys

import pytest

from unpool.cli import early, environment
from unpool.cli.environment import GUARD, SETTINGS
from unpool.data.readers.folder import Folder
from unpool.data.root import require_root
from unpool.errors import DataError, ModelFileError, RecipeError

BARE = {key: value for key, value in os.environ.items() if key not in (*SETTINGS, GUARD)}
WATCHED = """
import json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unpool.cli.outcome import guarded
from unpool.cli.verbs import run_verb
for words in json.loads(sys.argv[1]):
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            code = guarded(lambda: run_verb(words, from_shell=True), debug=False)
        except SystemExit as error:
            code = error.code
    print(json.dumps([code, out.getvalue(), err.getvalue(), "torch" in sys.modules, os.listdir()]), flush=True)
"""
SILENT = [["--help"], ["recipes"], ["recipes", "mnist_convnet"], ["completion", "bash"], ["train", "--help"]]
REFUSED = [
    (["train"], 2, "give a recipe's name or file, or --resume RUN"),
    (["train", "folder_resnet18", "data.root=/nowhere"], 3, "data.root is /nowhere, which does not exist"),
    (["train", "folder_resnet18", "epochs=5"], 2, "did you mean train.epochs=5?"),
    (["train", "folder_resnet18", "train.epoch=5"], 2, "did you mean 'epochs'?"),
    (["train", "folder_resnet18"], 2, "needs a folder; say which: data.root=DIR"),
    (["train", "folder_resnet18", "data.root=.", "data.val_shar=0.3"], 2, "did you mean 'val_share'?"),
    (["train", "folder_resnet18", "data.root=.", "model.name=unet"], 2, "networks that fit: resnet18"),
    (["train", "folder_resnet81"], 2, "no recipe is called 'folder_resnet81'"),
    (["train", "--resume", "gone"], 3, "no run directory gone"),
    (["evaluate", "gone"], 3, "no run directory gone"),
    (["predict", "gone", "a.png"], 3, "no run directory gone"),
    (["predict", "resnet50", "a.png"], 2, "'resnet50' is a network, not a run: add --weights imagenet"),
    (["predict", "unet", "a.png"], 2, "no weights of it are published: train it first"),
    (["predict", "resnet50", "--weights", "imagenet", "a.png", "b*.png"], 3, "no file, folder or match of a.png"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of each command, one after another in one process: code, output, errors, whether torch is there, files left."""
    commands = [*SILENT, *(words for words, _, _ in REFUSED)]
    command = [sys.executable, "-c", WATCHED, json.dumps(commands)]
    ways = {"capture_output": True, "text": True, "env": BARE, "cwd": tmp_path_factory.mktemp("early")}
    done = subprocess.run(command, check=False, timeout=60, **ways)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(commands), done.stderr
    return {tuple(words): answer for words, answer in zip(commands, answers, strict=True)}


@pytest.mark.parametrize(("words", "code", "says"), REFUSED)
def test_what_needs_no_torch_is_refused_without_it(answers, words, code, says):
    exit_code, out, err, has_torch, left = answers[tuple(words)]
    assert (exit_code, out, has_torch, left) == (code, "", False, [])
    assert says in err
    assert err.count("error: ") == 1


@pytest.mark.parametrize("words", SILENT)
def test_what_looks_nothing_up_imports_no_torch(answers, words):
    code, out, _, has_torch, _ = answers[tuple(words)]
    assert (code, has_torch) == (0, False)
    assert out


def test_first_line_is_on_the_screen_before_torch_is_imported(tmp_path):
    (tmp_path / "set").mkdir()
    command = [sys.executable, "-X", "importtime", "-m", "unpool", "train", "folder_resnet18", "data.root=set"]
    lines: list[str] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=BARE, cwd=tmp_path) as started:
        assert started.stderr is not None
        for line in started.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith("import time:") and line.rpartition("|")[2].strip().startswith("torch"):
                break  # the first part of torch is there
        started.kill()
    said = [line for line in lines if line.startswith("unpool 0.")]
    assert len(said) == 1  # the process restarts itself meanwhile
    assert said[0].endswith(": training folder_resnet18 on set; importing torch")


@pytest.fixture
def said(monkeypatch) -> list[str]:
    monkeypatch.delenv(GUARD, raising=False)
    lines: list[str] = []
    monkeypatch.setattr(early, "write_message", lines.append)
    return lines


def test_recipe_s_own_folder_is_checked_too(said, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "about: x\ndata: {reader: folder, root: /nowhere}\nmodel: {name: resnet18}\n"
        "task: {name: classification}\ntrain: {epochs: 1, batch: 1, lr: 0.1}\n"
    )
    with pytest.raises(DataError, match=r"data\.root is /nowhere"):
        early.start_training(str(tmp_path / "mine.yaml"), [])


def test_last_of_two_roots_counts_as_it_does_in_the_recipe(said, tmp_path):
    early.start_training("folder_resnet18", ["data.root=/nowhere", f"data.root={tmp_path}"])
    assert said[0].endswith(f": training folder_resnet18 on {tmp_path}; importing torch")


def test_root_without_a_value_is_not_the_working_directory(said):
    with pytest.raises(RecipeError, match=r"override 'data\.root=' has no value"):
        early.start_training("folder_resnet18", ["data.root="])
    assert said[0].endswith(": training folder_resnet18; importing torch")


def test_restarted_process_says_and_checks_nothing_again(said, monkeypatch):
    monkeypatch.setenv(GUARD, str(os.getpid()))
    early.start_training("folder_resnet18", ["data.root=/nowhere"])
    early.start_answering("evaluating", "gone", is_published=False)
    assert said == []
    monkeypatch.setenv(GUARD, str(os.getpid() + 1))  # a process that a restarted one has started
    assert not environment.is_restarted()


def test_one_image_that_exists_is_enough_to_go_on(said, tmp_path):
    (tmp_path / "a1.png").touch()
    images = [tmp_path / "gone.png", tmp_path / "a*.png"]
    early.start_answering("predicting with", "resnet50", is_published=True, images=images)
    assert said[0].endswith(": predicting with resnet50; importing torch")


def test_root_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file, which is no folder; give the folder of the data set"):
        require_root(tmp_path / "file")
    with pytest.raises(DataError, match=r"a\\nb, which does not exist"):
        require_root(tmp_path / "a\nb")
    with pytest.raises(DataError, match="which does not exist"):
        Folder(tmp_path / "gone", "train")


@pytest.mark.parametrize("name", ["resnet50", "timm/resnet18"])
def test_python_is_told_of_missing_weights_as_well(name):
    import unpool

    for verb in (unpool.load, lambda run: unpool.predict(run, ["a.png"])):
        with pytest.raises(RecipeError, match=r"is a network, not a run: .*weights='imagenet'"):
            verb(name)
    with pytest.raises(ModelFileError, match="no run directory"):
        unpool.load("resnet5")
