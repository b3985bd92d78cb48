"""Small trees in the formats of the readers, and a watch over them."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


def digest(root: Path) -> dict[str, str]:
    """sha256 and time of change of every file below the root."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() + str(p.stat().st_mtime_ns) for p in files}


@pytest.fixture
def image() -> Draw:
    """Writes an image of a value of its own (or the values given) to a path, making its folders."""
    count = 0

    def write(path: Path, values: np.ndarray | None = None, *, size: tuple[int, int] = (6, 8)) -> Path:
        nonlocal count
        count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.full((*size, 3), count % 256, np.uint8) if values is None else values
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
        path.write_bytes(stream.getvalue())
        return path

    return write


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Call it once the tree stands: the test fails if any file of it differs at the end."""
    taken: list[dict[str, str]] = []
    yield lambda: taken.append(digest(tmp_path))
    assert taken
    assert digest(tmp_path) == taken[0]
