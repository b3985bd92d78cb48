"""The folder of one run: where each file lies, who holds it, how its small files are written."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unpool.errors import EnvironmentFault, ModelFileError, RecipeError
from unpool.training.files import remove_temporary, replace_file

try:
    import fcntl
except ImportError:  # Windows: two trainers of one run are not kept apart there
    fcntl = None


class RunDirectory:
    """Paths of one run, and its lock.

    Attributes:
        path: absolute folder; holds recipe.yaml, config.json, data.json, model.safetensors, best.safetensors, last/,
            log.jsonl, metrics.json and report.html.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()

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
                if path.exists() and (not path.is_dir() or any(path.iterdir())):
                    raise RecipeError(
                        f"{path} exists already; give another --run, or continue it with: unpool train --resume {path}"
                    )
                path.mkdir(parents=True, exist_ok=True)
                return cls(path)
            for number in range(1, 1_000_000):
                path = Path("runs") / f"{recipe_name}-{number}"
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    continue
                return cls(path)
        except OSError as error:
            raise EnvironmentFault(
                f"cannot make the run directory {error.filename}: {error.strerror}; choose a writable folder with --run"
            ) from error
        raise EnvironmentFault("runs/ holds a million runs of this recipe; give --run")

    @classmethod
    def open(cls, run: Path) -> "RunDirectory":
        """An existing run.

        Raises:
            ModelFileError: it is missing or is no run directory.
        """
        path = Path(run)
        if not path.is_dir():
            raise ModelFileError(f"no run directory {path}; `unpool train` prints the path of each run at its end")
        if not (path / "recipe.yaml").is_file():
            raise ModelFileError(f"{path} is no run directory: it holds no recipe.yaml")
        return cls(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps every other trainer out of this folder, and removes what a killed one left half-written.

        Raises:
            RecipeError: another process trains here.
        """
        if fcntl is None:
            yield
            return
        with (self / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise RecipeError(f"{self.path} is in use by {lock.read().strip() or 'another process'}") from None
            lock.truncate(0)
            lock.write(f"pid {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            remove_temporary(self.path)
            yield

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        self.write_text(name, json.dumps(values, indent=1, ensure_ascii=True, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Replaces the file in one step, so that a reader sees the old or the new text, never half of it."""
        replace_file(self / name, text.encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in a file of the run.

        Raises:
            ModelFileError: the file is missing or is not JSON.
        """
        try:
            return json.loads((self / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelFileError(f"{self.path} holds no {name}: the run did not get that far") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelFileError(f"{self / name} is not readable as JSON: {error}") from error

    def is_finished(self, epochs: int) -> bool:
        """Whether the run has trained that many epochs and left its results."""
        if not all((self / name).is_file() for name in ("metrics.json", "model.safetensors", "report.html")):
            return False
        history = self.read_json("metrics.json").get("history") or [{"epoch": 0}]
        return history[-1]["epoch"] >= epochs

    @contextmanager
    def removed_if_unused(self) -> Iterator[None]:
        """Takes the folder away again where what happens inside fails before the run could be resumed."""
        try:
            yield
        except BaseException:
            if not (self / "recipe.yaml").is_file():
                for name in ("lock", "data.json", "config.json"):
                    (self / name).unlink(missing_ok=True)
                with suppress(OSError):
                    self.path.rmdir()
            raise
