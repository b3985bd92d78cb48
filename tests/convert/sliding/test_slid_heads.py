"""Heads that drop rows and columns one after the other slide exactly, at sizes that nothing was compared on."""

import pytest
import torch
from torch import nn

from tests.convert.dilation.dilated import Act, conv, image, sequential, shaken
from tests.convert.sliding.test_fully_convolutional import NATIVE, body, slid
from unpool.convert import fully_convolutional
from unpool.errors import NotConvertible

F = nn.functional
SIZES = [(19, 17), (23, 31), (30, 22), (18, 29), (37, 16)]  # the conversion runs on (18, 16) and (22, 25)
HEADS = {
    "columns, then rows": (Act(lambda x: x.mean(-1).mean(-1)), nn.Linear(4, 5)),
    "rows, then columns": (Act(lambda x: x.mean(2).mean(dim=2)), nn.Linear(4, 5)),
    "one kept as an axis": (Act(lambda x: x.mean(3, keepdim=True).mean(2).flatten(1)), nn.Linear(4, 5)),
    "both kept as axes": (Act(lambda x: x.mean(3, keepdim=True).mean(2, keepdim=True)), nn.Flatten(), nn.Linear(4, 5)),
    "channels last": (Act(lambda x: x.permute(0, 2, 3, 1).mean(1).mean(1)), nn.Linear(4, 5)),
    "channels last, kept": (
        Act(lambda x: x.permute(0, 2, 3, 1).mean(1, keepdim=True).mean(2, keepdim=True)),
        nn.Linear(4, 5),
        nn.Flatten(),
    ),
    "list of positions by a view": (Act(lambda x: x.view(x.size(0), x.size(1), -1).mean(-1)), nn.Linear(4, 5)),
    "list of positions": (Act(lambda x: x.flatten(2).mean(2)), nn.Linear(4, 5)),
    "list of positions, one kept": (
        Act(lambda x: x.flatten(2).relu().amax(-1, keepdim=True)),
        nn.Flatten(),
        nn.Linear(4, 5),
    ),
    "list of positions, vector": (Act(lambda x: x.reshape(-1, 4, 9).tanh().flatten(1)), nn.Linear(36, 5)),
    "list of positions, map again": (
        Act(lambda x: x.flatten(2).sigmoid().view(x.shape) * x),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ),
    "list of vectors": (
        Act(lambda x: x.flatten(2).transpose(1, 2)),
        nn.LayerNorm(4),
        Act(lambda x: x.mean(1)),
        nn.Linear(4, 5),
    ),
    "list of vectors, changed each": (
        Act(lambda x: x.permute(0, 2, 3, 1).flatten(1, 2)),
        nn.Linear(4, 6),
        nn.GELU(),
        Act(lambda x: x.amax(dim=1)),
        nn.Linear(6, 5),
    ),
    "list of vectors, moved back": (
        Act(lambda x: x.flatten(2).transpose(1, 2).relu().transpose(1, 2).mean(-1)),
        nn.Linear(4, 5),
    ),
    "largest": (Act(lambda x: x.amax(-1).amax(-1)), nn.Linear(4, 5)),
    "largest by a pooling of the map's size": (
        Act(lambda x: F.max_pool2d(x, kernel_size=(x.shape[2], x.shape[3])).flatten(1)),
        nn.Linear(4, 5),
    ),
    "pooled by the size of one position": (
        conv(4, 5, 3),
        Act(lambda x: F.avg_pool2d(x, x.shape[2:]) + F.max_pool2d(x, (x.shape[2], 1))),
        nn.Flatten(),
    ),
    "largest of averages": (Act(lambda x: x.mean(-1).amax(-1)), nn.Linear(4, 5)),
    "changed between": (Act(lambda x: x.mean(-1).relu().mean(-1)), nn.Linear(4, 5)),
    "rows flattened": (Act(lambda x: x.mean(-1).flatten(1)), nn.Linear(12, 5)),
    "columns flattened, channels last": (Act(lambda x: x.permute(0, 2, 3, 1).mean(1).flatten(1)), nn.Linear(12, 5)),
    "kernel, squeezed twice": (conv(4, 5, 3), Act(lambda x: x.squeeze(-1).squeeze(-1))),
    "kernel, squeezed from the front": (conv(4, 5, 3), Act(lambda x: x.squeeze(2).squeeze(2))),
    "kernel, squeezed at once": (conv(4, 5, 3), Act(lambda x: x.squeeze())),
    "kernel, indexed": (conv(4, 5, 3), Act(lambda x: x[..., 0][..., 0])),
    "kernel, flattened": (conv(4, 5, 3), nn.Flatten()),
    "kernel, then linear": (conv(4, 6, 3), Act(lambda x: x.squeeze(3).squeeze(2)), nn.ReLU(), nn.Linear(6, 5)),
    "kernel of one axis after the other": (conv(4, 6, (3, 1)), conv(6, 5, (1, 3)), nn.Flatten()),
}


@pytest.mark.parametrize("head", HEADS)
def test_head_gives_the_scores_of_every_crop_at_every_size(head):
    classifier = shaken(sequential(*body(), *HEADS[head]))
    network = fully_convolutional(classifier, image=image(NATIVE))
    assert network.stride == (4, 4)
    for size in SIZES:
        x = image(size, batch=2)
        with torch.no_grad():
            torch.testing.assert_close(network(x), slid(classifier, x, NATIVE, 4), rtol=0, atol=1e-10)


def test_dropout_of_a_list_of_positions_is_kept_for_training():
    layers = (Act(lambda x: x.flatten(2)), nn.Dropout(0.5), Act(lambda x: x.mean(-1)), nn.Linear(4, 5))
    network = fully_convolutional(sequential(*body(), *layers), image=image(NATIVE)).train()
    x = image((22, 20))
    assert not torch.equal(network(x), network(x))


def test_change_says_which_axis_was_averaged():
    network = fully_convolutional(sequential(*body(), *HEADS["columns, then rows"]), image=image(NATIVE))
    assert [change[1:] for change in network.changes[:2]] == [
        ("average of columns", "average of 1x3 positions, stride 1"),
        ("average of rows", "average of 3x1 positions, stride 1"),
    ]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (Act(lambda x: x.mean(-1).cumsum(-1).mean(-1)), "it does not work value by value"),
        (Act(lambda x: x.mean(-1)[:, :, :2].amax(-1)), "it does not run for an image of another size"),
        (Act(lambda x: x.mean(-1).sum(-1)), "it reads all of its map"),
        (
            Act(lambda x: F.conv1d(x.flatten(2), x.new_ones(4, 4, 3)).mean(-1)),
            "it reads rows and columns as one axis",
        ),
        (Act(lambda x: x.flatten(2).softmax(-1).mean(-1)), "it does not work value by value"),
        (Act(lambda x: x.flatten(2)[..., :4].mean(-1)), "it reads all of its map"),
        (Act(lambda x: (x.flatten(2) @ x.flatten(2).mT).mean(-1)), "it reads all of its map"),
        (Act(lambda x: x.flatten(2).topk(3)[0].mean(-1)), "it reads all of its map"),
    ],
)
def test_rows_that_are_not_read_alike_are_refused(head, reason):
    with pytest.raises(NotConvertible, match=f"cannot be made convolutional: ({reason})"):
        fully_convolutional(sequential(*body(), head, nn.Linear(4, 5)), image=image(NATIVE))


def test_convolution_over_averaged_columns_is_refused():
    layers = (Act(lambda x: x.mean(-1)), nn.Conv1d(4, 5, 3), nn.Flatten())
    with pytest.raises(NotConvertible, match="6 cannot be made convolutional"):
        fully_convolutional(sequential(*body(), *layers), image=image(NATIVE))


def test_map_that_a_learned_number_scales_from_the_left_slides():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((1,), 0.7))

        def forward(self, x):
            return self.scale * x

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), Scaled(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    ).double()
    sliding = fully_convolutional(network, image=torch.zeros(1, 3, 8, 8))
    x = image((11, 13))
    with torch.no_grad():
        torch.testing.assert_close(sliding(x)[:, :, 2, 4], network(x[:, :, 2:10, 4:12]))


@pytest.mark.parametrize(
    "layer",
    [
        Act(lambda x: F.max_pool2d(x, (x.shape[2] // 2, 1))),
        Act(lambda x: F.avg_pool2d(x, 2, stride=(x.shape[2] - 2, 1))),
        Act(lambda x: F.conv2d(x, x.new_ones(4, 4, 1, 1), padding=(x.shape[2] // 9, 0))),
    ],
    ids=["max_pool2d", "avg_pool2d", "conv2d"],
)
def test_kernel_that_the_size_of_the_map_decides_is_refused_with_what_to_do(layer):
    layers = (conv(3, 4), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        NotConvertible, match=r"2d cannot be made .*computed from the size of the map: write it as the numbers"
    ):
        fully_convolutional(sequential(*layers), image=image(NATIVE))
