"""Files that are there whole or not at all: written under a temporary name beside the target, synced, renamed."""

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from unpool.errors import EnvironmentFault

TEMPORARY = ".writing-"
_serial = itertools.count()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Replaces `path` by a safetensors file of these tensors.

    Raises:
        EnvironmentFault: the disk is full or refuses; the file that was there is intact.
    """
    replace_file(path, serialize(tensors))


def serialize(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file; tensors may share memory, lie on any device, in any layout."""
    return safetensors.torch.save(host_copy(tensors))


def host_copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values on the host, each contiguous and with memory of its own."""
    copies: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        copy = tensor.detach().to("cpu").contiguous()
        memory = copy.untyped_storage().data_ptr()
        copies[name] = copy.clone() if memory in seen else copy
        seen.add(memory)
    return copies


def replace_file(path: Path, data: bytes) -> None:
    """Replaces `path` by `data`, whole or not at all.

    Raises:
        EnvironmentFault: the disk is full or refuses; the file that was there is intact.
    """
    temporary = temporary_beside(path)
    try:
        write_synced(temporary, data)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_saved(path, error, size=len(data)) from error


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no other writer uses."""
    return path.parent / f"{TEMPORARY}{os.getpid()}-{next(_serial)}-{path.name}"


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and waits until it lies on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until renames in `folder` lie on the disk; Windows cannot and need not."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_saved(path: Path, error: OSError, *, size: int) -> EnvironmentFault:
    """The fault that a failed write is reported as."""
    return EnvironmentFault(
        f"cannot save {path} ({size / 2**20:.1f} MiB): {error.strerror or error}; what was saved before is intact: "
        "free some space or make the folder writable, then resume"
    )
