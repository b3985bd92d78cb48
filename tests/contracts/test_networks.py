"""Every network of the tables, known and future, keeps the same promises."""

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.models import (
    BACKBONES,
    MODELS,
    backbones,
    captions,
    classifiers,
    denoising,
    detection,
    embedding,
    flow,
    localization,
    pose,
    reading,
    segmentation,
    stereo,
)
from unpool.tracing.recorder import tensors_of
from unpool.types import AnchoredBoxes, ProposedRegions, RegionMaps

ODD = (33, 47)
NEEDS_ONE_SIZE = {
    "mlp": (28, 28),
    "unet_valid": (188, 188),
    "linear_autoencoder": (28, 28),
    "denoising_autoencoder": (28, 28),
    **dict.fromkeys(("deepface", "deepface_f7"), (75, 79)),
}
SIZES = {  # of networks that do not take ODD
    **NEEDS_ONE_SIZE,
    **dict.fromkeys(("alexnet", "alexnet_grouped", "caffenet", "alexnet_torchvision"), (67, 85)),
    **dict.fromkeys(("deeppose", "deeppose_grouped", "deeppose3"), (67, 83)),
    **dict.fromkeys(("alexnet_localizer", "alexnet_localizer_per_class"), (67, 85)),
    "fcgn": (67, 95),
    **dict.fromkeys(("ssd300", "ssd300_vgg16"), (257, 273)),
    "yolo": (225, 241),  # whose map has no fewer cells than the grid
}
LARGE = {  # of networks whose coarsest map has one pixel of a smaller image
    **dict.fromkeys(("fcgn", "ssd", "retinanet", "retinanet_resnet50_fpn"), (163, 195)),
    **dict.fromkeys(("ssd300", "ssd300_vgg16"), (387, 419)),
    **dict.fromkeys(("yolo", "yolo448", "yolo448_bn"), (291, 355)),
}
NARROW = ("width", "neck_width", "head_width", "extra_width", "proposal_width", "mask_width", "joint_width")
SMALL = {
    "deeppose3": {"torso": (2, 1)},  # the published joints are not among so few
    "deepface": {"size_hw": (75, 79), "hidden": 16},  # whose layers have filters of their own at each position
    "deepface_f7": {"size_hw": (75, 79)},
}
GIGA = 1e9
STRIDES = {
    8: ("fcn", "fcn_*net*", "deeplabv3_*", "pspnet*"),
    32: ("unet", "segnet", "fcn*s", "fcn_alexnet", "fpn", "frrn_b"),
}
DEEP = ("cifar_resnet1202", "cifar_plain1202", "preresnet1001")
REPEATED = ("resnet1[05]*", "cifar_*110*", "preresnet1*", "preresnet200", "hourglass8")  # more units of the same kind


def some_slow(names, *, slow=(*DEEP, "*_resnet101*")):  # as those on resnet50
    """The names, of which the largest are run with the slow tests only."""
    is_slow = {name: any(fnmatch(name, pattern) for pattern in slow) for name in names}
    return [pytest.param(name, marks=pytest.mark.slow) if is_slow[name] else name for name in is_slow]


def of_few_units(names):
    """The same, without those that repeat the units of others: each time their counts and shapes are compared alone."""
    return some_slow(names, slow=(*DEEP, "*_resnet101*", *REPEATED))


def tensors(output):
    """What a network gives of images, as a list: one map or vector of logits, or those of a NamedTuple in its order."""
    has_anchors = isinstance(output, AnchoredBoxes | ProposedRegions)  # which are the same for every image of a batch
    return list(tensors_of(output[:-2] if has_anchors else output))


def outputs(model, image):
    """The same, and of a detector that classifies regions what it says of two regions of each image."""
    output = model(image)
    if not isinstance(output, ProposedRegions | RegionMaps):
        return tensors(output)
    height, width = image.shape[-2:]
    regions = torch.tensor([[0.0, 0, width, height], [2, 3, width / 2, height / 2]])
    second = [output.maps, [regions] * len(image), (height, width)]
    branches = [model.region_maps(*second)] if hasattr(model, "region_maps") else []
    return [*tensors(output), *(one for one in model.classify(*second) if one is not None), *branches]


def shapes(row):
    return [row.output] if isinstance(row.output[0], int) else list(row.output)


def small(name, **options):
    """The network of a row, eight channels wide where widths can be chosen, with no weights left at zero."""
    torch.manual_seed(0)
    known = models.known_options(name)
    narrow = {width: 8 for width in NARROW if width in known}
    options = {**narrow, **SMALL.get(name, {}), **options}
    # what denoises gives as many channels as it gets
    classes = options.get("in_channels", MODELS[name].input[0]) if name in denoising.MODELS else 3
    classes = 2 if name in flow.MODELS else classes  # to the right and down
    model = models.build(name, num_classes=classes, **options)
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    if name in DEEP:
        learn_statistics(model, options.get("in_channels", MODELS[name].input[0]))
    return model


def learn_statistics(model, channels):
    """One batch's statistics into the norms: without any, sums over hundreds of units leave the range of float32."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(4, channels, *ODD))
    for norm in norms:
        norm.momentum = 0.1


def image_for(name, size_hw=ODD, batch=2):
    size_hw = SIZES.get(name, size_hw)
    return torch.rand(batch, MODELS[name].input[0], *size_hw)


def channels_of(name, in_channels):
    """Channels, or numbers, of each output of a small network; of a captioner the second is of its backbone."""
    row = MODELS[name]
    if name in denoising.MODELS:
        return [in_channels]
    if row.gives == "words":
        return [3, row.output[1][0] // 8]  # an eighth of the channels of its backbone
    if row.gives == "coordinates":
        return [2 * 3 for _ in shapes(row)]
    if name in flow.MODELS:
        return [2 for _ in shapes(row)]
    return [3 if shape[0] == row.classes else shape[0] for shape in shapes(row)]  # limbs stay as they are


def spread(output):
    """Deviation of what a network gives, at least one: sums of many untrained residual blocks are large."""
    return max(1.0, float(output.std()))


def multiply_adds(model, image):
    """Of convolutions and linear layers, counted by hand from the shapes; a transposed one at its input's size."""
    counts = []

    def count(layer, inputs, output):
        at = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        counts.append(layer.weight.numel() * at.shape[0] * at.shape[2:].numel())

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.register_forward_hook(count)
    return model(image), sum(counts)


@pytest.mark.parametrize("name", some_slow(MODELS))
def test_row_has_the_published_count_shape_and_multiply_adds(name):
    row = MODELS[name]
    with torch.device("meta"):
        model = models.build(name).eval()
        output, count = multiply_adds(model, torch.empty(1, *row.input))
    assert sum(p.numel() for p in model.parameters()) == row.params
    assert [tuple(part.shape[1:]) for part in tensors_of(output)] == shapes(row)
    if row.gmacs is not None:
        assert count / GIGA == pytest.approx(row.gmacs, rel=1e-4, abs=5e-6 if row.gmacs < 0.01 else 5e-5)


@pytest.mark.parametrize("name", of_few_units(MODELS))
def test_every_parameter_gets_a_finite_gradient_and_every_output_has_its_shape(name):
    image = image_for(name)
    model = small(name).train()
    parts = outputs(model, image)
    if name not in detection.MODELS:
        assert [part.shape[:2] for part in parts] == [(2, channels) for channels in channels_of(name, image.shape[1])]
        assert [part.dim() for part in parts] == [1 + len(shape) for shape in shapes(MODELS[name])]
    if name in segmentation.MODELS:
        lost = 184 if name == "unet_valid" else 0
        assert parts[0].shape == (2, 3, image.shape[2] - lost, image.shape[3] - lost)
    torch.stack([(part * torch.randn_like(part)).sum() for part in parts]).sum().backward()
    bad = [
        key
        for key, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]
    assert not bad


@pytest.mark.parametrize("name", [*pose.MODELS, *denoising.MODELS])
def test_map_is_as_much_smaller_than_the_image_as_the_published_one(name):
    row, image = MODELS[name], image_for(name, batch=1)
    with torch.no_grad():
        parts = tensors(small(name).eval()(image))
    for part, shape in zip(parts, shapes(row), strict=True):
        for axis in range(2, part.dim()):
            assert abs(part.shape[axis] - image.shape[axis] * shape[axis - 1] / row.input[axis - 1]) < 1


@pytest.mark.parametrize("name", NEEDS_ONE_SIZE)
def test_size_that_does_not_fit_is_refused_with_sizes_that_do(name):
    image = torch.rand(1, MODELS[name].input[0], *ODD)
    one_size = r"\(33, 47\).*takes \(28, 28\) only"
    told = {"unet_valid": r"nearest are 188 high, 188 wide"}
    told |= dict.fromkeys(("deepface", "deepface_f7"), r"\(33, 47\).*takes \(75, 79\) only")
    with pytest.raises(DataError, match=told.get(name, one_size)):
        small(name)(image)


@pytest.mark.parametrize("name", of_few_units(MODELS))
def test_batch_of_two_equals_two_batches_of_one(name):
    kind = torch.float64 if name in DEEP else torch.float32  # hundreds of units make much of the last digit
    model = small(name).eval().to(kind)
    image = image_for(name).to(kind)
    with torch.no_grad():
        both, first, second = (outputs(model, part) for part in (image, image[:1], image[1:]))
    for whole, *each in zip(both, first, second, strict=True):
        torch.testing.assert_close(whole, torch.cat(each), rtol=1e-4, atol=1e-4 * spread(whole))


@pytest.mark.parametrize("name", of_few_units(MODELS))
def test_bfloat16_and_channels_last_give_the_float32_answer_roughly(name):
    model = small(name).eval()
    image = image_for(name, batch=1)
    which = int(name.startswith("retinanet"))  # its scores are its bias before training, of which bfloat16 has 8 bits
    with torch.no_grad():
        exact = tensors(model(image))[which]
        model = model.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
        near = 1e-2 if name in DEEP else 1e-3
        torch.testing.assert_close(tensors(model(image))[which], exact, rtol=near, atol=near * spread(exact))
        with torch.autocast("cpu", torch.bfloat16):
            rough = tensors(model(image))[which]
    assert rough.shape == exact.shape
    off = (rough.float() - exact).square().mean().sqrt() / exact.std()
    # rounding moves some of SegNet's switches; YOLO's are 24 layers in a row
    assert off < (0.5 if "segnet" in name or name in DEEP else 0.2 if name.startswith("yolo448") else 0.1)


EXPORTED = ("lenet5", "unet_same_bn", "conv_autoencoder", "dncnn_s")  # each time; the others with the slow tests


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in EXPORTED else pytest.mark.slow)
        for name in MODELS
        if name not in (*NEEDS_ONE_SIZE, *DEEP)
    ],
)
def test_exported_program_gives_the_answer_at_odd_and_even_sizes(name):
    """The example is large, since a map of one pixel would stay one in the program."""
    height, width = LARGE.get(name, (99, 131))
    model, image = small(name).eval(), torch.rand(1, MODELS[name].input[0], height, width)
    sizes = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, (image,), dynamic_shapes=(sizes,)).module()
    for size in ((height, width), (height + 29, width - 19)):
        x = torch.rand(1, image.shape[1], *size)
        with torch.no_grad():
            for found, exact in zip(tensors(program(x)), tensors(model(x)), strict=True):
                torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5 * spread(exact))


@pytest.mark.parametrize("name", of_few_units(BACKBONES))
def test_stages_have_their_declared_channels_and_strides(name):
    torch.manual_seed(0)
    backbone = BACKBONES[name].build(width=8).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96))
        odd = backbone(torch.rand(1, 3, *ODD))
    assert [(m.shape[1], 64 // m.shape[2], 96 // m.shape[3]) for m in maps] == [
        (channels, stride, stride) for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
    ]
    for got, stride in zip(odd, backbone.strides, strict=True):
        assert abs(got.shape[2] - ODD[0] / stride) < 1
        assert abs(got.shape[3] - ODD[1] / stride) < 1


@pytest.mark.parametrize("name", of_few_units(BACKBONES))
@pytest.mark.parametrize(
    ("decoder", "options"), [("unet", {"widths": (8,) * 5}), ("fpn", {}), ("fcn", {"output_stride": 32})]
)
def test_every_backbone_carries_every_decoder_at_odd_sizes_or_is_refused(decoder, options, name):
    if decoder == "fpn" and not {4, 8, 16, 32} <= set(BACKBONES[name].build(width=8).strides):
        with pytest.raises(RecipeError, match="fpn reads the maps at strides 4, 8, 16, 32"):
            small(decoder, backbone=name)
        return
    model = small(decoder, backbone=name, **options).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, *ODD)).shape == (1, 3, *ODD)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet50_v1",
        "resnet34_a",
        "plain18",
        "vgg11",
        "vgg16_c",
        "cifar_resnet20",
        "googlenet",
        "preresnet50",
    ],
)
@pytest.mark.parametrize("decoder", ["fcn", "deeplabv3", "pspnet"])
@pytest.mark.parametrize("output_stride", [8, pytest.param(16, marks=pytest.mark.slow)])
def test_dilated_backbones_carry_decoders_at_odd_sizes(decoder, output_stride, name):
    model = small(decoder, backbone=name, output_stride=output_stride).eval()
    assert model.stride == min(output_stride, max(BACKBONES[name].build(width=8).strides))
    with torch.no_grad():
        assert model(torch.rand(1, 3, *ODD)).shape == (1, 3, *ODD)


@pytest.mark.parametrize("name", some_slow(segmentation.MODELS))
def test_segmentation_network_says_its_stride(name):
    found = [stride for stride, patterns in STRIDES.items() if any(fnmatch(name, pattern) for pattern in patterns)]
    assert small(name).stride == (found or [16])[-1]


@pytest.mark.parametrize("name", of_few_units(MODELS))
def test_channels_of_the_image_can_be_chosen(name):
    model = small(name, in_channels=2).eval()
    with torch.no_grad():
        parts = tensors(model(torch.rand(1, 2, *SIZES.get(name, ODD))))
    if name not in detection.MODELS:
        assert [part.shape[1] for part in parts] == channels_of(name, 2)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "fcn8s", "unet", "unet_same_bn", "segnet", "mnist_convnet"])
def test_seed_decides_the_weights(name):
    first, second = small(name).state_dict(), small(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


PACKAGES = [
    *(backbones, captions, classifiers, denoising, detection, embedding, flow),
    *(localization, pose, reading, segmentation, stereo),
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_in_the_folder_is_listed(package):
    folder = Path(package.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\nVARIANTS = " in path.read_text()}
    listed = {m.__name__.rpartition(".")[2] for m in getattr(package, "FAMILIES", getattr(package, "MODULES", ()))}
    assert files == listed


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"no network is called 'resnet-18'; did you mean: resnet18"):
        models.build("resnet-18")


@pytest.mark.parametrize(("papers", "ours"), [("VGG16", "vgg16"), ("MLP", "mlp"), ("LeNet-5", "lenet5")])
def test_name_as_the_paper_writes_it_is_answered_with_ours(papers, ours):
    with pytest.raises(RecipeError, match=rf"no network is called '{papers}'; did you mean: {ours}"):
        models.build(papers)
    if "-" not in papers:
        assert ours in models.names(papers)


def test_unknown_backbone_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match=r"no backbone is called 'resnet43'; did you mean: resnet34"):
        models.build("unet", backbone="resnet43")


def test_classifier_without_stages_is_refused_under_a_decoder():
    with pytest.raises(RecipeError, match="mnist_convnet is no backbone: it is a whole network and returns no maps"):
        models.build("unet", backbone="mnist_convnet")


@pytest.mark.parametrize("name", MODELS)
def test_unknown_option_is_refused_with_those_there_are(name):
    with pytest.raises(RecipeError, match=rf"{name} has no option 'widht'; .*It takes: "):
        models.build(name, widht=32)


def test_misspelt_option_names_the_nearest():
    with pytest.raises(RecipeError, match=r"did you mean 'width'\?"):
        models.build("resnet18", widht=32)


def test_complete_network_refuses_a_backbone():
    with pytest.raises(RecipeError, match=r"segnet is complete and takes no backbone \('resnet18' was given\)"):
        models.build("segnet", backbone="resnet18")


@pytest.mark.parametrize("classes", [0, -1, True, 2.0, "3"])
def test_number_of_classes_must_be_a_count(classes):
    with pytest.raises(RecipeError, match=r"num_classes is .*; it must be a whole number of at least 1"):
        models.build("cifar_resnet20", num_classes=classes)


@pytest.mark.parametrize(
    ("name", "option", "value", "told"),
    [
        ("resnet18", "width", 0, "width is 0; it must be a whole number of at least 1"),
        ("resnet18", "width", "64", "width is '64'; it must be a whole number of at least 1"),
        ("resnet18", "stem_bias", 1, "stem_bias is 1; it must be true or false"),
        ("unet", "widths", 5, "widths is 5; it must be a list of at most 64 whole numbers"),
        ("deeplabv3", "rates", [6, 0], r"rates: one of \[6, 0\] is 0; it must be a whole number"),
        ("mlp", "widths", [512, -1], r"widths: one of \[512, -1\] is -1; it must be a whole number"),
        ("unet_same", "dropout", 1.5, "dropout is 1.5; it must be a number from 0 to 1"),
        ("unet_same", "dropout", True, "dropout is True; it must be a number from 0 to 1"),
    ],
)
def test_value_that_an_option_cannot_take_is_refused(name, option, value, told):
    with pytest.raises(RecipeError, match=told):
        models.build(name, **{option: value})


def test_options_have_names_and_defaults_that_fit_into_json():
    for name in MODELS:
        json.dumps(models.known_options(name))


def test_names_are_found_by_part_and_by_pattern():
    assert models.names("segnet") == ["segnet", "segnet_basic"]
    assert models.names("fcn*s") == ["fcn32s", "fcn16s", "fcn8s"]
