"""Overrides that make a run on generated figures a matter of a second, and bits that no machine changes."""

SMALL = {
    "data.count": 6,
    "data.side": 40,
    "data.size": [32, 32],
    "data.workers": 0,
    "model.width": 8,
    "train.batch": 3,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.evaluate_every": 1,
}
HOURGLASS = SMALL | {"model.depth": 1}
