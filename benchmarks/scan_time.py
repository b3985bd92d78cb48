"""How long the scan of a set takes, and how much memory: held and streamed, for the first and for the second time.

Another checkout, such as that of an earlier commit, is measured beside this one. Every scan is a process of its own,
the first with an empty folder of caches. Processor time stands beside wall time, which other work stretches.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.record import RESULTS, ROOT, Row, write_result

CLASSES = 10
_SCAN = """
import json, resource, sys, time
from pathlib import Path
from unpool.data.readers.folder import Folder
from unpool.data import store
root, memory, verify, cache = Path(sys.argv[1]), sys.argv[2] == "held", sys.argv[3], Path(sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started, used = time.perf_counter(), time.process_time()
reader = Folder(root, "train", val_share=0.01)
if hasattr(store, "Binding"):
    from unpool.data.content_cache import ContentCache
    with ContentCache(cache) as known:
        result = store.scan(reader, memory=memory, binding=store.Binding(verify, known))
else:
    result = store.scan(reader, memory=memory)
taken, used = time.perf_counter() - started, time.process_time() - used
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"time_s": taken, "processor_s": used, "memory_mib": peak - before, "images": len(result.samples)}))
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
    """Processor time of a run of nine small steps, nearly all of which is its start and the import of torch."""
    run = Path(tempfile.mkdtemp(dir=folder)) / "run"
    settings = [f"data.root={root}", "train.epochs=1", "train.batch=32", "data.size=[32,32]", "data.workers=0"]
    settings += ["train.precision=float32", "train.memory_format=contiguous", "train.warmup_epochs=0"]
    command = [sys.executable, "-m", "unpool", "train", "folder_resnet18", "--run", str(run), *settings]
    environment = os.environ | {"PYTHONPATH": str(code / "src"), "XDG_CACHE_HOME": str(folder / "cache")}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the run ended with {done.returncode}:\n{done.stderr[-2000:]}")
    shutil.rmtree(run.parent)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of classes; made where it is missing")
    parser.add_argument("--count", type=int, default=50_000, help="pictures to make (default %(default)s)")
    parser.add_argument("--before", type=Path, required=True, help="checkout of the code to compare with")
    parser.add_argument("--starts", type=int, default=5, help="runs started on 300 pictures, of each code")
    parser.add_argument("--json", type=Path, default=RESULTS / "scan_time.json")
    arguments = parser.parse_args()
    began = time.perf_counter()
    root = arguments.root if arguments.root.is_dir() else make(arguments.root, arguments.count)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        rows = [starts(arguments.starts, before=arguments.before, folder=Path(folder))]
        rows += scans(root, before=arguments.before, folder=Path(folder))
    command = "python -m benchmarks.scan_time --root FOLDER --before CHECKOUT"
    write_result(arguments.json, rows, command=command, seed=0, wall_s=time.perf_counter() - began)


def scans(root: Path, *, before: Path, folder: Path) -> list[Row]:
    """One row a kind of set: first and second scan of this code, the code before as reference."""
    rows = []
    for kind in ("held", "streamed", "streamed headers"):
        now = [scan_once(root, code=ROOT, kind=kind, cache=folder / kind) for _ in range(2)]
        then = [scan_once(root, code=before, kind=kind, cache=folder / kind)]
        print(kind, now, "before", then, flush=True)
        what = f"scan of {now[0]['images']:,.0f} pictures, {kind}, first and second time: wall (processor) time, memory"
        figure, reference = ("; ".join(map(_shown, figures)) for figures in (now, then))
        rows.append(Row(what=what, figure=figure, reference=f"before: {reference}"))
    return rows


def starts(count: int, *, before: Path, folder: Path) -> Row:
    """The start of a run on 300 pictures, this code and the one before in turns."""
    root = make(folder / "300", 300)
    taken: dict[Path, list[float]] = {ROOT: [], before: []}
    for number in range(count + 1):
        for code, times in taken.items():
            time_s = start_once(root, code=code, folder=folder)
            print("start", code.name, time_s, flush=True)
            if number:  # the first one times the network for the cache
                times.append(time_s)
    now, then = (statistics.median(times) for times in taken.values())
    what = f"a run of one short epoch on 300 pictures, processor time, median of {count}"
    return Row(what=what, figure=f"{now:.2f} s", reference=f"before: {then:.2f} s ({now / then - 1:+.1%})")


def _shown(figures: Mapping[str, float]) -> str:
    return f"{figures['time_s']:.1f} s ({figures['processor_s']:.1f} s), {figures['memory_mib']:.0f} MiB"


if __name__ == "__main__":
    main()
