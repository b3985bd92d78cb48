"""Describes this machine and the versions of the packages, for the record of a run."""

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from unpool.launched import environment

try:
    import resource
except ImportError:  # Windows
    resource = None

SHOWN_FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512f", "avx2", "bf16")  # the last is arm64's name
SHOWN_PACKAGES = ("unpool", "torch", "torchvision", "numpy", "pillow", "safetensors")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
STATM = Path("/proc/self/statm")
UNKNOWN_FREE = 16_000_000_000  # bytes that are taken to be free where the system does not say


def processor() -> str:
    """Returns the model name of the processor, or its architecture where the system has no name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def flags() -> tuple[str, ...]:
    """Returns the instruction sets of SHOWN_FLAGS that the processor has; empty where the system does not list them."""
    known = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return tuple(flag for flag in SHOWN_FLAGS if flag in known)


def cache_folder(name: str) -> Path | None:
    """Returns the folder called `name` among those that the user's caches of Unpool lie in; None without a home."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "")
    try:
        base = base if base.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "unpool" / name if base.is_absolute() else None


def hardware() -> dict[str, Any]:
    """Returns processor, its flags, cores, threads in use, GPUs and system, as plain JSON."""
    return {
        "processor": processor(),
        "flags": list(flags()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages of SHOWN_PACKAGES, by name."""
    installed = {name: number for name in SHOWN_PACKAGES if (number := _installed(name)) is not None}
    return {"python": platform.python_version(), **installed}


@cache  # looked up in folders of packages, and wanted with each save
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def is_busy() -> bool:
    """Whether more than twice as many threads want to run as there are processors, so that times mean little."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def free_bytes() -> int:
    """Returns how many bytes this process can allocate without swapping, by machine, control group and `ulimit -v`.

    Of several processes of one run each gets its share.
    """
    limits = [UNKNOWN_FREE]
    if MEMINFO.is_file():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
        limits = [int(lines["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in lines else limits
    limit, used = _number(_text(CGROUP / "memory.max")), _number(_text(CGROUP / "memory.current"))
    if limit is not None and used is not None:
        limits.append(limit - used + _reclaimable_bytes())
    if resource is not None and STATM.is_file():
        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            limits.append(address_space - int(STATM.read_text().split()[0]) * resource.getpagesize())
    return max(min(limits), 0) // environment().local_world_size


def _reclaimable_bytes() -> int:
    """What the control group counts as used and gives up when memory is asked for: files that were read once."""
    lines = dict(line.split(" ", 1) for line in _text(CGROUP / "memory.stat").splitlines() if " " in line)
    return _number(lines.get("inactive_file", "")) or 0


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _cpuinfo(key: str) -> str:
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
