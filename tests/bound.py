"""Binds the files of a folder to one another, as those of a run are that Unpool wrote."""

from pathlib import Path

from unpool.run_directory import RunDirectory


def bind(run: Path) -> Path:
    """Lists every file in manifest.json as it is now, and returns the folder."""
    (run / "manifest.json").unlink(missing_ok=True)
    RunDirectory(run).write({path.name: path.read_bytes() for path in run.iterdir() if path.is_file()})
    return run
