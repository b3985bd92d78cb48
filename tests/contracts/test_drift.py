"""No network shifts its answer at sizes that its stride does not divide.

Each network is made to see one pixel by position: of every filter the middle tap is kept, and what looks at the whole
map is silenced. Its answer about an image is then that about a larger image of a size that every stride divides, but
for the last cells, which interpolation mixes with what lies beyond the image.
"""

import pytest
import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from unpool import models
from unpool.models import MODELS, denoising, pose, segmentation
from unpool.ops.tiling import predict_scores
from unpool.tracing.recorder import tensors_of

OF_ONE_SIZE = ("unet_valid", "linear_autoencoder", "denoising_autoencoder")
OF_NO_MAP = ("deeppose", "deeppose_grouped", "deeppose3", "joint_regression")
EVERY = range(1, 32)  # pixels that a width is short of `side`: each remainder of each stride
SOME = (1, 2, 3, 4, 5, 6, 7, 8, 13, 16, 18, 27, 31)  # each remainder of 8, and some of 16 and 32
FAR = {"fcgn": {"side": 256, "margin": 192, "lines": 96}}  # reads half the image too: all windows are twice as wide
NETWORKS = [
    name for name in (*segmentation.MODELS, *denoising.MODELS, *pose.MODELS) if name not in (*OF_ONE_SIZE, *OF_NO_MAP)
]
# as their siblings, which run each time
ALIKE = ("frrn_b", "hourglass8", "openpose_mpi", "deeplabv3_resnet50", "deeplabv3_resnet50_aux", "fcn_resnet50_aux")
ON_TIMM = ("convnext_atto", "mobilenetv3_small_050", "regnetx_002", "tf_efficientnet_lite0")
DILATED_FOR_LONG = ("convnext_atto", "regnetx_002", "tf_efficientnet_lite0")


def some_slow(names):
    return [pytest.param(n, marks=pytest.mark.slow) if n in ALIKE or "resnet101" in n else n for n in names]


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


def without_group_norms(model):
    """Their statistics are of the whole map."""
    for parent in list(model.modules()):
        for key, child in parent.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(parent, key, nn.Identity())
    return model


def small(name, **options):
    torch.manual_seed(0)
    known = models.known_options(name, backbone=options.get("backbone"))
    side = 16 if name.startswith("cpm") else 8  # fewer of its channels would all be zero
    narrow = {width: side for width in ("width", "neck_width", "head_width") if width in known}
    classes = MODELS[name].input[0] if name in denoising.MODELS else 3
    model = models.build(name, num_classes=classes, **{**narrow, **options})
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return of_single_pixels(without_group_norms(model))


def largest_difference(model, channels, *, short=SOME, side=160, margin=96, lines=32):
    """Between the answers at widths that are `short` of `side` and that at `side`, by its deviation; at 3 heights too.

    Answers less than `margin` pixels from the end are left out.
    """
    image, found = torch.rand(1, channels, lines, side, generator=torch.Generator().manual_seed(0)), []
    with torch.no_grad():
        for picture, missing in ((image, short), (image.mT, (2, 13, 31))):
            dim = -1 if picture is image else -2
            exact = list(tensors_of(model(picture)))
            for size in (side - pixels for pixels in missing):
                for part, whole in zip(tensors_of(model(picture.narrow(dim, 0, size))), exact, strict=True):
                    kept = (size - margin) * whole.shape[dim] // side
                    part, whole = part.narrow(dim, 0, kept), whole.narrow(dim, 0, kept)
                    assert whole.std() > 0
                    found.append(float((part - whole).abs().max() / whole.std()))
    return max(found)


@pytest.mark.parametrize("name", some_slow(NETWORKS))
def test_answer_lies_at_every_size_where_it_does_at_a_size_that_the_stride_divides(name):
    assert largest_difference(small(name), MODELS[name].input[0], **FAR.get(name, {})) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_answer_lies_there_at_each_remainder_of_every_stride(name):
    assert largest_difference(small(name), MODELS[name].input[0], short=EVERY, **FAR.get(name, {})) < 1e-4


@pytest.mark.parametrize(
    ("decoder", "backbone"),
    [
        *((decoder, backbone) for decoder in ("unet", "fpn") for backbone in ON_TIMM),
        ("fcn", "mobilenetv3_small_050"),
        *(pytest.param("fcn", backbone, marks=pytest.mark.slow) for backbone in DILATED_FOR_LONG),
    ],
)
def test_answer_of_a_decoder_on_timms_networks_is_not_shifted(decoder, backbone):
    assert largest_difference(small(decoder, backbone=f"timm/{backbone}"), 3) < 1e-4


@pytest.mark.parametrize(("output_stride", "decoder"), [(16, "pspnet"), (32, "pspnet"), (16, "deeplabv3"), (32, "fcn")])
def test_answer_is_not_shifted_at_other_output_strides(decoder, output_stride):
    assert largest_difference(small(decoder, backbone="resnet18", output_stride=output_stride), 3) < 1e-4


def test_the_measure_sees_a_map_that_is_stretched():
    assert largest_difference(small("fcn", backbone="resnet18", align="sizes"), 3) > 0.1


@pytest.mark.parametrize("name", ["fcn", "pspnet", "fpn", "unet"])
def test_tiles_answer_as_the_whole_does_where_no_stride_divides_the_last_one(name):
    model, image = small(name, backbone="resnet18"), torch.rand(1, 3, 45, 331)
    with torch.no_grad():
        whole = model(image)
        tiled = predict_scores(model, image, limit=0, tile=192, overlap=160, stride=32)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-4 * float(whole.std()))
