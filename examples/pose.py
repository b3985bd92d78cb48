"""Poses: one hourglass on generated stick figures, then the joints of a picture.

    python examples/pose.py [section.key=value ...]

The settings below are small, so that it ends in seconds and finds little: `unpool train figures_hourglass` runs the
whole recipe.
"""

import sys
from pathlib import Path

from PIL import Image

import unpool
from unpool.data.figures import Figures

SMALL = ["data.count=64", "data.side=64", "data.size=[64,64]", "data.workers=0", "model.width=16", "train.epochs=2"]


def main() -> None:
    metrics = unpool.train("figures_hourglass", [*SMALL, *sys.argv[1:]])
    run = Path(metrics["run"])
    print(f"PCK@0.2 {metrics['pck@0.2']:.3f}, report in {run / 'report.html'}")

    photo = run / "figure.png"  # a photograph of your own works as well
    Image.fromarray(Figures(split="test", count=1)[0]["image"].permute(1, 2, 0).numpy()).save(photo)
    predictor = unpool.load(run)
    answer = predictor(photo)[0]
    for name, (x, y) in zip(predictor.info.keypoints, answer["keypoints"], strict=True):
        print(f"{name:15} x {x:5.1f}  y {y:5.1f}")
    unpool.predict(run, [photo], run / "predictions")
    print(f"the skeleton is drawn in {run / 'predictions'}")


if __name__ == "__main__":
    main()
