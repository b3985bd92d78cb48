"""Labels of a whole set, read without its images."""

import torch
from torch import Tensor

from unpool.errors import RecipeError
from unpool.types import Samples


def read_labels(samples: Samples) -> Tensor:
    """(n,) int64 label of each sample.

    Raises:
        RecipeError: the set has no labels.
    """
    if "label" not in samples.gives:
        raise RecipeError(
            f"this data.order goes by the label of each image, and the set gives {', '.join(samples.gives)} only: "
            "choose data.order shuffled or grouped"
        )
    return torch.tensor([int(samples.targets(i)["label"]) for i in range(len(samples))], dtype=torch.int64)
