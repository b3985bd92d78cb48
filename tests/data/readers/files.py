"""Contents of files in tiny data sets."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(values: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, form)
    return stream.getvalue()


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pixels(*shape: int, most: int = 256, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most, shape).astype(np.uint8)


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's own form of a region: pixels outside and inside in turns, column after column."""
    flat = np.concatenate([[0], mask.T.flatten().astype(int), [1 - int(mask[-1, -1])]])
    ends = np.flatnonzero(np.diff(flat[1:]))
    counts = np.diff(np.concatenate([[0], ends + 1])).tolist()
    return {"size": list(mask.shape), "counts": ([0] if mask[0, 0] else []) + counts}
