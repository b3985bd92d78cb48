"""Formula against gradient against the published numbers."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from unpool.inspection.field_by_formula import receptive_field
from unpool.inspection.field_by_gradient import gradient_field

PUBLISHED = {"resnet18": 435, "resnet34": 899, "resnet50": 427, "resnet101": 971, "resnet152": 1451}


@pytest.mark.parametrize(("name", "size"), PUBLISHED.items())
def test_formula_follows_the_longest_branch_of_a_resnet(name, size):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    assert receptive_field(model, (3, 224, 224), "layer4") == ((size, size), (32, 32))


@pytest.mark.parametrize(("layer", "size"), [("features.30", 212), ("classifier.0", 404)])
def test_formula_of_vgg16_is_the_published_one(layer, size):
    with torch.device("meta"):
        model = torchvision.models.vgg16()
    assert receptive_field(model, (3, 224, 224), layer) == ((size, size), (32, 32))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), list(PUBLISHED.items())[:3])
def test_gradient_of_a_resnet_is_the_published_field(name, size):
    model = getattr(torchvision.models, name)()
    assert gradient_field(model, (3, 1024 if size > 500 else 640, 32), "layer4")[0] == size


@pytest.mark.slow
def test_gradient_of_vgg16_is_the_published_field():
    assert gradient_field(torchvision.models.vgg16().features, (3, 320, 32))[0] == 212


# network of torchvision: layer, rows and columns of a strip that its field fits into
MEASURED = {
    "alexnet": ("features.11", 320, 72),
    "densenet121": ("features.transition1", 96, 32),
    "googlenet": ("inception4a", 256, 32),
    "mnasnet0_5": ("layers.10", 320, 32),
    "mobilenet_v2": ("features.10", 320, 32),
    "regnet_x_400mf": ("trunk_output.block2", 160, 32),
    "resnext50_32x4d": ("layer3", 480, 32),
    "shufflenet_v2_x0_5": ("stage3", 480, 32),
    "squeezenet1_1": ("features", 320, 32),
    "vgg11_bn": ("features", 256, 32),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_measured_field_of_ten_networks_is_that_of_the_rule(name):
    layer, rows, columns = MEASURED[name]
    options = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    rule = receptive_field(model, (3, rows, columns), layer).size[0]
    assert gradient_field(model, (3, rows, columns), layer)[0] == rule
    assert rule > 20


@pytest.mark.parametrize("activation", [nn.ReLU6, nn.Hardtanh, nn.Hardsigmoid])
def test_activation_that_saturates_hides_no_path_from_the_measurement(activation):
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 1, 3, padding=1), activation()

        def forward(self, image):
            return image + self.act(self.conv(image))  # which doubles, past every bound

    model = nn.Sequential(*(Doubled() for _ in range(5)))
    assert gradient_field(model, (1, 40, 40)) == receptive_field(model, (1, 40, 40)).size == (11, 11)


class Around(nn.Module):
    """Convolutions before and after the operation looked at, so that its edges count."""

    def __init__(self, change):
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(4, 4, 5, padding=2)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.change = change

    def forward(self, image):
        return self.last(self.change(self.wide(self.down(image))))


def ones(x, *shape):
    return torch.ones(shape, dtype=x.dtype, device=x.device)


def shuffled_by_hand(x):
    x = x.repeat(1, 4, 1, 1)
    b, c, h, w = x.shape
    return x.view(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)


CHANGES = {
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear_corners": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    "bilinear_antialias": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    "nearest": lambda x: F.interpolate(x, scale_factor=3),
    "nearest_exact": lambda x: F.interpolate(x, scale_factor=3, mode="nearest-exact"),
    "shuffle": lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
    "shuffle_by_views": shuffled_by_hand,
    "unshuffle": lambda x: F.pixel_unshuffle(x, 2)[:, :4],
    "flip": lambda x: x.flip(2).flip(3),
    "max_pool_ceil": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool_dilated": lambda x: F.max_pool2d(x, 3, 1, 1, 2),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 2),
    "adaptive_pool": lambda x: F.adaptive_avg_pool2d(x, (7, 9)),
    "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, (7, 9)),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=x.shape[2:]),
    "slice": lambda x: x[:, :, ::2, 1::2],
    "pad_zero": lambda x: F.pad(x, (1, 4, 3, 0)),
    "pad_reflect": lambda x: F.pad(x, (3, 3, 3, 3), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (2, 1, 3, 2), mode="replicate"),
    "transposed": lambda x: F.conv_transpose2d(x, ones(x, 4, 4, 5, 5), stride=3, padding=1),
    "dilated": lambda x: F.conv2d(x, ones(x, 4, 4, 3, 3), padding=4, dilation=4),
    "branches_joined": lambda x: torch.cat([F.avg_pool2d(half, 3, 1, 1) for half in x.chunk(2, 1)], 1),
    "branches_stacked": lambda x: torch.stack([x, F.avg_pool2d(x, 5, 1, 2)]).sum(0),
    "added_in_place": lambda x: x.clone().add_(F.avg_pool2d(x, 7, 1, 3)),
    "channels_last_linear": lambda x: F.linear(x.permute(0, 2, 3, 1), ones(x, 4, 4)).permute(0, 3, 1, 2),
    "tokens": lambda x: F.linear(x.flatten(2).transpose(1, 2), ones(x, 4, 4)).transpose(1, 2).unflatten(2, x.shape[2:]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_formula_and_gradient_agree_through(name):
    shape = (3, 56, 64)
    model = Around(CHANGES[name])
    formula = receptive_field(model, shape).size
    height, width = model(torch.zeros(1, *shape)).shape[2:]
    measured = [gradient_field(model, shape, position=(height // 2 + step, width // 2 + step)) for step in range(-2, 3)]
    assert formula == tuple(max(sizes) for sizes in zip(*measured, strict=True))


def test_a_u_net_sees_the_widest_path_through_its_levels():
    class Levels(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse, self.last = (nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 8))

        def forward(self, image):
            fine = self.fine(image)
            up = F.interpolate(self.coarse(F.max_pool2d(fine, 2)), scale_factor=2)
            return self.last(torch.cat([fine, up], 1))

    sizes = {gradient_field(Levels(), (3, 32, 32), position=(16, step))[1] for step in (16, 17)}
    assert receptive_field(Levels(), (3, 32, 32)).size[1] == max(sizes) == 10


def test_global_pooling_sees_the_whole_image():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert receptive_field(model, (3, 20, 30)).size == (22, 32)


def test_an_operation_without_a_rule_is_named_not_guessed():
    class Attention(nn.Module):
        def forward(self, image):
            tokens = image.flatten(2)
            return tokens @ tokens.transpose(1, 2)

    with pytest.raises(ValueError, match=r"aten\.bmm|product of two matrices.*gradient_field"):
        receptive_field(nn.Sequential(Attention()), (3, 8, 8))


@pytest.mark.parametrize("start", ["zeros", "clone"])
def test_a_write_through_a_view_is_refused_not_missed(start):
    class Canvas(nn.Module):
        def forward(self, image):
            canvas = torch.zeros_like(image) if start == "zeros" else image.clone()
            canvas[:, :, 2:] = F.avg_pool2d(image, 5, 1, 2)[:, :, :-2]
            return canvas + image

    with pytest.raises(ValueError, match="written to"):
        receptive_field(Canvas(), (3, 8, 8))


def test_an_unknown_layer_is_answered_with_its_neighbour():
    with pytest.raises(ValueError, match="did you mean last"):
        receptive_field(Around(nn.Identity()), (3, 8, 8), "lst")
    with pytest.raises(ValueError, match="did you mean last"):
        gradient_field(Around(nn.Identity()), (3, 8, 8), "lst")


def test_gradient_says_none_where_the_image_is_too_small():
    model = nn.Conv2d(3, 4, 9, padding=4)
    assert gradient_field(model, (3, 8, 32)) == (None, 9)


def test_gradient_is_not_fooled_by_weights_of_zero_and_leaves_the_network_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[1].running_var, 1e30)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert gradient_field(model, (3, 16, 16)) == (4, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


class Gate(nn.Module):
    """A map of one position, which sees the upper left of the image, multiplied with a map of the whole."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 4, 3, padding=1)
        self.gate = nn.Conv2d(3, 4, 2, stride=16)

    def forward(self, image):
        return self.gate(image) * self.maps(image)


def test_map_of_one_position_is_seen_from_everywhere_on_whichever_side_it_stands():
    assert receptive_field(Gate(), (3, 16, 16))[0] == (17, 17)  # the last position: from the first pixel to its border
