"""The folder of a data set; checked before torch is imported, which this file leaves out."""

from pathlib import Path

from unpool.errors import DataError


def require_root(root: Path) -> Path:
    """Returns the root; raises DataError if it does not exist or is no folder."""
    if root.is_dir():
        return root
    name, problem = str(root), "which is no folder" if root.exists() else "which does not exist"
    shown = name if name.isprintable() else ascii(name)[1:-1]
    raise DataError(f"data.root is {shown}, {problem}; give the folder of the data set")
