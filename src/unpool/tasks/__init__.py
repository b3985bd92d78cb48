"""One problem each: what it reads, its loss, its prediction, its metric, its picture."""

from unpool.tasks.classification import Classification
from unpool.tasks.segmentation import Segmentation

TASKS: dict[str, type[Classification] | type[Segmentation]] = {
    "classification": Classification,
    "segmentation": Segmentation,
}
