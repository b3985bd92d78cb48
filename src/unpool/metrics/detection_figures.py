"""Scores of detected boxes with what a report draws beside them: curves, and what kinds of mistakes cost."""

from typing import Any

from unpool.metrics.detection import DetectionScores
from unpool.metrics.matching import curves
from unpool.metrics.mistakes import count_mistakes


class DetectionFigures(DetectionScores):
    """`DetectionScores` whose `compute` has more than scores.

    `precision` is a row for each class with its precisions at recalls 0, 0.01, ... 1 and IoU 0.5, empty where the set
    has no such thing. By kind of mistake (`metrics.mistakes`), `mistakes` says how many there are, and `mistake_costs`
    the AP50 that is lost to them.
    """

    def compute(self) -> dict[str, Any]:
        by_class, costs = curves(self.record, rule=self.protocol), count_mistakes(self.record)
        return {
            **super().compute(),
            "precision": [by_class[name].precision if name in by_class else [] for name in self.record.classes],
            "mistakes": {kind: cost.number for kind, cost in costs.items()},
            "mistake_costs": {kind: cost.gain for kind, cost in costs.items()},
        }
