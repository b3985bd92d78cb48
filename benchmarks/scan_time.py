"""How long the scan of a set takes, and how much memory: held and streamed, for the first and for the second time.

`--code` names another checkout to measure instead of this one, such as that of an earlier commit. Every scan is a
process of its own, with a folder of caches that is new for the first one.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.record import write_record

CLASSES = 10
_SCAN = """
import json, resource, sys, time
from pathlib import Path
from unpool.data.readers.folder import Folder
from unpool.data import store
root, memory, verify, cache = Path(sys.argv[1]), sys.argv[2] == "held", sys.argv[3], Path(sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started = time.perf_counter()
reader = Folder(root, "train", val_share=0.01)
if hasattr(store, "Binding"):
    from unpool.data.content_cache import ContentCache
    with ContentCache(cache) as known:
        result = store.scan(reader, memory=memory, binding=store.Binding(verify, known))
else:
    result = store.scan(reader, memory=memory)
taken = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"time_s": taken, "memory_mib": peak - before, "images": len(result.samples)}))
"""


def make(root: Path, count: int, *, size: tuple[int, int] = (120, 160)) -> Path:
    """`count` different JPEG files of smooth noise, in ten classes."""

    def write(number: int) -> None:
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        picture.save(root / f"class{number % CLASSES}" / f"{number:06d}.jpg", quality=85)

    for i in range(CLASSES):
        (root / f"class{i}").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(count)))
    return root


def scan_once(root: Path, *, code: Path, kind: str, cache: Path) -> dict[str, float]:
    """Time, peak of memory beyond that of the imports, and number of images of one scan in a new process."""
    memory, _, verify = kind.partition(" ")
    environment = os.environ | {"PYTHONPATH": str(code / "src"), "XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-c", _SCAN, str(root), memory, verify or "decode", str(cache)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the scan of {kind} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def start_once(root: Path, *, code: Path, folder: Path) -> float:
    """Seconds from the command to the first step of a run, which is its only one; import of torch included."""
    run = Path(tempfile.mkdtemp(dir=folder)) / "run"
    settings = [f"data.root={root}", "train.epochs=1", "train.batch=32", "data.size=[32,32]", "data.workers=0"]
    settings += ["train.precision=float32", "train.memory_format=contiguous", "train.time_limit_s=0.001"]
    command = [sys.executable, "-m", "unpool", "train", "folder_resnet18", "--run", str(run), *settings]
    environment = os.environ | {"PYTHONPATH": str(code / "src"), "XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - started
    shutil.rmtree(run.parent)
    return taken


def main() -> None:
    """Measures and writes benchmarks/results/scan_time.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of classes; made where it is missing")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--before", type=Path, required=True, help="checkout of the code to compare with")
    parser.add_argument("--out", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    if not arguments.root.is_dir():
        make(arguments.root, arguments.count)
    here = Path(__file__).parents[1]
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.root.parent) as folder:
        for kind in ("held", "streamed", "streamed headers"):
            cache = Path(folder) / kind.replace(" ", "-")
            for turn in ("first", "second"):
                for name, code in (("before", arguments.before), ("now", here)):
                    if name == "now" or kind != "streamed headers":
                        figures = scan_once(arguments.root, code=code, kind=kind, cache=cache)
                        rows.append({"what": kind, "turn": turn, "code": name, **figures})
                        print(json.dumps(rows[-1]), flush=True)
    write_record(rows, arguments)


if __name__ == "__main__":
    main()
