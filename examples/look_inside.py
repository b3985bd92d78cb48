"""Looks inside a classifier: the table of its layers, its receptive field, and its classes over a photograph.

    python examples/look_inside.py [NETWORK [PHOTO]]

Networks: `unpool models`. Its weights are random here; `weights="imagenet"` downloads published ones.
"""

import sys
from pathlib import Path

from PIL import Image

import unpool
from unpool.data.synthetic import Scenes
from unpool.inspection.field_by_formula import receptive_field
from unpool.models import row_of


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "cifar_resnet20"
    photo = sys.argv[2] if len(sys.argv) > 2 else Image.fromarray(Scenes(side=64)[0]["image"].permute(1, 2, 0).numpy())
    network, shape = unpool.build(name), row_of(name).input

    table = unpool.summary(network, shape)
    print(table.to_text())
    widest = max(table.rows, key=lambda row: row.activations)
    print(f"{widest.name} keeps the most: {widest.memory_mib:.2f} MiB an image")

    field = receptive_field(network, shape)  # of one of its layers where a third argument names it
    print(f"a score sees {' x '.join(map(str, field.size))} pixels")

    shown = unpool.show_dense(name, photo)
    print(shown.to_text())
    picture = Path(f"{name}_dense.png")
    Image.fromarray(shown.picture.permute(1, 2, 0).numpy()).save(picture)
    print(f"heat maps of the class in {picture}")


if __name__ == "__main__":
    main()
