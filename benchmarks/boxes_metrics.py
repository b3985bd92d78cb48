"""Scores of generated detections: COCO's of boxes, masks and poses beside pycocotools, VOC's beside its rule.

Each set has images and classes with nothing in them, crowds or difficult things, boxes of equal scores and boxes whose
IoU is just at a threshold. The figure is the largest difference of any score in any set.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.record import RESULTS, Row, write_result
from tests.metrics import test_oks as poses
from tests.metrics.detection_sets import by_devkit, by_pycocotools, drawn_set, ours, worst

LIMIT = 1e-6


def boxes(seed: int) -> float:
    data = drawn_set(seed)
    return worst(ours(data).compute(), by_pycocotools(data))


def masks(seed: int) -> float:
    data = drawn_set(seed)
    expected = by_pycocotools(data) | by_pycocotools(data, "segm")
    return worst(ours(data, masks=True, parts=3).compute(), expected)


def people(seed: int) -> float:
    people, found = poses.generated(seed, shift=(0.03, 0.08, 0.2)[seed % 3], ties=seed % 2 == 1)
    images = [{"id": number} for number in range(1, len(people) + 1)]
    expected = poses.reference(poses.flat(people), poses.flat(found), images=images)
    return worst(poses.score_of(people, found, parts=3), expected)


def voc(seed: int) -> float:
    data = drawn_set(seed, masks=False, flag="difficult")
    return worst(ours(data, protocol="voc").compute(), by_devkit(data))


KINDS: dict[str, Callable[[int], float]] = {"boxes": boxes, "masks": masks, "poses": people, "VOC's boxes": voc}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.boxes_metrics", description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="generated sets of each kind")
    parser.add_argument("--json", type=Path, default=RESULTS / "boxes_metrics.json")
    options = parser.parse_args(arguments)
    started, largest = time.monotonic(), {}
    for name, difference in KINDS.items():
        largest[name] = max(difference(seed) for seed in range(options.sets))
        print(f"{name}: {largest[name]:.1e}", flush=True)
    row = Row(
        what=f"largest difference of any score in {options.sets} sets of each kind",
        figure=", ".join(f"{name} {value:.1e}" for name, value in largest.items()),
        reference=f"pycocotools, and the rule of VOC's development kit written out, within {LIMIT:g}",
    )
    command = shlex.join(
        ["python", "-m", "benchmarks.boxes_metrics", *(sys.argv[1:] if arguments is None else arguments)]
    )
    write_result(options.json, [row], command=command, seed=0, wall_s=time.monotonic() - started)
    return int(max(largest.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
