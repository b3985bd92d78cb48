"""Proposals of a whole set: from the user's cache where they are known, and how many of the true boxes they reach."""

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from unpool.data.in_order import called_in_order
from unpool.data.plain import is_iterated, is_random
from unpool.data.proposals import make_proposer
from unpool.data.proposals.grid import PLANNED
from unpool.data.proposals.proposed import Proposed
from unpool.data.proposals.proposer import Proposer
from unpool.data.range_of_set import DecodingReader
from unpool.data.store import ScanResult
from unpool.errors import DataError, RecipeError
from unpool.machine import cache_folder
from unpool.models.weights import save_weights
from unpool.ops.anchors import REACHED, plan
from unpool.ops.box_sides import boxes_of
from unpool.ops.boxes import iou
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Reader, Samples

Settings = Mapping[str, Mapping[str, Any]]
SHAPES = 8  # of a planned grid
_LISTED = 5  # faults in a message
_FEW = 0.8  # share of the boxes that are reached, below which a log line is a warning
_log = logging.getLogger(__name__)


def with_planned_sides(settings: Settings | None, train: Samples) -> Settings | None:
    """What `data.proposals` says, with numbers in place of planned shapes, by the boxes of the training set.

    Raises:
        DataError: there are no boxes to plan from.
    """
    if settings is None or settings.get("grid", {}).get("sides") != PLANNED:
        return settings
    sides = boxes_of(train, Preprocessing()).sides_wh
    if not (sides.prod(1) > 0).any():
        raise DataError(
            "data.proposals has a planned grid, and the training set has no boxes: set its sides to numbers"
        )
    shapes = plan(sides, SHAPES).sides_wh.round().clamp(min=1).int().flatten().tolist()
    _log.info("planned from the boxes of the training set: data.proposals.grid.sides is %s", shapes)
    return {"grid": {**settings["grid"], "sides": shapes}}


def with_proposals(
    scanned: ScanResult,
    settings: Settings | None,
    reader: Reader,
    *,
    root: str | None,
    progress: Callable[[int, int], None] | None = None,
) -> ScanResult:
    """The scanned set, each sample with `proposals`, whose sums stand in the manifest.

    The log says which share of the true boxes they reach: no detector of given proposals finds the others.

    Args:
        scanned: a set.
        settings: of `data.proposals`, without planned shapes; None leaves the set as it is.
        reader: that the set was scanned from.
        root: folder of the data set.
        progress: called with (images done, images in all).

    Raises:
        RecipeError: the set draws its images anew each time.
        DataError: the file of an image is missing or cannot be used.
        EnvironmentFault: a package is missing.
    """
    if settings is None:
        return scanned
    if is_random(reader):
        raise RecipeError(
            "data.proposals are computed once for each image, and this set draws its images anew each time, so that "
            "they would not fit: give a set that does not, and say what it drew in data.augment"
        )
    proposer = make_proposer(settings, None if root is None else Path(root))
    path = _cache_file(proposer, settings, scanned, reader)
    proposals = None if path is None else _read(path, len(scanned.samples))
    if proposals is None:
        threads = 1 if is_iterated(reader) else min(8, os.cpu_count() or 1)
        proposals = _proposed(proposer, scanned.samples, threads, progress)
        if path is not None:
            counts = torch.tensor([len(one) for one in proposals])
            save_weights(path, {"boxes": torch.cat(proposals), "counts": counts})
            _log.info("proposals for %d images are kept in %s", len(proposals), path)
    _report(scanned.samples, proposals, *settings)
    sums = [f"{zlib.crc32(boxes.contiguous().numpy().tobytes()):08x}" for boxes in proposals]
    return scanned._replace(
        samples=Proposed(scanned.samples, proposals), manifest={**scanned.manifest, "proposals": sums}
    )


def _proposed(
    proposer: Proposer, samples: Samples, threads: int, progress: Callable[[int, int], None] | None
) -> list[Tensor]:
    """The proposals of each image; raises one DataError for all images that have none to be used."""

    def propose(index: int) -> Tensor | DataError:
        try:
            return proposer.propose(samples[index]["image"], samples.names[index])
        except DataError as fault:
            return fault

    proposals: list[Tensor] = []
    faults: list[str] = []
    for done, result in enumerate(called_in_order(propose, range(len(samples)), threads=threads), start=1):
        if isinstance(result, DataError):
            faults.append(str(result))
        else:
            proposals.append(result)
        if progress is not None:
            progress(done, len(samples))
    if faults:
        more = f"; and {len(faults) - _LISTED} more images" if len(faults) > _LISTED else ""
        raise DataError("; ".join(faults[:_LISTED]) + more)
    return proposals


def _cache_file(proposer: Proposer, settings: Settings, scanned: ScanResult, reader: Reader) -> Path | None:
    """The file of a set's proposals, by images, how they are decoded, source and options; None if nothing is kept."""
    folder, contents = cache_folder("proposals"), scanned.identity()
    if not proposer.is_kept or folder is None or contents is None:
        return None
    decoding = asdict(reader.decoding) if isinstance(reader, DecodingReader) else None
    key = json.dumps([settings, proposer.version(), contents, decoding], sort_keys=True)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def _read(path: Path, count: int) -> list[Tensor] | None:
    """Kept proposals of each image; None where there are none, or the file is damaged."""
    try:
        kept = load_file(path)
        counts = kept["counts"].tolist()
        is_whole = len(counts) == count and sum(counts) == len(kept["boxes"])
        return list(kept["boxes"].split(counts)) if is_whole else None
    except (OSError, KeyError, safetensors.SafetensorError):
        return None


def _report(samples: Samples, proposals: Sequence[Tensor], name: str) -> None:
    """Logs how many of the boxes some proposal reaches."""
    known = boxes_of(samples, Preprocessing())
    of_images = known.boxes.split(known.samples.bincount(minlength=len(samples)).tolist())
    reached = sum(
        int((iou(boxes, some).amax(1) >= REACHED).sum())
        for boxes, some in zip(of_images, proposals, strict=True)
        if len(some)
    )
    share = reached / len(known.boxes) if len(known.boxes) else 1.0
    count = sum(map(len, proposals)) / max(1, len(proposals))
    text = "%s proposes %.0f regions an image, which reach %.1f %% of %d boxes at IoU %.1f"
    level = logging.INFO if share >= _FEW else logging.WARNING
    more = "" if share >= _FEW else ": no detector of given regions finds the others"
    _log.log(level, text + more, name, count, 100 * share, len(known.boxes), REACHED)
