"""U-Net on the slices of electron microscopy of ISBI 2012, with and without elastic deformation.

Trained on slices 0 to 19 and measured on 20 to 23. The pixel error is the share of wrong pixels. The Rand score is the
challenge's (Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms for
connectomics", section 2.3): the F-score of pairs of pixels in one cell, over pixels that are in a cell in truth. Cells
are the connected parts of what the network calls cell, by the sides of pixels; its membranes go to the nearest cell.
The published figures are of the best threshold and the hidden slices; here the threshold is a half. A call goes on
where the one before was stopped.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import unpool
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import Ended, trained
from unpool.data.readers.folder_masks import FolderMasks
from unpool.types import Decoding

RECIPE, VAL_SHARE = "isbi_unet", 0.1667
REST = "{turn: {}}, {flip: {}}, {crop: {}}, {color_jitter: {brightness: 0.1, contrast: 0.1}}"
RUNS = {"elastic deformation": (), "without it": (f"data.augment=[{REST}]",)}
REFERENCE = "pixel error at most 0.10; U-Net on the hidden slices 0.0611, Rand error 0.0382"


def folder_of(data: Path, folder: Path) -> Path:
    """The two stacks as images and masks, with the names of the classes."""
    for part, name in (("images", "train-volume.tif"), ("masks", "train-labels.tif")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if not (folder / part / "em.tif").is_file():
            shutil.copyfile(data / name, folder / part / "em.part")
            (folder / part / "em.part").replace(folder / part / "em.tif")
    (folder / "classes.txt").write_text("membrane\ncell\n", encoding="utf-8")
    return folder


def cells_of(is_cell: NDArray[Any]) -> NDArray[np.int64]:
    """(H, W) numbers of the connected parts, from 1; others have that of the nearest, or 1 where there is none."""
    parts = _parts(is_cell)
    if not parts.any():
        return np.ones(is_cell.shape, np.int64)
    nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    return parts[rows, columns]


def _parts(is_cell: NDArray[Any]) -> NDArray[np.int64]:
    parts, _ = cast("tuple[NDArray[Any], int]", ndimage.label(is_cell))
    return parts.astype(np.int64)


def rand_score(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """F-score of pairs of pixels in one cell, 1 where the cells are the same.

    Args:
        answer: (H, W) whether a pixel is in a cell.
        truth: the same, and only pixels in a cell of it count.

    Example:
        >>> two = np.ones((4, 9), bool)
        >>> two[:, 4] = False
        >>> rand_score(two, two), round(rand_score(np.ones((4, 9), bool), two), 3)
        (1.0, 0.667)
    """
    inside = truth.astype(bool)
    ours, theirs = cells_of(answer)[inside], _parts(truth)[inside]
    pairs = np.unique(np.stack([ours, theirs]), axis=1, return_counts=True)[1].astype(np.float64)
    squares = [float(np.square(np.bincount(one).astype(np.float64)).sum()) for one in (ours, theirs)]
    return float(np.square(pairs).sum()) / fmean(squares)


def rand_of(run: Path, folder: Path) -> float:
    """Mean over the validation slices of a run."""
    predictor = unpool.load(run)
    slices = FolderMasks(folder, "val", decoding=Decoding(channels=1), mask_values={0: 0, 255: 1}, val_share=VAL_SHARE)
    samples = [slices[i] for i in range(len(slices))]
    return fmean(
        rand_score(predictor.predict(one["image"])["mask"].numpy() == 1, one["mask"].numpy() == 1) for one in samples
    )


def row(what: str, ended: Ended, rand: float) -> Row:
    metrics = ended.metrics or {}
    run = metrics["training"]
    seen = f"{run['images_seen']:,} crops in {run['time_s'] / 60:.1f} min, {run['precision']}"
    figure = f"pixel error {1 - metrics['pixel_accuracy']:.4f}, Rand score {rand:.4f} ({seen})"
    return Row(what=f"slices 20 to 23, {what}", figure=figure, reference=REFERENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.isbi", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "isbi", help="where the runs are kept")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every run")
    options = parser.parse_args(arguments)
    runs = options.runs.absolute()
    folder = folder_of(options.data.absolute() / "isbi2012_em", runs / "em")
    rows, spent_s = [], 0.0
    for what, overrides in RUNS.items():
        ended = trained(RECIPE, [*overrides, *options.set], root=folder, runs=runs)
        if ended.metrics is None:
            raise RuntimeError(f"{ended.run} diverged")
        rows.append(row(what, ended, rand_of(ended.run, folder)))
        spent_s += ended.metrics["training"]["time_s"]
        print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
    result = (runs if options.set else RESULTS) / "isbi.json"
    write_result(result, rows, command="python -m benchmarks.isbi --data DATA", seed=0, wall_s=spent_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
