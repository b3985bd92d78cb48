"""Networks for the pose of people. A new one is one new file here and one word in MODULES.

`num_classes` is the number of predicted maps: one per joint, and one of the background where the network has it.
"""

from unpool.models.catalog import Variant
from unpool.models.pose import cpm, deeppose, fcgn, hourglass, joint_regression, openpose, simple_baselines

MODULES = (deeppose, joint_regression, fcgn, cpm, hourglass, openpose, simple_baselines)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
