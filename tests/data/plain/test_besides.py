"""What a set knows of its poses beside their joints is read alike from memory and from the set, and of all samples."""

import pytest
import torch

from unpool.assemble.plain import wrap
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.recipe import load_recipe
from unpool.types import DataInfo

RECIPE, JOINTS = load_recipe("dataset_pose"), DataInfo(keypoints=("head", "foot"))


def posed(**besides):
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return {"image": image, "keypoints": torch.tensor([[4.0, 5.0], [20.0, 25.0]]), **besides}


@pytest.mark.parametrize("in_memory", [True, False])
def test_area_of_a_pose_is_kept_in_memory_too(in_memory):
    reader = wrap([posed(area=torch.tensor(300.0)) for _ in range(3)], RECIPE, JOINTS, part="train").reader
    assert scan(reader, memory=in_memory).samples[1]["area"] == 300


def test_area_of_some_samples_is_refused():
    items = [posed() for _ in range(200)]
    items[150] = posed(area=torch.tensor(300.0))
    reader = wrap(items, RECIPE, JOINTS, part="train").reader
    with pytest.raises(DataError, match="this sample has area, which others lack: give area with all samples or with"):
        reader[150]
