"""The state of a run on disk: saved whole or not at all, verified when read.

`folder/step-00000123/` holds `state.safetensors`, `state.json` and `manifest.json` with the sha256 of both. It is
written under a temporary name in `folder`, every file synced, then renamed, then `folder` synced, so that a crash at
any moment leaves the older ones and at most one unfinished folder.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from unpool.errors import ModelFileError, require_files
from unpool.manifest import check_format
from unpool.training.files import TEMPORARY, not_saved, serialize, sync_folder, temporary_beside, write_synced

FORMAT = 1
KEEP = 2
TENSORS, META, MANIFEST = "state.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d{8,})(?:-(\d+))?")
_log = logging.getLogger(__name__)


def save(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
    """Saves one state, keeps the newest two, and returns the folder of the new one.

    Args:
        folder: made where missing.
        tensors: on any device, in any layout; they may share memory.
        meta: JSON values; its "step" names the folder.

    Raises:
        EnvironmentFault: the disk is full or refuses; older states are intact.
    """
    files = {TENSORS: serialize(tensors), META: json.dumps(dict(meta), sort_keys=True).encode()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[MANIFEST] = json.dumps({"format": FORMAT, "sha256": sums}, sort_keys=True).encode()
    target = _free_name(folder, int(meta["step"]))
    temporary = temporary_beside(target)
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            write_synced(temporary / name, data)
        sync_folder(temporary)
        temporary.rename(target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise not_saved(target, error, size=sum(map(len, files.values()))) from error
    for old in [state for state in states(folder) if state != target][KEEP - 1 :]:
        _remove(old)
    return target


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state that verifies, or None where none was ever finished. Changes nothing on disk.

    Raises:
        ModelFileError: there are states, and every one is damaged.
    """
    reasons = []
    for state in states(folder):
        try:
            return _read(state)
        except ModelFileError as error:
            _log.warning("%s; falling back to the state before it", error)
            reasons.append(str(error))
    if reasons:
        raise ModelFileError("no saved state can be used: " + "; ".join(reasons))
    return None


def states(folder: Path) -> list[Path]:
    """Finished states, the newest first."""
    if not folder.is_dir():
        return []
    named = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    finished = [(match, path) for match, path in named if (path / MANIFEST).is_file()]
    return [path for _, path in sorted(finished, key=lambda pair: _order(pair[0]), reverse=True)]


def keep_newest(folder: Path) -> None:
    """Removes every state but the newest, which a finished run goes on from; none where that one does not verify."""
    newest, *older = states(folder) or [folder]
    try:
        if older:
            _read(newest)
    except ModelFileError as error:
        _log.warning("%s; the states before it are kept", error)
        return
    for state in older:
        _remove(state)


def remove_unfinished(folder: Path) -> None:
    """Removes what a crash left half-written; nobody else may be writing to `folder`."""
    if not folder.is_dir():
        return
    finished = set(states(folder))
    for path in list(folder.iterdir()):
        if path.name.startswith(TEMPORARY) or (_NAME.fullmatch(path.name) and path not in finished):
            _remove(path)


def remove_later(folder: Path, step: int) -> None:
    """Removes states from after `step`: damaged ones, or of a future that is about to be trained again."""
    for path in states(folder):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) > step:
            _remove(path)


def _read(state: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Each file is read once: what is verified is what is parsed."""
    try:
        manifest = json.loads((state / MANIFEST).read_bytes())
        sums = {name: manifest["sha256"][name] for name in (TENSORS, META)}
        files = {name: (state / name).read_bytes() for name in sums}
    except (OSError, ValueError, KeyError, TypeError) as error:
        require_files(error)
        raise ModelFileError(f"{state} is incomplete ({error!r})") from error
    check_format(manifest.get("format"), FORMAT, source=state)
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != sums[name]:
            raise ModelFileError(f"{state / name} is damaged: its sha256 differs from {MANIFEST}")
    try:
        return safetensors.torch.load(files[TENSORS]), json.loads(files[META])
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{state} cannot be read: {error}") from error


def _free_name(folder: Path, step: int) -> Path:
    """Two states of one step (before and after its evaluation) differ by a counter that only rises."""
    matches = [_NAME.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    ties = [_order(match)[1] for match in matches if match and int(match[1]) == step]
    return folder / (f"step-{step:08d}-{max(ties) + 1}" if ties else f"step-{step:08d}")


def _order(match: re.Match[str]) -> tuple[int, int]:
    return int(match[1]), int(match[2] or 0)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        (path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
