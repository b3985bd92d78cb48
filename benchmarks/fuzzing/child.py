"""Runs cases in a process of limited memory and time, which is started anew where a case ends it."""

import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

from benchmarks.fuzzing.verdict import Verdict
from benchmarks.record import ROOT

ADDRESS_SPACE = 10 << 30  # bytes; torch alone takes 3.5 GiB of it
NOWHERE = "http://127.0.0.1:9"  # nothing is downloaded
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "http_proxy": NOWHERE, "https_proxy": NOWHERE}
ASLEEP = 6.0  # by the clock a case may take so many times its limit: the machine may be busy
MODULES = {name: f"benchmarks.fuzzing.{name}" for name in ("recipes", "flips", "pictures")}


class Cases(Protocol):
    """What a module of `MODULES` makes by `cases(work, seed)`."""

    limit_s: float  # of work

    def case(self, number: int) -> Verdict: ...


def verdicts(
    kind: str, seed: int, numbers: Sequence[int], work: Path, *, program: Sequence[str] = ()
) -> Iterator[tuple[int, Verdict]]:
    """(number, verdict) of each case; a child that ends by a case gives it the verdict "hang" or "died".

    Args:
        kind: a key of `MODULES`.
        seed: of the cases.
        numbers: of the cases, in order.
        work: folder for files, kept.
        program: starts the child, for tests; by default this module.
    """
    rest = list(numbers)
    while rest:
        done = 0
        with tempfile.TemporaryFile("w+") as log, _start(kind, seed, rest, work, log=log, program=program) as process:
            assert process.stdout is not None
            for line in process.stdout:
                number, *verdict = json.loads(line)
                yield number, Verdict(*verdict)
                done += 1
            code = process.wait()
            if done < len(rest):
                log.seek(0)
                tail = log.read()[-3000:]
                if done == 0 and "Timeout (" not in tail and code > 0:
                    raise RuntimeError(f"the child of {kind} exited with {code} before its first case: {tail}")
                is_hanging = "Timeout (" in tail or code == -signal.SIGPROF
                yield rest[done], Verdict("hang" if is_hanging else "died", kind, f"exit {code}: {tail}")
                done += 1
        rest = rest[done:]


def _start(
    kind: str, seed: int, numbers: Sequence[int], work: Path, *, log: object, program: Sequence[str]
) -> subprocess.Popen[str]:
    command = [*(program or (sys.executable, "-m", "benchmarks.fuzzing.child")), kind, str(seed), str(work)]
    environment = {**os.environ, **ENVIRONMENT, "XDG_CACHE_HOME": str(work / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*command, json.dumps(list(numbers))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,  # type: ignore[arg-type]
        env=environment,
        text=True,
    )


def serve(make: Callable[[Path, int], Cases], seed: int, numbers: Sequence[int], work: Path) -> None:
    """The child's side: one JSON line a case; what the cases print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        cases = make(work, seed)
        for number in numbers:
            with _watched(cases.limit_s):
                verdict = cases.case(number)
            out.write(json.dumps([number, verdict.outcome, verdict.where, verdict.detail]) + "\n")
            out.flush()


@contextmanager
def _watched(limit_s: float) -> Iterator[None]:
    """Ends the process with its stack shown after so many seconds of work, or `ASLEEP` times as many by the clock."""
    faulthandler.register(signal.SIGPROF, chain=True)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    faulthandler.dump_traceback_later(ASLEEP * limit_s, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(arguments: Sequence[str]) -> None:
    kind, seed, work, numbers = arguments
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    serve(import_module(MODULES[kind]).cases, int(seed), json.loads(numbers), Path(work))


if __name__ == "__main__":
    main(sys.argv[1:])
