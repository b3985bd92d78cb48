"""No network shifts its answer at sizes that its stride does not divide.

Each network is made to see one pixel by position: of every filter the middle tap is kept, and what looks at the whole
map is silenced. Its answer about an image is then that about a larger image of a size that every stride divides, but for
the last cells, which interpolation mixes with what lies beyond the image.
"""

import pytest
import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from unpool import models
from unpool.models import MODELS, denoising, pose, segmentation
from unpool.models.dense import Dense
from unpool.models.segmentation.fcn_head import build_fcn_head
from unpool.tracing.recorder import tensors_of
from unpool.types import Backbone

WHOLE = (160, 160)
SIZES = [(WHOLE[0] - 32 + i, WHOLE[1] - i) for i in range(1, 32)]  # each remainder of each stride, down and across
OF_ONE_SIZE = ("unet_valid", "linear_autoencoder", "denoising_autoencoder")
OF_VECTORS = ("deeppose", "deeppose_grouped", "deeppose3")
CHANGED = (*OF_ONE_SIZE, *OF_VECTORS)
NETWORKS = [name for name in (*segmentation.MODELS, *denoising.MODELS, *pose.MODELS) if name not in CHANGED]
ON_TIMM = ("convnext_atto", "mobilenetv3_small_050", "regnetx_002", "tf_efficientnet_lite0")
MARGIN = 96  # pixels: a cell at stride 32 and what interpolation spreads it over; FCGN reads half the image as well


def of_single_pixels(model):
    """Sets all but the middle taps of each convolution to zero, and all weights behind averages of the whole map."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                rows, columns = (side // 2 for side in module.kernel_size)
                middle = module.weight[..., rows, columns].clone() * module.weight[0, 0].numel() ** 0.5
                module.weight.zero_()
                module.weight[..., rows, columns] = middle
            if isinstance(module, nn.MaxPool2d) and module.stride == 1:
                module.kernel_size, module.padding = 1, 0
            if isinstance(module, nn.Sequential) and isinstance(module[0], nn.AdaptiveAvgPool2d):
                module[1].conv.weight.zero_()
            if isinstance(module, SqueezeExcite):
                module.conv_expand.weight.zero_()
    return model.eval()


def small(name, **options):
    torch.manual_seed(0)
    known = models.known_options(name, backbone=options.get("backbone"))
    narrow = {width: 16 for width in ("width", "neck_width", "head_width") if width in known}
    classes = MODELS[name].input[0] if name in denoising.MODELS else 3
    model = models.build(name, num_classes=classes, **{**narrow, **options})
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    for parent in list(model.modules()):
        for key, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, key, nn.Identity())
    return of_single_pixels(model)


def worst(model, channels, sizes=SIZES):
    """Largest difference by the deviation of the answer, over all sizes and outputs."""
    image, worst = torch.rand(1, channels, *WHOLE, generator=torch.Generator().manual_seed(0)), 0.0
    with torch.no_grad():
        exact = list(tensors_of(model(image)))
        for height, width in sizes:
            parts = list(tensors_of(model(image[..., :height, :width])))
            for part, whole in zip(parts, exact, strict=True):
                step = WHOLE[0] // whole.shape[-2]
                inside = (..., slice((height - MARGIN) // step), slice((width - MARGIN) // step))
                assert whole[inside].std() > 0
                worst = max(worst, float((part[inside] - whole[inside]).abs().max() / whole[inside].std()))
    return worst


@pytest.mark.parametrize("name", NETWORKS)
def test_answer_lies_at_every_size_where_it_does_at_a_size_that_divides(name):
    assert worst(small(name), MODELS[name].input[0]) < 1e-3


@pytest.mark.parametrize("backbone", ON_TIMM)
@pytest.mark.parametrize("decoder", ["unet", "fpn", "fcn"])
def test_answer_of_a_decoder_on_timms_networks_is_not_shifted(decoder, backbone):
    assert worst(small(decoder, backbone=f"timm/{backbone}"), 3) < 1e-3


def test_the_measure_sees_a_map_that_is_stretched():
    assert worst(small("fcn_resnet50", align="sizes"), 3) > 0.1
