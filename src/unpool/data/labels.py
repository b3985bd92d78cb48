"""Labels of a whole set, or whom its images show, read without the images."""

import torch
from torch import Tensor

from unpool.errors import RecipeError
from unpool.types import Samples


def read_labels(samples: Samples) -> Tensor:
    """(n,) int64 label of each sample, or the person that it shows.

    Raises:
        RecipeError: the set has neither.
    """
    key = next((key for key in ("label", "identity") if key in samples.gives), None)
    if key is None:
        raise RecipeError(
            f"this data.order goes by the label of each image, and the set gives {', '.join(samples.gives)} only: "
            "choose data.order shuffled or grouped"
        )
    return torch.tensor([int(samples.targets(i)[key]) for i in range(len(samples))], dtype=torch.int64)
