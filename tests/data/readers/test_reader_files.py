"""Readers name every file that a sample is read from: its own, and those that samples share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.data.readers import trees
from unpool.data.measure import MeasuringReader
from unpool.data.readers import READERS

_watched: list[set[Path]] = []


def _hook(event: str, arguments: tuple) -> None:
    if event == "open" and _watched and isinstance(arguments[0], (str, bytes, Path)):
        _watched[-1].add(Path(arguments[0] if not isinstance(arguments[0], bytes) else arguments[0].decode()))


sys.addaudithook(_hook)  # cannot be taken away again; it does nothing unless something is watched


@contextmanager
def opens(root: Path) -> Iterator[set[Path]]:
    """The files below `root` that are opened meanwhile."""
    _watched.append(set())
    try:
        yield (below := set())
    finally:
        below |= {path for path in _watched.pop() if path.is_relative_to(root) and not path.is_dir()}


def stacks(root: Path) -> Path:
    trees.written(root / "classes.txt", b"sky\nroad\n")
    for folder, most in (("images", 256), ("masks", 2)):
        (root / folder).mkdir()
        for seed, name in enumerate("ab"):
            values = np.random.default_rng(seed).integers(0, most, (3, 8, 9)).astype(np.uint8)
            tifffile.imwrite(root / folder / f"{name}.tif", values, photometric="minisblack")
    return root


def palettes(root: Path) -> Path:
    """Masks in colours, which are read before training to find what they mean."""
    trees.written(root / "classes.txt", b"sky 0 0 0\nroad 255 0 0\n")
    for i in range(5):
        mask = np.zeros((6, 7, 3), np.uint8)
        mask[:i, :, 0] = 255
        trees.written(root / "images" / f"{i}.png", trees.encoded(trees.pixels(6, 7, 3, seed=i)))
        trees.written(root / "masks" / f"{i}_mask.png", trees.encoded(mask))
    return root


TREES = [
    *trees.TREES.items(),
    ("cifar", trees.cifar_batches),
    ("folder_masks", stacks),
    ("folder_masks", palettes),
]


@pytest.fixture(params=TREES, ids=lambda row: f"{row[0]} {row[1].__name__}")
def made(request, tmp_path):
    name, write = request.param
    return READERS[name], write(tmp_path)


def files_of(reader: MeasuringReader) -> set[Path]:
    return {*reader.set_files, *(path for i in range(len(reader)) for path in reader.files(i))}


def test_whatever_is_opened_to_list_a_set_is_named(made):
    kind, root = made
    with opens(root) as opened:
        train = kind(root, "train")
    val = kind(root, "val")
    of_others = {path for i in range(len(val)) for path in val.files(i)}  # masks of the whole set say what they mean
    assert opened <= files_of(train) | of_others
    assert set(train.set_files) <= opened


def test_whatever_is_opened_to_give_a_sample_is_named(made):
    kind, root = made
    reader = kind(root, "train")
    for i in range(len(reader)):
        with opens(root) as opened:
            reader.measure(i), reader.targets(i), reader[i]
        assert opened <= {*reader.files(i), *reader.set_files}
        assert set(reader.files(i)) <= opened


def test_files_lie_below_the_root(made):
    kind, root = made
    reader = kind(root, "val")
    assert all(path.is_relative_to(reader.root) and path.is_file() for path in files_of(reader))
    assert reader.root == root or reader.root.parent == root


@pytest.mark.parametrize("name", ["box_scenes", "figures", "scenes"])
def test_generated_samples_have_no_files(name):
    reader = READERS[name](None, "train", count=2)
    assert isinstance(reader, MeasuringReader)
    assert (reader.root, reader.set_files, reader.files(1)) == (None, (), ())
