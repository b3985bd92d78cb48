"""What a misread mask costs: a small U-Net trained on discs whose masks are palette images, each with its own palette.

Run on two versions of the source, it prints the mean IoU on the masks as that version reads them, and on the true ones:

    python -m benchmarks.misread_masks FOLDER
    PYTHONPATH=/path/to/other/src python benchmarks/misread_masks.py FOLDER
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import unpool

CLASSES = "background 0 0 0\ncat 128 0 0\ndog 0 128 0\n"
COLOURS = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
LOOKS = np.array([(90, 90, 90), (220, 40, 40), (40, 200, 40)], np.uint8)
SIDE, COUNT = 64, 48
SETTINGS = {"data.train_size": [SIDE, SIDE], "train.batch": 6, "train.epochs": 20, "train.seed": 0, "data.workers": 0}
SETTINGS |= {"train.precision": "float32", "train.memory_format": "contiguous"}


def write_discs(root: Path, *, has_palettes: bool) -> Path:
    """Discs that cover little or most of a picture, so that adaptive palettes begin with one colour or the other."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text(CLASSES)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    for i in range(COUNT):
        ids = np.where(x**2 + y**2 < (28 if i % 2 else 14) ** 2, 1 + i // 2 % 2, 0)
        noise = np.random.default_rng(i).integers(-20, 20, (SIDE, SIDE, 3))
        Image.fromarray((LOOKS[ids] + noise).clip(0, 255).astype(np.uint8)).save(root / "images" / f"{i:02}.png")
        mask = Image.fromarray(COLOURS[ids])
        if has_palettes:
            mask = mask.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
        mask.save(root / "masks" / f"{i:02}.png")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=None, help="where the sets and the run are written")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp())
    palettes, true = (write_discs(folder / name, has_palettes=name == "palettes") for name in ("palettes", "true"))
    metrics = unpool.train("folder_unet", {"data.root": str(palettes), **SETTINGS}, run=folder / "run")
    on_true = unpool.evaluate(Path(metrics["run"]), {"data.root": str(true), "data.val_share": 0.2})
    scores = {"unpool": unpool.__file__, "as read": metrics["mean_iou"], "on the true masks": on_true["mean_iou"]}
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
