"""Times a few steps of each full-size CamVid recipe and says what a whole training would cost on this machine."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import unpool
from benchmarks.ours import Clock, Enough
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.cli.environment import prepare_torch

RECIPES = ("frrn", "deeplabv3", "pspnet", "fpn", "unet", "segnet")


def row_of(recipe: str, root: Path, *, steps: int) -> Row:
    """Seconds a step, and the hours of all steps; evaluation is not counted."""
    clock = Clock(steps)
    with tempfile.TemporaryDirectory(prefix="unpool-full-") as folder, suppress(Enough):
        unpool.train(recipe, {"data.root": str(root)}, callbacks=[clock], run=Path(folder) / "run")
    settings = unpool.load_recipe(recipe).train
    if clock.job is None:
        raise RuntimeError(f"{recipe} ended before {steps} steps; give fewer")
    step_s, count = median(clock.times_s()), settings.epochs * clock.job.loader.steps_per_epoch
    clock.job.loader.close()
    figure = f"{count:,} steps of {settings.batch} images x {step_s:.2f} s = {count * step_s / 3600:.0f} h"
    print(f"{recipe}: {figure}", flush=True)
    return Row(what=recipe, figure=figure, reference=clock.job.precision)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.full_size", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "camvid", help="folder of CamVid"
    )
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each recipe")
    options = parser.parse_args(arguments)
    prepare_torch()
    started = time.monotonic()
    rows = [row_of(f"camvid_{name}_full", options.data, steps=options.steps) for name in RECIPES]
    wall_s = time.monotonic() - started
    write_result(RESULTS / "full_size.json", rows, command="python -m benchmarks.full_size", seed=0, wall_s=wall_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
