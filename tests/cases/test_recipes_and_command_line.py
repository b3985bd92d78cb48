"""Recipes, command lines, terminals, clocks and machines as users have them: what the program answers."""

import contextlib
import errno
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import time
from itertools import cycle

import pytest
import tifffile

from tests.data.encoding import picture
from tests.test_run import StopAfter, tensors_of
from tests.tiny_trees import write_tree
from unpool import run as verbs
from unpool.cli.main import main
from unpool.errors import EnvironmentFault, RecipeError, Stopped
from unpool.recipe import load_recipe
from unpool.training import files
from unpool.training.callbacks import Callback

SMALL = {
    "data.count": 6,
    "data.workers": 0,
    "model.width": 4,
    "train.epochs": 1,
    "train.batch": 2,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
}
WORDS = [f"{key}={value}" for key, value in SMALL.items()]
SCENES = """\
format: 1
about: scenes
data: {reader: scenes, count: 6, workers: 0}
model: {name: unet, width: 4}
task: {name: segmentation}
train:
  epochs: 1
  batch: 2
  lr: 1e-3
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(tmp_path, capsys):
    """What the program says of a recipe that it refuses with code 2; no run is left."""

    def refused(text: str | bytes, *overrides: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert main(["train", str(path), *overrides, "--run", "run"]) == 2
        assert not (tmp_path / "run").exists()
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "Traceback" not in said
        return said

    return refused


def test_tag_of_python_is_refused_and_runs_nothing(refused, tmp_path):
    said = refused(SCENES.replace("about: scenes", "about: !!python/object/apply:os.mkdir [marker]"))
    assert "line 2, column 8: could not determine a constructor" in said
    assert not (tmp_path / "marker").exists()


def test_bomb_of_aliases_is_refused_at_its_first(refused):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert "the alias *a0 is not allowed" in refused("\n".join(lines))


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.1e-2", "+1.0e-3", ".001"])
def test_rate_in_any_writing_of_numbers_is_that_number(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(SCENES.replace("1e-3", text))
    assert load_recipe(tmp_path / "mine.yaml").train.lr == 0.001
    assert load_recipe("scenes_unet", [f"train.lr={text}"]).train.lr == 0.001


def test_misspelt_key_is_refused_with_the_nearest(refused):
    assert "train has no key 'learning_rat'; did you mean 'lr'? (line 10)" in refused(SCENES + "  learning_rat: 1\n")
    assert "no section 'trian'; did you mean 'train'?" in refused(SCENES, "trian.lr=1")


@pytest.mark.parametrize(
    ("key", "values", "allowed"),
    [
        ("batch", ["0", "-1", "1.5", "'32'", "true"], "it must be auto or a whole number at least 1"),
        ("lr", ["0", ".nan", ".inf", "-1", "'0.1'"], "it must be a finite number at least 1e-12 and at most 1000000"),
        ("epochs", ["0", "-3", "2.5", "true"], "it must be a whole number at least 1"),
    ],
)
def test_value_that_cannot_be_is_refused_with_key_value_and_range(refused, key, values, allowed):
    for value in values:
        said = refused(re.sub(rf"  {key}: \S+", f"  {key}: {value}", SCENES))
        assert f"train.{key} is " in said
        assert f"{allowed}" in said
        assert "(line " in said


def test_texts_of_editors_are_read_or_refused_with_their_line(refused, tmp_path):
    assert "line 7, column 1: found character '\\t'" in refused(SCENES.replace("  epochs", "\tepochs"))
    assert "is empty" in refused("")
    assert "holds a list at line 1, column 1" in refused("- a\n")
    for name, text in (("bom", "\ufeff" + SCENES), ("windows", SCENES.replace("\n", "\r\n"))):
        (tmp_path / f"{name}.yaml").write_bytes(text.encode())
        assert load_recipe(tmp_path / f"{name}.yaml").train.lr == 0.001


class Resume(Callback):
    """After the first step, goes on with the run that is under way, as a second trainer would."""

    def __init__(self, run):
        self.run, self.said = run, ""

    def after_step(self, job, record):
        if record.step == 1:
            with pytest.raises(RecipeError) as error:
                verbs.resume(self.run)
            self.said = str(error.value)


def test_second_trainer_is_refused_with_who_trains_and_the_first_goes_on(tmp_path):
    second = Resume(tmp_path / "run")
    metrics = verbs.train("scenes_unet", SMALL, run=tmp_path / "run", callbacks=[second])
    assert f"in use by pid {os.getpid()} on {socket.gethostname()}" in second.said
    assert metrics["training"]["images_seen"] == 6
    verbs.evaluate(tmp_path / "run")


class Steps(Callback):
    """Counts the steps taken."""

    count = 0

    def after_step(self, job, record):
        self.count += 1


def test_disk_that_takes_no_state_ends_the_run_before_its_first_step(tmp_path, monkeypatch):
    steps, write = Steps(), files.write_synced

    def full(path, data):
        if len(data) > 50_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr("unpool.training.checkpoint.write_synced", full)
    with pytest.raises(EnvironmentFault, match=r"cannot save .* MiB\): No space left on device"):
        verbs.train("scenes_unet", SMALL, run=tmp_path / "run", callbacks=[steps])
    assert steps.count == 0


def test_folder_that_cannot_be_made_is_named(capsys):
    assert main(["train", "scenes_unet", *WORDS, "--run", "/proc/here"]) == 4
    assert "cannot make the run directory /proc/here" in capsys.readouterr().err


def test_names_of_any_script_and_length_are_taken_or_refused_in_words(tmp_path, capsys):
    assert main(["train", "scenes_unet", *WORDS, "about=läuft 😀 هلا", "--run", "läuf 😀"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "läuf 😀"
    assert load_recipe(tmp_path / "läuf 😀" / "recipe.yaml").about == "läuft 😀 هلا"
    for long in ("x" * 100_000, "😀" * 50_000):
        assert main(["train", long]) == 2
        assert main(["train", "scenes_unet", f"train.{long}=1"]) == 2
        assert main(["train", "scenes_unet", *WORDS, "--run", long]) == 4
        assert main(["train", "--resume", long]) == 4
        assert main(["summary", long]) == main(["summary", "unet", f"backbone={long}"]) == 2
    said = capsys.readouterr().err
    assert len(said) < 10_000  # with the names of all networks, which none of these is near to
    assert not re.search(r"x{101}|😀{101}", said)


CLOCKS = {
    "backwards": lambda number: 1e9 - 1e6 * number,
    "beyond 2038": lambda number: 2.2e9 + number,
    "at the start of time": lambda number: 0.0,
}


@pytest.fixture(scope="module")
def peace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_tree("folder", folder / "set")
        verbs.train("folder_resnet18", on(folder / "set"), run=folder / "run")
    return folder


def on(root):
    left_out = ("data.count", "train.epochs")
    small = {key: value for key, value in SMALL.items() if key not in left_out}
    return {**small, "train.epochs": 2, "data.size": [32, 32], "data.root": str(root)}


@pytest.mark.parametrize(
    ("clock", "memory"),
    [
        pytest.param(clock, memory, id=name, marks=() if name == "backwards" else pytest.mark.slow)
        for (name, clock), memory in zip(CLOCKS.items(), cycle([True, False]))
    ],
)
def test_no_clock_and_no_time_of_a_file_changes_a_run(peace, tmp_path, monkeypatch, memory, clock):
    """The clock of the day jumps with each look, the zone changes, files are of years far off."""
    root, calls = shutil.copytree(peace / "set", tmp_path / "set"), iter(range(10**9))
    for number, path in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        os.utime(path, (4e9 - 1e8 * number,) * 2)
    monkeypatch.setattr(time, "time", lambda: clock(next(calls)))
    settings = {**on(root), "data.memory": memory}
    for zone in ("Pacific/Kiritimati", "Pacific/Midway"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        if zone == "Pacific/Kiritimati":
            with pytest.raises(Stopped):
                verbs.train("folder_resnet18", settings, run=tmp_path / "run", callbacks=[StopAfter(3)])
        else:
            verbs.resume(tmp_path / "run")
    monkeypatch.undo()
    time.tzset()
    assert tensors_of(tmp_path / "run") == tensors_of(peace / "run")


def missing(monkeypatch, *modules: str) -> None:
    """Packages that cannot be imported from here on."""
    for module in modules:
        for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)


def test_package_that_is_not_installed_is_named_with_how_to_install_it(tmp_path, monkeypatch, capsys):
    missing(monkeypatch, "timm", "tensorboard", "tifffile", "imagecodecs", "h5py")
    assert main(["train", "scenes_unet", *WORDS, "model.name=timm/resnet18", "--run", "run"]) == 4
    assert "need timm, which cannot be imported" in (said := capsys.readouterr().err)
    assert "pip install 'unpool[timm]'" in said
    root = write_tree("folder", tmp_path / "set")
    tifffile.imwrite(root / "ant" / "deep.tif", picture(40, 40)[..., 0].astype("float16"))
    words = [word for word in WORDS if not word.startswith("data.count")]
    assert main(["train", "folder_resnet18", f"data.root={root}", *words, "--run", "run"]) == 3
    assert "needs tifffile: pip install 'unpool[tiff]'" in capsys.readouterr().err


def test_other_commands_do_without_the_packages_that_are_not_installed(monkeypatch, capsys):
    missing(monkeypatch, "timm", "tensorboard", "tifffile", "imagecodecs", "h5py")
    assert main(["models", "resnet18"]) == 0
    assert main(["recipes"]) == 0
    assert main(["summary", "lenet5"]) == 0
    assert main(["train", "scenes_unet", *WORDS, "--run", "run"]) == 0
    assert main(["evaluate", "run"]) == 0


def started(*words: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unpool", *words]
    given = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=given, **options)


@pytest.mark.slow
def test_second_process_is_refused_by_the_lock_of_the_first(tmp_path):
    words = [word for word in WORDS if not word.startswith("train.epochs")]
    command = [sys.executable, "-m", "unpool", "train", "scenes_unet", *words, "train.epochs=100000", "--run", "run"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(tmp_path.glob("run/last/step-*/manifest.json")):
            assert first.poll() is None
            time.sleep(0.05)
        second = started("train", "--resume", "run")
        assert second.returncode == 2
        assert re.search(rf"error: .*/run is in use by pid {first.pid} on ", second.stderr)
    finally:
        first.terminate()
    assert first.wait(60) == 143


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0,
    reason="needs to mount a file system of its own",
)


@pytest.mark.slow
@needs_mounts
def test_full_file_system_ends_the_run_before_its_first_step_with_4(tmp_path):
    """A file system of 1 MB, beside one on which the cache lies."""
    (tmp_path / "small").mkdir()
    program = f"{sys.executable} -m unpool train scenes_unet {' '.join(WORDS)} model.width=16 --run small/run"
    script = f"mount -t tmpfs -o size=1m tmpfs small && {program}; code=$?; cat small/run/log.jsonl >&2; exit $code"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "error: cannot save " in done.stderr
    assert "No space left on device" in done.stderr
    assert '"kind": "step"' not in done.stderr


@pytest.mark.slow
def test_no_color_and_no_terminal_mean_no_colour(tmp_path):
    """On a terminal with NO_COLOR no colour is set; into a pipe no control sequence is written at all."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "unpool", "train", "scenes_unet", *WORDS, "--run"]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "LANG": "C"}
    process = subprocess.Popen([*command, "a"], stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # Linux: where the other end is closed
        while part := os.read(leader, 65536):
            shown += part
    assert process.wait(60) == 0
    assert b"mean_iou" in shown
    assert not re.search(rb"\x1b\[[0-9;]*[34][0-9;]*m", shown)
    piped = started("train", "scenes_unet", *WORDS, "--run", "b", env={"TERM": "xterm-256color"})
    assert piped.returncode == 0
    assert "\x1b" not in piped.stdout + piped.stderr


def test_run_whose_name_has_an_equals_sign_is_no_override(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("unpool.run.evaluate", lambda runs, overrides, **more: asked.append((runs, overrides)) or {})
    monkeypatch.setattr("unpool.cli.evaluate.write_metrics", lambda metrics: None)
    run = tmp_path / "lr=0.1"
    run.mkdir()
    assert main(["evaluate", str(tmp_path), str(run), "data.root=x"]) == 0
    assert asked == [([tmp_path, run], ["data.root=x"])]
