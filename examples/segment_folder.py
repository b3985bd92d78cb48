"""Segmentation of a folder: images, masks of the same names, and the classes by name.

    python examples/segment_folder.py [DIR] [section.key=value ...]

DIR/images/*.jpg or .png, DIR/masks/*.png with a class in each pixel, DIR/classes.txt with one name a line. Without DIR
a small set of generated scenes is written to the folder `scenes`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import unpool
from unpool.data.synthetic import Scenes

# small, so that it ends in seconds; leave these out for a set of your own
SMALL = ["data.train_size=[64,64]", "data.workers=0", "model.backbone=cifar_resnet20", "train.epochs=4"]
SMALL += ["train.evaluate_every=4", "train.warmup_epochs=0"]


def write_scenes(folder: Path, count: int = 40) -> Path:
    """Writes a set in the form that `folder_unet` reads."""
    scenes = Scenes(side=64, count=count)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(scenes.info.classes) + "\n")
    for index in range(count):
        sample = scenes[index]
        Image.fromarray(sample["image"].permute(1, 2, 0).numpy()).save(folder / "images" / f"{index}.png")
        Image.fromarray(sample["mask"].numpy().astype(np.uint8)).save(folder / "masks" / f"{index}.png")
    return folder


def main() -> None:
    arguments = sys.argv[1:]
    is_given = bool(arguments) and "=" not in arguments[0]
    root = Path(arguments.pop(0)) if is_given else write_scenes(Path("scenes"))
    settings = [f"data.root={root}", *([] if is_given else SMALL), *arguments]
    metrics = unpool.train("folder_unet", settings)
    print(f"mean IoU {metrics['mean_iou']:.3f}, report in {metrics['run']}/report.html")

    run = Path(metrics["run"])
    photo = min((root / "images").iterdir())
    (record,) = unpool.predict(run, [photo], run / "predictions")
    print(f"{photo}: mask and picture in {run / 'predictions'}: {record}")


if __name__ == "__main__":
    main()
