"""Checks that a resumed run reads the images that it began with, name by name and content by content."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from unpool.assemble.data import Data
from unpool.data.contents import changed_files, listed, other_files
from unpool.data.same_names import NAMES, name_differences
from unpool.data.store import ScanResult
from unpool.errors import DataError
from unpool.run_directory import RunDirectory
from unpool.types import DataInfo

_GEOMETRY = {"flip_pairs": "joints that trade places in a mirror", "limbs": "limbs"}


def check_same_set(directory: RunDirectory, data: Data, unreadable: Collection[str] = ()) -> list[str]:
    """Compares names of images, contents of files, classes, joints and limbs with those that the run recorded.

    Args:
        directory: of the run.
        data: its set as it is now, all files hashed anew.
        unreadable: names of training images that the run could not read, which may have been repaired.

    Returns:
        Those of `unreadable` that were.

    Raises:
        DataError: images were added, removed, reordered or changed; a file that was validated on might now be trained
            on.
    """
    recorded = directory.read_json("data.json")
    repairable = _files_of(data.train, set(unreadable))
    may_differ = {path for files in repairable.values() for path in files}
    differences = []
    for split, result in (("train", data.train), ("val", data.val)):
        differences += [f"{split} {text}" for text in _differences(recorded[split], result, may_differ)]
    known = DataInfo.from_json(directory.read_json("config.json")["info"])
    differences += name_differences(data.info, known, NAMES | _GEOMETRY)
    if differences:
        raise DataError(
            f"the data is not that of this run: {'; '.join(differences)}. Put it back as it was, or start a new run"
        )
    if data.train.contents is None or recorded["train"]["files"] is None:
        return []
    repaired = set(changed_files(recorded["train"]["files"], data.train.contents))
    return [name for name, files in repairable.items() if repaired & set(files)]


def _differences(before: Mapping[str, Any], now: ScanResult, may_differ: Collection[str]) -> list[str]:
    names, others = list(now.samples.names), []
    if before["names"] != names:
        reasons = now.manifest["left_out"]
        removed = [f"{n} ({reasons[n][1]})" if n in reasons else n for n in sorted(set(before["names"]) - set(names))]
        others = listed("lacks", removed) + listed("has besides", sorted(set(names) - set(before["names"])))
        others = others or ["lists its images in another order"]
    elif changed := _changed("checksums", names, before, now):
        others = listed("has changed", changed)
    elif changed := _changed("proposals", names, before, now):
        others = listed("has other proposals for", changed)
    files = before["files"]
    if (files is None) != (now.contents is None):
        others.append("is read by another kind of reader")
    if files is None or now.contents is None:
        return others
    changed = changed_files(files, now.contents)
    listing = [f"{path} ({what})" for path, what in changed.items() if path not in may_differ]
    return listed("has changed", listing) + (others or other_files(files, now.contents))


def _changed(sums: str, names: Sequence[str], before: Mapping[str, Any], now: ScanResult) -> list[str]:
    """The samples whose sums differ: `checksums` of those of no files, or `proposals`; a set may have none."""
    return [n for n, a, b in zip(names, before.get(sums, []), now.manifest.get(sums, []), strict=False) if a != b]


def _files_of(result: ScanResult, names: Collection[str]) -> dict[str, list[str]]:
    if result.contents is None:
        return {}
    return {n: result.contents.of_sample(i) for i, n in enumerate(result.samples.names) if n in names}
