"""Copies of the working tree in which mistakes are planted; the tree itself is never touched."""

import compileall
import py_compile
import shutil
from pathlib import Path

from benchmarks.record import ROOT

COPIED = ("src", "tests", "benchmarks", "examples", "pyproject.toml", "README.md", "RESULTS.md", "Makefile", ".ci")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".hypothesis", ".pytest_cache")


def copy_tree(target: Path, root: Path = ROOT) -> Path:
    """Copies what the tests need, byte-compiled so that a mistake is seen whatever its file's time and size."""
    target.mkdir(parents=True)
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=IGNORED)
        elif source.is_file():
            shutil.copy2(source, target / name)
    # Python's own test of staleness is size and whole seconds: `+` for `-` within a second would go unseen
    compileall.compile_dir(target / "src", quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return target
