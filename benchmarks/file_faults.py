"""Ends `unpool train` at single operations on files of its run, by SIGKILL or by a full disk, and resumes it.

A run left in peace is traced first; each trial then takes one of its calls that touch the run directory (opening,
writing, syncing, renaming, removing, making folders) and has strace inject a SIGKILL or ENOSPC there. Afterwards
`unpool predict` must answer or say that there are no weights yet, and the resumed run end with the bits of that one.
The command runs in a fork of this process, which has imported everything: only operations of the run are counted.
"""

import argparse
import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from benchmarks.kill_resume import fingerprints
from benchmarks.mutants.pool import preload
from benchmarks.record import RESULTS, Row, write_result
from unpool.cli.main import main as unpool
from unpool.errors import EnvironmentFault

PRELOADED = ("unpool.run", "torch.utils.tensorboard")  # what the verbs import when they run
CALLS = ("openat", "write", "fsync", "rename", "unlink", "unlinkat", "mkdir", "ftruncate")
FULL = ("openat", "write", "fsync", "rename", "mkdir")  # those that a full disk refuses
RECIPE = ["scenes_unet", "data.count=4", "data.workers=0", "data.size=[32,32]", "model.width=2", "train.batch=2"]
RECIPE += ["train.epochs=3", "train.evaluate_every=1", "train.warmup_epochs=0", "train.save_every_s=0"]
RECIPE += ["train.precision=float32", "train.memory_format=contiguous"]
NO_WEIGHTS = ("no such weights yet", "ended before its first step", "no run directory", "did not get that far")
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)")


class Operation(NamedTuple):
    """The `number`-th call of this name in the main thread, and the file that it touches."""

    call: str
    number: int
    file: str


class Trial(NamedTuple):
    """What one fault led to; `wrong` is empty where all went as it must."""

    fault: str
    operation: Operation
    exit_code: int
    predict_code: int
    wrong: list[str]


def started(words: Sequence[str], *, log: Path, strace: Sequence[str] = ()) -> int:
    """The exit code of `unpool WORDS` in a fork, below strace if it has options; the output is in `log`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(writing)
        os.read(reading, 1)
        code = unpool(list(words))
        sys.stdout.flush()
        os._exit(code)
    os.close(reading)
    tracer = None
    if strace:
        command = ["strace", "-f", "-q", *strace, "-p", str(child)]
        tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        status = Path(f"/proc/{child}/status")
        while "TracerPid:\t0\n" in status.read_text() and tracer.poll() is None:
            time.sleep(0.005)
    os.close(writing)
    _, code = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait()
    return os.waitstatus_to_exitcode(code)


def operations(words: Sequence[str], run: Path, folder: Path) -> list[Operation]:
    """Trains once in peace, and lists the calls that touch the run directory.

    Raises:
        RuntimeError: the run did not end with 0.
    """
    trace, log = folder / "trace", folder / "output"
    started(words, log=log)  # what is kept for this machine, such as measured speeds, is there afterwards
    shutil.rmtree(run, ignore_errors=True)
    code = started(words, log=log, strace=["-y", "-o", str(trace), "-e", f"trace={','.join(CALLS)}"])
    if code:
        raise RuntimeError(f"the run in peace exited with {code}:\n{log.read_text()[-2000:]}")
    lines = [match for line in trace.read_text(errors="replace").splitlines() if (match := _LINE.match(line))]
    counts, listed = dict.fromkeys(CALLS, 0), []
    for thread, call, rest in (match.groups() for match in lines):
        if thread != lines[0][1] or call not in counts:
            continue
        counts[call] += 1
        if (file := re.search(re.escape(str(run)) + r"[^>\"]*", rest)) and "RDONLY" not in rest:
            listed.append(Operation(call, counts[call], file[0].removeprefix(str(run))))
    return listed


def trial(fault: str, operation: Operation, words: Sequence[str], *, run: Path, expected: dict[str, str]) -> Trial:
    """One fault at one operation, a prediction, a resume, and a comparison."""
    shutil.rmtree(run, ignore_errors=True)
    log, wrong = run.with_name("output"), []
    effect = "signal=KILL" if fault == "kill" else "error=ENOSPC"
    inject = f"inject={operation.call}:{effect}:when={operation.number}"
    options = ["-o", "/dev/null", "-e", f"trace={operation.call}", "-e", inject]
    code = started(words, log=log, strace=options)
    text = log.read_text(errors="replace")
    if code != (-signal.SIGKILL if fault == "kill" else EnvironmentFault.exit_code):
        wrong.append(f"exit code {code}: {text[-300:]}")
    has_weights = (run / "best.safetensors").is_file()
    predicted, said = _predict(run)
    if predicted != 0 and (has_weights or predicted != 3 or not any(reason in said for reason in NO_WEIGHTS)):
        wrong.append(f"predict exited with {predicted}: {said[-300:]}")
    again = words if not (run / "recipe.yaml").is_file() else ["train", "--resume", str(run)]
    resumed = started(again, log=log)
    text += said + log.read_text(errors="replace")
    if resumed:
        wrong.append(f"the resume exited with {resumed}: {text[-300:]}")
    elif differ := [name for name, value in fingerprints(run).items() if value != expected[name]]:
        wrong.append(f"other bits in {', '.join(differ)}")
    left = [path.name for path in run.rglob(".writing-*")]
    wrong += [f"left behind: {name}" for name in left] + ["a traceback"] * ("Traceback" in text)
    return Trial(fault, operation, code, predicted, wrong)


def _predict(run: Path) -> tuple[int, str]:
    photo, log = run.with_name("photo.png"), run.with_name("predicted")
    Image.new("RGB", (48, 32), (90, 120, 30)).save(photo)
    shutil.rmtree(run.with_name("out"), ignore_errors=True)
    words = ["predict", str(run), str(photo), "-o", str(run.with_name("out")), "--weights", "best"]
    return started(words, log=log), log.read_text(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    began, generator = time.monotonic(), random.Random(options.seed)
    trials: list[Trial] = []
    preload()
    for module in PRELOADED:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory(prefix="unpool-faults-") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        run = folder / "run"
        words = ["train", *RECIPE, *options.overrides, "--run", str(run)]
        listed = operations(words, run, folder)
        expected = fingerprints(run)
        for fault, count in (("kill", options.kills), ("full disk", options.full)):
            fitting = [one for one in listed if fault == "kill" or one.call in FULL]
            for operation in generator.sample(fitting, min(count, len(fitting))):
                trials.append(trial(fault, operation, words, run=run, expected=expected))
                print(len(trials), *trials[-1], flush=True)
    rows = _rows(trials, len(listed))
    details: dict[str, Any] = {"trials": [[*one[:1], *one.operation, *one[2:]] for one in trials]}
    command = f"python -m benchmarks.file_faults --kills {options.kills} --full {options.full}"
    if options.json:
        wall_s = time.monotonic() - began
        write_result(options.json, rows, command=command, seed=options.seed, wall_s=wall_s, details=details)
    print("\n".join(f"{row.what}: {row.figure}" for row in rows))
    return int(any(one.wrong for one in trials))


def _rows(trials: Sequence[Trial], operations: int) -> list[Row]:
    killed, full = ([one for one in trials if one.fault == fault] for fault in ("kill", "full disk"))
    what = "at one of {} operations on files of a run, resumed to the same bits"
    return [
        Row(what=f"kills {what.format(operations)}", figure=f"{_right(killed)} of {len(killed)}"),
        Row(what=f"full disks {what.format(operations)}", figure=f"{_right(full)} of {len(full)}"),
        Row(what="of these with an answer of predict before the resume", figure=str(_answered(trials))),
    ]


def _right(trials: Sequence[Trial]) -> int:
    return sum(not one.wrong for one in trials)


def _answered(trials: Sequence[Trial]) -> int:
    return sum(one.predict_code == 0 for one in trials)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.file_faults", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for `unpool train`")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--full", type=int, default=40, help="full disks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help=f"where the result goes, such as {RESULTS / 'file_faults.json'}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
