"""Part affinity fields for several people (Cao et al. 2017, arXiv:1611.08050), as in the authors' first release.

ZheC/Realtime_Multi-Person_Pose_Estimation, pose_deploy.prototxt. Differs in the initial weights, which are He's normal
ones (arXiv:1502.01852); the authors start from a trained VGG-19 and draw the rest from N(0, 0.01^2).
"""

from functools import partial

import torch
from torch import Tensor, nn

from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.models.pose.cpm import Layers, convs_to, vgg_features
from unpool.types import FieldStages


class OpenPose(nn.Module):
    """Image (B, in_channels, H, W) -> fields and heatmaps of each stage at stride 8, sizes rounded down.

    Fields are (B, 2 * limbs, H/8, W/8), heatmaps (B, num_classes, H/8, W/8).

    Args:
        in_channels: channels of the image.
        num_classes: joints and the background, which is the last heatmap.
        limbs: pairs of joints with a field of directions each.
        stages: number of predictions, each but the first reading fields and heatmaps of the one before.
        width: channels of VGG's first stage.
    """

    def __init__(
        self, *, in_channels: int = 3, num_classes: int = 19, limbs: int = 19, stages: int = 6, width: int = 64
    ) -> None:
        super().__init__()
        few = 2 * width
        self.features = vgg_features(in_channels, width, ((4 * width, 3), (few, 3)))
        first: Layers = ((few, 3),) * 3 + ((8 * width, 1),)
        later: Layers = ((few, 7),) * 5 + ((few, 1),)
        self.fields, self.heatmaps = nn.ModuleList(), nn.ModuleList()
        for i in range(stages):
            inputs = few + (2 * limbs + num_classes if i else 0)
            self.fields.append(convs_to(2 * limbs, inputs, later if i else first))
            self.heatmaps.append(convs_to(num_classes, inputs, later if i else first))
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> FieldStages:
        features = self.features(image)  # (B, 2 * width, H/8, W/8)
        fields: list[Tensor] = []
        heatmaps: list[Tensor] = []
        x = features
        for to_fields, to_heatmaps in zip(self.fields, self.heatmaps, strict=True):
            fields.append(to_fields(x))
            heatmaps.append(to_heatmaps(x))
            x = torch.cat([features, fields[-1], heatmaps[-1]], dim=1)
        return FieldStages(tuple(fields), tuple(heatmaps))


def _row(limbs: int, maps: int, *, params: int, gmacs: float, source: str) -> Variant:
    return Variant(
        build=partial(OpenPose, limbs=limbs),
        kind="whole",
        params=params,
        gmacs=gmacs,
        source=f"ZheC/Realtime_Multi-Person_Pose_Estimation, {source}/pose_deploy.prototxt",
        input=(3, 368, 368),
        output=((2 * limbs, 46, 46),) * 6 + ((maps, 46, 46),) * 6,
        classes=maps,
    )


VARIANTS = {
    "openpose": _row(19, 19, params=52_311_446, gmacs=135.934, source="_trained_COCO"),
    "openpose_mpi": _row(14, 16, params=51_481_032, gmacs=134.177, source="_trained_MPI"),
}
