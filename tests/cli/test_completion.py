"""Completion in a real bash."""

import shutil
import subprocess

import pytest

from unpool.cli.main import main
from unpool.cli.verbs import VERBS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash")


@pytest.fixture
def completed(capsys, tmp_path):
    """What a press of Tab offers for a line whose last word is begun."""
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "runs" / "my run").mkdir(parents=True)

    def complete(*words: str) -> list[str]:
        line = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _unpool 2> /dev/null; printf "%s\\n" "${COMPREPLY[@]}"'
        command = ["bash", "--norc", "-c", f"{script}\n{line}", "bash", "unpool", *words]
        options = {"capture_output": True, "text": True, "cwd": tmp_path}
        offered = subprocess.run(command, **options, check=True, timeout=30).stdout
        return [line for line in offered.splitlines() if line]

    return complete


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        (["train", "folder_"], ["folder_dncnn", "folder_resnet18", "folder_unet"]),
        (["train", "folder_unet", "train.ep"], ["train.epochs="]),
        (["train", "folder_unet", "data.root", "=", ""], []),  # files, which the shell completes by itself
        (["train", "folder_unet", "--ru"], ["--run", "--run-dir"]),
        (["train", "folder_unet", "--run", ""], []),
        (["predict", "r", "--weights", "v"], ["voc"]),
        (["evaluate", "r", "--split", ""], ["train", "val", "test"]),
        (["summary", "lenet5"], ["lenet5", "lenet5_28"]),
        (["predict", "une"], []),  # none has published weights
        (["show", ""], ["anchors", "augment", "dense", "errors", "field", "init", "story"]),
        (["show", "dense", "--wi"], ["--window"]),
        (["show", "dense", "resnet18"], ["resnet18"]),
        (["train", "--verbose", "folder_u"], ["folder_unet"]),
        (["--debug", "train", "--run", "x", "folder_u"], ["folder_unet"]),
        (["--debug", "tr"], ["train"]),
        (["--ver"], ["--version"]),
        (["train", "folder_unet", "data.val_s"], ["data.val_share="]),
        (["train", "folder_unet", "task.label_s"], ["task.label_smoothing="]),
        (["train", "folder_unet", "model.stem_b"], ["model.stem_bias="]),
        (["predict", "ru"], ["runs"]),
        (["evaluate", "runs/"], ["runs/my run"]),
        (["predict", "runs/a", "ru"], []),  # files
        (["models", "people_"], ["people_in_boxes"]),
        (["completion", ""], ["bash", "zsh"]),
    ],
)
def test_tab_offers_what_fits(completed, words, offered):
    assert completed(*words) == offered


def test_tab_after_the_program_offers_every_verb(completed):
    assert completed("") == [*VERBS, "--help", "--version", "--debug"]


def test_script_for_zsh_loads_bash_s_completion_first(capsys):
    main(["completion", "zsh"])
    script = capsys.readouterr().out
    assert script.startswith("autoload -U +X compinit")
    assert "train.epochs=" not in script
    if zsh := shutil.which("zsh"):
        subprocess.run([zsh, "-f", "-n"], input=script, text=True, check=True, timeout=30)
