"""One problem each: what it reads, its loss, its prediction, its metric, its picture."""

from unpool.tasks.classification import Classification
from unpool.tasks.people import People
from unpool.tasks.pose import Pose
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.tasks.segmentation import Segmentation

TASKS: dict[str, type[Classification] | type[People] | type[Pose] | type[PoseCoordinates] | type[Segmentation]] = {
    "classification": Classification,
    "people": People,
    "pose": Pose,
    "pose_coordinates": PoseCoordinates,
    "segmentation": Segmentation,
}
