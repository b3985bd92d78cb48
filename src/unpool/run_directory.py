"""The folder of one run: where each file lies, who holds it, how its files are written and read again."""

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from unpool.errors import EnvironmentFault, ModelFileError, RecipeError, shortened
from unpool.launched import environment
from unpool.manifest import NAME, Manifest, differences, read_bound, read_manifest, sum_of
from unpool.network_names import not_a_run
from unpool.training import processes
from unpool.training.files import TEMPORARY, replace_file, serialize

try:
    import fcntl
except ImportError:  # Windows: two trainers of one run are not kept apart there
    fcntl = None


RECIPE, DATA, CONFIG, METRICS = "recipe.yaml", "data.json", "config.json", "metrics.json"
LAST, BEST, REPORT, VARIABLES = "model.safetensors", "best.safetensors", "report.html", "variables.txt"
STATES = "last"  # folder of the states to resume from
_log = logging.getLogger(__name__)
_BEFORE = {"lock", NAME, DATA, CONFIG}  # what a run leaves that ends before its recipe is written,
_OF_NO_STEP = {*_BEFORE, RECIPE, STATES, VARIABLES, "log.jsonl", "events"}  # and one that ends before its first step
_MADE_ANEW = {  # by a run that is resumed without the file
    LAST: "it is made anew from the saved state",
    METRICS: "it is made anew from the saved state",
    BEST: "the best weights of what follows are kept",
}


class RunDirectory:
    """Paths of one run, its lock, and its files, which manifest.json binds to one another.

    Attributes:
        path: absolute folder; holds recipe.yaml, config.json, data.json, model.safetensors, best.safetensors, last/,
            log.jsonl, metrics.json, manifest.json and report.html.
        is_unused: the run was described and ended before its first step.
    """

    def __init__(self, path: Path, *, made: Sequence[Path] = ()) -> None:
        self.path = Path(path).absolute()
        self.is_unused = False
        self._made = [folder.absolute() for folder in made]

    @classmethod
    def create(cls, recipe_name: str, run: Path | None) -> "RunDirectory":
        """Makes `run`, or the first free `runs/<recipe>-<n>`.

        The folder and all in it get the permissions that the umask leaves, no fewer and no more: with 077 only their
        owner can read them.

        Raises:
            RecipeError: `run` exists and is not empty.
            EnvironmentFault: the folder cannot be made.
        """
        try:
            if run is not None:
                path = Path(run)
                if path.exists() and (not path.is_dir() or not _never_began(path)):
                    raise RecipeError(
                        f"{path} exists already; give another --run, or continue it with: unpool train --resume {path}"
                    )
                made = _missing(path) or ([path] if any(path.iterdir()) else [])  # the latter by a killed run
                path.mkdir(parents=True, exist_ok=True)
                return cls(path, made=made)
            for number in range(1, 1_000_000):
                path = Path("runs") / f"{recipe_name}-{number}"
                made = _missing(path)
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    continue
                return cls(path, made=made)
        except OSError as error:
            raise EnvironmentFault(
                f"cannot make the run directory {shortened(str(error.filename))}: {error.strerror}; choose a writable "
                "folder with --run"
            ) from error
        raise EnvironmentFault("runs/ holds a million runs of this recipe; give --run")

    @classmethod
    def left_by_restart(cls, recipe_name: str, run: Path | None) -> Path | None:
        """The run that the processes began before they were all started anew, where it can go on; else None.

        It is `run`; where none is named, the newest of the recipe that the same `torchrun` has started.
        """
        asked = [Path(run)] if run is not None else sorted(Path("runs").glob(f"{recipe_name}-*"), key=_number)
        begun = [path for path in asked if (path / RECIPE).is_file()]
        ours = [path for path in begun if run is not None or _lock_text(path).endswith(_starter())]
        return ours[-1] if ours else None

    @classmethod
    def open(cls, run: Path) -> "RunDirectory":
        """An existing run.

        Raises:
            ModelFileError: it is missing or is no run directory.
            RecipeError: it is the name of a network.
        """
        path = Path(run)
        if not path.is_dir():
            raise not_a_run(path)
        if not (path / RECIPE).is_file():
            if (path / "lock").is_file() and _never_began(path):
                raise ModelFileError(
                    f"{path} ended before its first step: unpool train RECIPE --run {path} begins anew"
                )
            raise ModelFileError(f"{path} is no run directory: it holds no {RECIPE}")
        return cls(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps every other trainer out of this folder, and removes what a killed one left half-written.

        Of several processes of one run the leader does so, which alone writes.

        Raises:
            RecipeError: another process trains here.
        """
        if not processes.is_leader():
            yield
            return
        with (self / "lock").open("a+") as lock:
            if self._take_lock(lock):
                for left in self.path.glob(f"{TEMPORARY}*"):  # by a kill, and nobody else writes here now
                    left.unlink(missing_ok=True)
            yield

    def _take_lock(self, lock: IO[str]) -> bool:
        """Takes the lock and notes who has it; returns False on a file system without locks, which the log says."""
        if fcntl is None:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RecipeError(f"{self.path} is in use by {lock.read().strip() or 'another process'}") from None
        except OSError as error:
            _log.warning("%s has no locks (%s): start no second trainer of this run", self.path, error.strerror)
            return False
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}{_starter() or f' on {socket.gethostname()}'}")
        lock.flush()
        return True

    def write(self, files: Mapping[str, bytes], *, recipe: Mapping[str, Any] | None = None) -> None:
        """Replaces files by name, bound in manifest.json; a kill at any moment leaves files that it lists.

        Args:
            files: the new content of each.
            recipe: the values that manifest.json keeps from now on; None leaves them.
        """
        if not processes.is_leader():
            return
        manifest = read_manifest(self.path) if (self / NAME).is_file() else Manifest()
        if recipe is not None:
            manifest = replace(manifest, recipe=recipe)
        new = {name: sum_of(data) for name, data in files.items()}
        both = {name: tuple(dict.fromkeys((*manifest.sums.get(name, (None,)), now))) for name, now in new.items()}
        replace_file(self / NAME, manifest.with_sums(both).dump())
        for name, data in files.items():
            replace_file(self / name, data)
        replace_file(self / NAME, manifest.with_sums({name: (now,) for name, now in new.items()}).dump())

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        self.write({name: as_bytes(values)})

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        self.write({name: serialize(tensors)})

    def write_page(self, name: str, text: str) -> None:
        """Replaces a file that nothing reads, and that manifest.json does not bind."""
        if processes.is_leader():
            replace_file(self / name, text.encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in a file of the run.

        Raises:
            ModelFileError: the file is missing, is not the one that the run wrote, or is not JSON.
        """
        try:
            return json.loads(read_bound(self / name))
        except ValueError as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{self / name} is not readable as JSON: {error}") from error

    def check(self) -> None:
        """Compares every file with manifest.json, but recipe.yaml, whose values are compared when it is read.

        What a resumed run makes anew may be missing.

        Raises:
            ModelFileError: a file was changed or damaged, or is missing.
        """
        wrong = []
        for name, difference in differences(self.path).items():
            is_missing = not (self / name).exists()
            if name == RECIPE or (is_missing and name in _MADE_ANEW):
                continue
            advice = f", or remove it and resume: {_MADE_ANEW[name]}" if name in _MADE_ANEW else ""
            wrong.append(difference + advice)
        if wrong:
            raise ModelFileError(". ".join(wrong))

    def is_finished(self, epochs: int) -> bool:
        """Whether the run has trained that many epochs, or ended before by itself, and left its results."""
        if not all((self / name).is_file() for name in (METRICS, LAST, REPORT)):
            return False
        metrics = self.read_json(METRICS)
        history = metrics.get("history") or [{"epoch": 0}]
        return history[-1]["epoch"] >= epochs or bool((metrics.get("training") or {}).get("ended_early"))

    @contextmanager
    def removed_if_unused(self) -> Iterator[None]:
        """Takes away what `create` made where what happens inside fails before the run's first step.

        A folder that was there before stays, as empty as it was.
        """
        try:
            yield
        except BaseException:
            if processes.is_leader() and (self.is_unused or _never_began(self.path)):
                self._remove()
            raise

    def _remove(self) -> None:
        for path in self.path.iterdir():
            if path.name in _OF_NO_STEP or path.name.startswith(TEMPORARY):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        with suppress(OSError):  # of another run, or of the user, is what they hold besides
            for folder in self._made:
                folder.rmdir()


def _starter() -> str:
    """Who has started the processes of this run, such as `torchrun`, for the lock; empty for a process by itself."""
    return f" on {socket.gethostname()}, started by {os.getppid()}" if environment().world_size > 1 else ""


def _lock_text(path: Path) -> str:
    try:
        return (path / "lock").read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    last = path.name.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


def shown_path(directory: Path) -> str:
    """The path relative to the working directory, if it is inside it."""
    path, here = directory.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def as_bytes(values: Mapping[str, Any]) -> bytes:
    """The JSON of a file of a run."""
    return (json.dumps(values, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _missing(path: Path) -> list[Path]:
    """The folder and those around it that do not exist, the innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _never_began(path: Path) -> bool:
    """Whether a folder holds nothing but what a run leaves that ended before its recipe was written."""
    names = {child.name for child in path.iterdir()}
    return not names or ("lock" in names and all(name in _BEFORE or name.startswith(TEMPORARY) for name in names))
