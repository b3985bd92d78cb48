import numpy as np
import torch
from PIL import Image
from torch import nn

from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor, write_predictions
from unpool.predictor.files import VIEW_SIDE
from unpool.tasks.pose import Pose
from unpool.types import DataInfo


class Pointing(nn.Module):
    """One map that is highest at three quarters of the width and a quarter of the height."""

    def forward(self, image):
        maps = torch.zeros(len(image), 1, 16, 16)
        maps[:, :, 4, 12] = 1
        return maps


def test_skeleton_of_a_large_picture_is_drawn_where_the_person_is(tmp_path):
    side = 2 * VIEW_SIDE
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / "dark.png")
    info = DataInfo(keypoints=("nose",))
    predictor = Predictor(Pointing(), Preprocessing(size_hw=(32, 32)), info, Pose(info))
    (record,) = write_predictions(predictor, [tmp_path / "dark.png"], tmp_path / "out")
    assert record["keypoints"] == [[side * 12.5 / 16 - 0.5, side * 4.5 / 16 - 0.5]]
    view = np.asarray(Image.open(tmp_path / "out" / record["view"])).astype(int)
    rows, columns = np.nonzero(view[..., 0] > 200)
    assert view.shape == (VIEW_SIDE, VIEW_SIDE, 3)
    assert abs(rows.mean() - VIEW_SIDE * 4.5 / 16) < 3
    assert abs(columns.mean() - VIEW_SIDE * 12.5 / 16) < 3
