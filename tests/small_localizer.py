"""A recipe of a small localizer for drawn images, written to a file; readers are passed beside it."""

from pathlib import Path

TEXT = """format: 1
about: Where a rectangle is, and whether it is dark.
data: {reader: scenes, count: 6, side: 32, workers: 0}
model: {name: localizer, backbone: resnet18, width: 4, hidden: 16, dropout: 0.0}
task: {name: localization}
train:
  epochs: 1
  batch: 4
  lr: 0.05
  precision: float32
  memory_format: contiguous
"""


def write_recipe(folder: Path) -> Path:
    path = folder / "small_localizer.yaml"
    path.write_text(TEXT)
    return path
