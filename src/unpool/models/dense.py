"""Segmentation networks made of a backbone and a head that reads one of its maps."""

import copy
from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from unpool.convert.dilation.conversion import dilate, dilate_known
from unpool.errors import RecipeError
from unpool.ops.upsampling import upsample
from unpool.types import Auxiliary, Backbone

Align = Literal["stride", "corners", "sizes"]

KNOWN = "unpool.models.backbones."  # compared at every remainder of their strides by tests, not at each start
PROBE = (33, 65)  # (H, W) of the image on which a dilated backbone is compared with the one it was made from


class Dense(nn.Module):
    """Logits of the last map of a backbone, bilinearly at the size of the image: (B, C, H, W) -> (B, N, H, W).

    Args:
        backbone: gives the map.
        head: from the map to logits of its size.
        align: where the cells of the map lie. "stride": each over the pixels of its stride, at every size of the image.
            "corners": cell i on the pixel stride * i, as in PSPNet. "sizes": the map stretched over the image, as in
            torchvision, whose published weights need it; where the stride divides the size that is the same as
            "stride", elsewhere the answer is shifted, by nearly a stride at the right and the bottom.

    Attributes:
        stride: stride of the coarsest map.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, align: Align = "stride") -> None:
        super().__init__()
        if align not in get_args(Align):
            raise RecipeError(f"align is {align!r}; it must be one of {', '.join(get_args(Align))}")
        self.backbone = backbone
        self.head = head
        self.align = align
        self.stride = max(backbone.strides)

    def forward(self, image: Tensor) -> Tensor:
        return self._at_image(self.head(self.backbone(image)[-1]), image, self.backbone.strides[-1])

    def _at_image(self, logits: Tensor, image: Tensor, stride: int) -> Tensor:
        size_hw = (image.shape[-2], image.shape[-1])
        if self.align == "sizes":
            return nn.functional.interpolate(logits, size_hw, mode="bilinear", align_corners=False)
        return upsample(logits, stride, size_hw, corners=self.align == "corners")


class DenseAuxiliary(Dense):
    """The same network with a head on an earlier map beside it: image -> Auxiliary of logits (B, N, H, W), one more.

    Args:
        backbone: gives the maps.
        head: from the last map to logits of its size.
        auxiliary: from map `index` to logits of its size.
        index: index of the auxiliary head's map.
        align: as in Dense.
    """

    def __init__(
        self, backbone: Backbone, head: nn.Module, auxiliary: nn.Module, *, index: int, align: Align = "stride"
    ) -> None:
        super().__init__(backbone, head, align=align)
        self.auxiliary = auxiliary
        self.index = index

    def forward(self, image: Tensor) -> Auxiliary:  # pyright: ignore[reportIncompatibleMethodOverride]
        maps, strides = self.backbone(image), self.backbone.strides
        logits = self._at_image(self.head(maps[-1]), image, strides[-1])
        beside = self._at_image(self.auxiliary(maps[self.index]), image, strides[self.index])
        return Auxiliary(logits, (beside,))


def map_indices(backbone: Backbone, strides: Sequence[int], *, reader: str) -> tuple[int, ...]:
    """Index of the backbone's map at each stride.

    Args:
        backbone: as it was before its strides were changed to dilation.
        strides: of the maps that are read.
        reader: the network that reads them, for the message.

    Raises:
        RecipeError: there is no map at one of the strides.
    """
    missing = [stride for stride in strides if stride not in backbone.strides]
    if missing:
        raise RecipeError(
            f"{reader} reads the maps at strides {', '.join(map(str, strides))}, and this backbone has none at "
            f"{', '.join(map(str, missing))} (it has {', '.join(map(str, backbone.strides))}): choose another backbone"
        )
    return tuple(backbone.strides.index(stride) for stride in strides)


def dilated(backbone: Backbone, output_stride: int) -> Backbone:
    """The backbone with dilation instead of the strides beyond `output_stride`, its weights and their names kept.

    Where no stride is beyond it, the backbone itself. On the meta device too.
    """
    if output_stride >= max(backbone.strides):
        return backbone
    is_real = not any(tensor.is_meta for tensor in backbone.state_dict().values())
    with torch.device("cpu"):  # whatever device networks are being built on
        first = next(m for m in backbone.modules() if isinstance(m, nn.Conv2d))
        image = torch.rand(1, first.in_channels, *PROBE, generator=torch.Generator().manual_seed(0))
        convert = dilate_known if type(backbone).__module__.startswith(KNOWN) else dilate
        result = convert(backbone if is_real else _with_values(backbone), output_stride=output_stride, image=image)
    return cast(Backbone, result if is_real else result.to("meta"))


def _with_values(backbone: nn.Module) -> nn.Module:
    """A copy on the host with random weights, for a backbone that has none."""
    twin = copy.deepcopy(backbone).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.normal_(std=(2 / max(parameter[0].numel(), 1)) ** 0.5, generator=generator)
        for buffer in twin.buffers():
            buffer.fill_(1)
    return twin
