"""Trains the same networks on the same pictures with Unpool and as a user does today, in turns, and compares images/s.

Each run is a process of its own. In the first round every number of the peer's workers is tried; the later rounds,
A B A B, are against the fastest of them.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import pictures
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.cli.environment import SETTINGS

SEED = 0
PARTS = {"images_per_s": "whole step", "data_only": "data alone", "step_only": "network alone"}


@dataclass(frozen=True)
class Contest:
    """One network: its title, the set it trains on with the maker of a stand-in, and how many steps are timed."""

    title: str
    folder: str
    write: Callable[[Path], Path]
    steps: int


CONTESTS = {
    "resnet50": Contest(
        "ResNet-50, 224x224", "hymenoptera", lambda p: pictures.write_photos(p, count=245, seed=SEED), 6
    ),
    "cifar_resnet20": Contest("ResNet-20, 32x32", "", lambda p: pictures.write_cifar(p, count=50_000, seed=SEED), 60),
    "unet": Contest("U-Net 31 M, 256x256", "camvid", lambda p: pictures.write_camvid(p, count=367, seed=SEED), 6),
    "segnet": Contest("SegNet, 352x480", "camvid", lambda p: pictures.write_camvid(p, count=367, seed=SEED), 5),
}


class Runner:
    """Starts the timed processes; what they decide for this machine is kept in `work` from one to the next."""

    def __init__(self, work: Path, *, steps: int | None, batch: int | None) -> None:
        self.work, self.steps, self.batch = work, steps, batch

    def ours(self, network: str, root: Path) -> dict[str, Any]:
        # what the command line sets before it starts itself anew, and a cache of its own
        environment = {**SETTINGS, **os.environ, "XDG_CACHE_HOME": str(self.work / "cache")}
        return self._run(["benchmarks.ours", network, *self._common(network, root)], environment)

    def peer(self, network: str, root: Path, workers: int) -> dict[str, Any]:
        command = [f"benchmarks.peers.{network}", *self._common(network, root), "--workers", str(workers)]
        return self._run(command, dict(os.environ))

    def _common(self, network: str, root: Path) -> list[str]:
        common = ["--root", str(root), "--steps", str(self.steps or CONTESTS[network].steps)]
        return common if self.batch is None else [*common, "--batch", str(self.batch)]

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} exited with {done.returncode}:\n{done.stderr[-2000:]}")
        return json.loads(done.stdout.splitlines()[-1])


def pictures_of(network: str, data: Path | None, work: Path) -> Path:
    """The real set below `data` where it is there, else a stand-in, written once."""
    contest = CONTESTS[network]
    if data is not None and contest.folder and (data / contest.folder).is_dir():
        return data / contest.folder
    root = work / (contest.folder or network)
    return root if root.is_dir() else contest.write(root)


def hold(runner: Runner, network: str, root: Path, *, workers: Sequence[int], rounds: int) -> dict[str, Any]:
    """Ours and the peer in turns; `peer` of the result is the peer with its fastest number of workers."""
    pairs: dict[int, list[tuple[dict[str, Any], dict[str, Any]]]] = {number: [] for number in workers}
    tried = list(workers)
    for round_number in range(rounds):
        for number in tried:
            pairs[number].append((runner.ours(network, root), runner.peer(network, root, number)))
            own, other = (run["images_per_s"] for run in pairs[number][-1])
            print(f"{network}: {own:.2f} against {other:.2f} images/s with {number} workers", flush=True)
        if round_number == 0:
            tried = [max(workers, key=lambda number: pairs[number][0][1]["images_per_s"])]
    kept = pairs[tried[0]]
    medians = {
        side: {part: statistics.median(pair[place][part] for pair in kept) for part in PARTS}
        for place, side in enumerate(("ours", "peer"))
    }
    ratios = [own["images_per_s"] / other["images_per_s"] for own, other in kept]
    return {
        **medians,
        "workers": tried[0],
        "ratios": ratios,
        "batch": kept[0][0]["batch"],
        "pairs": pairs,
        "root": root.name,
    }


def rows_of(network: str, found: Mapping[str, Any]) -> list[Row]:
    """A row of RESULTS.md for the whole step and for each half of it."""
    rows = []
    title = f"{CONTESTS[network].title}, batch {found['batch']}"
    for part, name in PARTS.items():
        own, other = found["ours"][part], found["peer"][part]
        reference = f"{_number(other)} (peer, {found['workers']} workers): {own / other:.2f} times"
        if part == "images_per_s":
            reference += f" ({min(found['ratios']):.2f} to {max(found['ratios']):.2f})"
        rows.append(Row(what=f"{title}, {name}, images/s", figure=_number(own), reference=reference))
    return rows


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="unpool-speed-") as folder:
        work = Path(folder)
        runner = Runner(work, steps=options.steps, batch=options.batch)
        for network in options.networks:
            root = pictures_of(network, options.data, work)
            try:
                found[network] = hold(runner, network, root, workers=options.workers, rounds=options.rounds)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                return 1
    rows = [row for network in found for row in rows_of(network, found[network])]
    command = shlex.join(["python", "-m", "benchmarks.speed", *(sys.argv[1:] if arguments is None else arguments)])
    write_result(
        options.json, rows, command=command, seed=SEED, wall_s=time.monotonic() - started, details={"contests": found}
    )
    print("\n".join(f"{row.what}: {row.figure}, {row.reference}" for row in rows))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.speed", description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(CONTESTS), choices=CONTESTS, metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (default 3)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="of the peer's DataLoader")
    parser.add_argument("--steps", type=int, help="timed steps a run")
    parser.add_argument("--batch", type=int, help="instead of each network's own")
    parser.add_argument("--data", type=Path, help="folder with hymenoptera/ and camvid/; without it, noise is drawn")
    parser.add_argument("--json", type=Path, default=RESULTS / "speed.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
