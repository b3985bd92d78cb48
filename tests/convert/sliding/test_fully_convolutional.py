"""A classifier made convolutional gives the scores of the classifier slid over the image."""

from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from tests.convert.dilation.dilated import Act, conv, image, sequential, shaken
from unpool import models
from unpool.convert import dilate, fully_convolutional
from unpool.convert.sliding.head_rules import as_map, as_rows

F = nn.functional


def body():
    """Unpadded: 18x16 pixels become 4 channels of 3x3, stride 4."""
    return conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4, (4, 3), stride=2), nn.Tanh()


NATIVE = (18, 16)
HEADS = {
    "flattened": (nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 5)),
    "viewed": (Act(lambda x: x.view(x.size(0), -1)), nn.Linear(36, 5, bias=False)),
    "reshaped": (Act(lambda x: x.reshape(-1, 36)), nn.Linear(36, 5)),
    "channels last": (Act(lambda x: x.permute(0, 2, 3, 1).flatten(1)), nn.Linear(36, 5)),
    "averaged": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "averaged by a mean": (Act(lambda x: x.mean((2, 3))), nn.Linear(4, 5)),
    "averaged by a pooling": (nn.AvgPool2d(3), Act(lambda x: x[:, :, 0, 0]), nn.Linear(4, 5)),
    "averaged last": (conv(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "averaged with channels last": (Act(lambda x: x.permute(0, 2, 3, 1).mean((1, 2))), nn.Linear(4, 5)),
    "largest": (nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    "generalized mean": (
        Act(lambda x: F.avg_pool2d(x.clamp(min=1e-6).pow(3), (x.size(2), x.size(3))).pow(1 / 3)),
        nn.Flatten(),
        nn.Linear(4, 5),
    ),
    "identity": (nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Dropout(), nn.Linear(36, 5)),
    "batch norm": (nn.Flatten(), nn.Linear(36, 6), nn.BatchNorm1d(6), nn.Linear(6, 5)),
    "layer norm": (nn.Flatten(), nn.Linear(36, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 5)),
    "probabilities": (nn.Flatten(), nn.Linear(36, 5), nn.Softmax(-1)),
    "unit length": (nn.Flatten(), nn.Linear(36, 5), Act(partial(F.normalize, dim=1))),
    "two pools": (
        Act(lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1)),
        nn.Linear(8, 5),
    ),
    "made a map again": (nn.Flatten(), nn.Linear(36, 6), nn.Unflatten(1, (6, 1, 1)), conv(6, 5, 1), nn.Flatten()),
}


def slid(classifier, x, size_hw, stride):
    """The classifier on every crop of its input size: (B, K, H', W')."""
    rows = range(0, x.shape[2] - size_hw[0] + 1, stride)
    columns = range(0, x.shape[3] - size_hw[1] + 1, stride)
    crops = [[classifier(x[:, :, i : i + size_hw[0], j : j + size_hw[1]]) for j in columns] for i in rows]
    return torch.stack([torch.stack(row, -1) for row in crops], -2)


@pytest.mark.parametrize("head", HEADS)
def test_unpadded_classifier_gives_the_scores_of_every_crop(head):
    classifier = shaken(sequential(*body(), *HEADS[head]))
    network = fully_convolutional(classifier, image=image(NATIVE))
    x = image((31, 37), batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(x), slid(classifier, x, NATIVE, 4), rtol=0, atol=1e-10)
    assert (network.stride, network.size_hw, network.margin) == ((4, 4), NATIVE, ((0, 0), (0, 0)))
    assert network.inside((31, 37)) == (slice(0, 4), slice(0, 6))


def test_dilated_to_stride_1_it_gives_the_scores_of_the_crop_at_every_pixel():
    classifier = shaken(sequential(*body(), *HEADS["flattened"]))
    network = dilate(fully_convolutional(classifier, image=image(NATIVE)), output_stride=1, image=image((23, 25)))
    x = image((25, 21))
    with torch.no_grad():
        wanted = slid(classifier, x, NATIVE, 1)
        torch.testing.assert_close(network(x)[:, :, :8, :6], wanted, rtol=0, atol=1e-10)


def test_functions_that_were_not_followed_once_are_not_when_dilated():
    classifier = shaken(models.build("lenet5", width=2)).double()
    network = fully_convolutional(classifier, image=image((32, 32), channels=1))
    x = image((40, 44), channels=1)
    with torch.no_grad():
        dense = dilate(network, output_stride=2, image=x)(x)
        torch.testing.assert_close(dense[:, :, ::2, ::2], network(x), rtol=0, atol=1e-10)


def test_last_columns_that_the_classifier_does_not_read_may_lie_beyond_the_image():
    classifier = sequential(*body(), *HEADS["flattened"])
    scores = fully_convolutional(classifier, image=image((18, 17)))(image((18, 20)))
    assert scores.shape[3] == 2
    torch.testing.assert_close(scores, slid(classifier, image((18, 20)), (18, 16), 4), rtol=0, atol=1e-10)


def test_gradients_are_those_of_the_slid_classifier():
    classifier = sequential(*body(), *HEADS["flattened"])
    network = fully_convolutional(classifier, image=image(NATIVE))
    x = image((27, 30))
    scores = slid(classifier, x, NATIVE, 4)
    weight = torch.randn_like(scores)
    (scores * weight).sum().backward()
    (network(x) * weight).sum().backward()
    for old, new in zip(classifier.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(new.grad.view_as(old), old.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("made", [(7, 4), (3, 20), (19, 9)])
def test_averages_that_overlap_or_repeat_go_into_the_linear_layer(made):
    features = 4 * made[0] * made[1]
    classifier = sequential(
        conv(3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(made), nn.Flatten(), nn.Dropout(), nn.Linear(features, 5), nn.Tanh()
    )
    network = fully_convolutional(classifier, image=image((10, 11)))
    x = image((13, 12))
    with torch.no_grad():
        torch.testing.assert_close(network(x), slid(classifier, x, (10, 11), 1), rtol=0, atol=1e-10)
    assert network.changes[0] == ("2", f"averages of 8x9 to {made[0]}x{made[1]}", "in the weights of the next layer")
    assert network.get_submodule("5").weight.shape == (5, 4, 8, 9)


def test_average_of_equal_parts_becomes_a_spaced_window():
    classifier = sequential(conv(3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(24, 5))
    network = fully_convolutional(classifier, image=image((10, 11)))
    x = image((13, 12))
    with torch.no_grad():
        torch.testing.assert_close(network(x), slid(classifier, x, (10, 11), 1), rtol=0, atol=1e-10)
    assert network.changes[0] == ("2", "averages to 2x3", "averages of 4x3 positions, stride 1")
    assert network.changes[-1] == ("4", "linear 24 to 5", "convolution 2x3, dilation 4x3")


def test_every_change_is_listed():
    network = fully_convolutional(sequential(*body(), *HEADS["flattened"]), image=image(NATIVE))
    assert network.changes == (
        ("5", "3x3 positions made one vector", "left as a map"),
        ("6", "linear 36 to 6", "convolution 3x3"),
        ("8", "linear 6 to 5", "convolution 1x1"),
    )


def test_every_second_row_of_a_shortcut_is_a_window_of_one_position():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.branch = conv(3, 4, stride=2, padding=1)

        def forward(self, x):
            return self.branch(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 1))

    network = fully_convolutional(sequential(Shortcut(), *HEADS["averaged"]), image=image((8, 8)))
    assert (network.stride, network.margin) == ((2, 2), ((1, 0), (1, 0)))


# a classifier with padding --------------------------------------------------------------------------------------------


def padded():
    """3x3 convolutions with padding: 16x16 pixels become 4x4 positions, stride 4."""
    layers = (conv(3, 4, padding=1), nn.ReLU(), nn.MaxPool2d(2), conv(4, 4, padding=1), nn.Tanh(), nn.MaxPool2d(2))
    return sequential(*layers, conv(4, 4, padding=1), nn.Flatten(), nn.Linear(64, 5))


def test_padded_classifier_gives_its_head_slid_over_the_maps_of_the_image():
    classifier = padded()
    x = image((29, 34))
    with torch.no_grad():
        scores = fully_convolutional(classifier, image=image((16, 16)))(x)
        torch.testing.assert_close(scores, slid(classifier[7:], classifier[:7](x), (4, 4), 1), rtol=0, atol=1e-10)


def test_scores_inside_depend_on_their_margin_only_and_those_of_the_border_on_where_the_image_ends():
    network = fully_convolutional(padded(), image=image((16, 16)))
    assert network.margin == ((7, 7), (7, 7))  # 1 + 2 + 4 pixels of padding
    x = image((64, 72))
    part = x[:, :, 8:51, 12:60]
    rows, columns = network.inside(part.shape[2:])
    assert (rows, columns) == (slice(2, 6), slice(2, 7))
    with torch.no_grad():
        off = (network(x)[:, :, 2:, 3:][:, :, :7, :9] - network(part)).abs().amax((0, 1))
    assert off[rows, columns].max() < 1e-10
    off[rows, columns] = 1
    assert off.min() > 1e-6


def test_score_reads_its_margin_and_no_pixel_more():
    network = fully_convolutional(padded(), image=image((16, 16)))
    x = image((64, 64)).requires_grad_()
    row = network.inside((64, 64))[0].start
    network(x)[0, :, row, row].sum().backward()
    seen = x.grad[0].abs().sum((0, 2)).nonzero()
    # a maximum passes its gradient to one pixel of two, which may spare the outermost
    first, last = 4 * row - 7, 4 * row + 16 + 7 - 1
    assert first <= seen.min() <= first + 3
    assert last - 3 <= seen.max() <= last


# known networks -------------------------------------------------------------------------------------------------------

KNOWN = {  # options, channels, size, stride, margin: (receptive field - size) in all
    "lenet5": ({"width": 2}, (1, 32, 32), 4, (0, 0)),
    "alexnet": ({"width": 4}, (3, 227, 227), 32, (64, 64)),
    "vgg16": ({"width": 2}, (3, 224, 224), 32, (90, 90)),  # 404 for fc6
    "googlenet": ({"width": 8}, (3, 224, 224), 32, (327, 356)),
    "resnet18": ({"width": 2}, (3, 224, 224), 32, (217, 186)),  # 435 for a position, and six more of 32 pixels
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_classifier_answers_as_before_and_knows_its_margin(name):
    options, shape, stride, margin = KNOWN[name]
    torch.manual_seed(0)
    classifier = shaken(models.build(name, num_classes=5, **options))
    x = image(shape[1:], shape[0])
    network = fully_convolutional(classifier, image=x)
    with torch.no_grad():
        torch.testing.assert_close(network(x).flatten(1), classifier(x), rtol=1e-9, atol=1e-9)
    assert (network.stride, network.margin) == ((stride, stride), (margin, margin))


def test_lenet5_gives_the_scores_of_every_crop():
    torch.manual_seed(0)
    classifier = shaken(models.build("lenet5", width=2))
    x = image((45, 50), 1)
    with torch.no_grad():
        scores = fully_convolutional(classifier, image=image((32, 32), 1))(x)
        torch.testing.assert_close(scores, slid(classifier, x, (32, 32), 4), rtol=0, atol=1e-10)


def test_vgg16_gives_the_published_sizes_of_score_maps():
    network = fully_convolutional(models.build("vgg16", width=2).eval(), image=torch.zeros(1, 3, 224, 224))
    sizes = {224: 1, 256: 2, 384: 6}
    for size, wanted in sizes.items():
        assert network(torch.zeros(1, 3, size, size)).shape == (1, 1000, wanted, wanted)
    fc6 = network.get_submodule("head.fc6")
    assert (fc6.kernel_size, fc6.in_channels, fc6.out_channels) == ((7, 7), 16, 128)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_torchvisions_classifier_answers_as_before(name):
    torch.manual_seed(0)
    classifier = shaken(torchvision.models.get_model(name, weights=None, num_classes=5))
    x = image((64, 64))
    network = fully_convolutional(classifier, image=x)
    with torch.no_grad():
        torch.testing.assert_close(network(x).flatten(1), classifier(x), rtol=1e-9, atol=1e-9)
        assert network(image((97, 130))).shape[:2] == (1, 5)


def test_vectors_by_position_and_back():
    x = image((3, 5), channels=4, batch=2)
    assert torch.equal(as_rows(x)[1 * 15 + 2 * 5 + 3], x[1, :, 2, 3])
    assert torch.equal(as_map(as_rows(x), x), x)


def test_classifier_that_leaves_its_first_pixels_unread_has_no_border():
    layers = nn.ZeroPad2d(-2), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)
    sliding = fully_convolutional(nn.Sequential(*layers).eval(), image=torch.zeros(1, 3, 12, 12))
    assert sliding.margin == ((0, 0), (0, 0))
    assert sliding.inside((20, 20)) == (slice(0, 9), slice(0, 9))
