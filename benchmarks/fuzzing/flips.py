"""Files of a finished run with a flipped bit, a cut or a zeroed block: the same answers, or an error by name."""

import random
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.fuzzing.child import ASLEEP
from benchmarks.fuzzing.runs import EPOCHS, RUNS, VERBS, Peace, ask, copied, finished
from benchmarks.fuzzing.verdict import REFUSED, SAME, Answer, Verdict, fault_of, print_of_folder

PROCESS_EVERY = 50  # every so many cases a verb is a process of its own
SECTORS = (64, 512, 4096)  # bytes of a zeroed block


class Flips:
    """Cases by number; `work` holds the finished runs."""

    limit_s = 100.0

    def __init__(self, work: Path, seed: int) -> None:
        self.work, self.seed = work, seed
        self.runs = {name: finished(name, work) for name in RUNS}

    def case(self, number: int) -> Verdict:
        rng = random.Random(f"flips {self.seed} {number}")
        peace = self.runs[rng.choice([*RUNS])]
        path = rng.choice(files_of(peace.run))
        data, change = damaged((peace.run / path).read_bytes(), rng)
        where, seen = re.sub(r"\d{4,}.*(?=/)|(?<=tfevents).*", "N", path), []
        verbs = VERBS if number % PROCESS_EVERY else (rng.choice(VERBS),)
        for verb in verbs:
            copy = copied(peace.run, self.work / "flipped")
            (copy / path).write_bytes(data)
            judge = self._in_process if number % PROCESS_EVERY else self._as_process
            outcome, detail = judge(verb, copy, peace)
            if outcome not in (SAME, REFUSED):
                return Verdict(outcome, where, f"{verb}, {path}, {change}: {detail}")
            seen.append(outcome)
        return Verdict(REFUSED if REFUSED in seen else SAME, where)

    def _in_process(self, verb: str, copy: Path, peace: Peace) -> tuple[str, str]:
        given, value = ask(verb, copy, peace.image)
        if fault := fault_of(given):
            return fault
        if given.code:
            return REFUSED, given.message
        return (SAME, "") if value == peace.right[verb] else ("silently other", f"exit 0, {given.said[-800:]}")

    def _as_process(self, verb: str, copy: Path, peace: Peace) -> tuple[str, str]:
        """The verb on the command line; what it computes is compared where it leaves files."""
        out = copy.with_name("process-out")
        subprocess.run(["rm", "-rf", str(out)], check=True)
        words = {
            "predict": ["predict", str(copy), str(peace.image), "-o", str(out)],
            "predict best": ["predict", str(copy), str(peace.image), "-o", str(out), "--weights", "best"],
            "evaluate": ["evaluate", str(copy), "--json"],
            "resume": ["train", "--resume", str(copy), f"train.epochs={EPOCHS + 1}"],
        }
        command = [sys.executable, "-m", "unpool", *words[verb]]
        limit_s = 0.9 * ASLEEP * self.limit_s
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return "hang", f"took more than {limit_s:g} s"
        given = Answer(done.returncode, done.stderr)
        if fault := fault_of(given):
            return fault
        if given.code not in (0, 3, 2):
            return "exit code", f"{given.code}: {given.message}"
        if given.code:
            return REFUSED, given.message
        if verb.startswith("predict") and print_of_folder(out) != peace.right[verb]:
            return "silently other", "exit 0"
        return SAME, ""


def files_of(run: Path) -> list[str]:
    """Every file of a run that has bytes, in order of their names."""
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file() and path.stat().st_size)


def damaged(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The bytes with one fault of a disk, and its name."""
    kind, at = rng.random(), rng.randrange(len(data))
    if kind < 0.8:
        bit = rng.randrange(8)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"bit {bit} of byte {at} flipped"
    if kind < 0.9:
        return data[:at], f"cut to {at} of {len(data)} bytes"
    size = rng.choice(SECTORS)
    at -= at % size
    zeros = bytes(min(size, len(data) - at))
    return data[:at] + zeros + data[at + size :], f"{len(zeros)} bytes from {at} zeroed"


def cases(work: Path, seed: int) -> Flips:
    """As `child.serve` asks for."""
    return Flips(work, seed)
