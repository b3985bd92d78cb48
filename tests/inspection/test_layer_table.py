"""Costs and tables against the lecture's table of VGG-16 and the published counts."""

import csv
import json
from math import prod

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import DeformConv2d

from unpool.inspection.cost import macs
from unpool.inspection.layer_table import summary
from unpool.layers.local import LocallyConnected

# layer, output (H, W, C), values kept, weights: CS231n, "VGGNet in detail"
VGG16 = [
    ("INPUT", (224, 224, 3), 0),
    *[("CONV3-64", (224, 224, 64), 9 * channels * 64) for channels in (3, 64)],
    ("POOL2", (112, 112, 64), 0),
    *[("CONV3-128", (112, 112, 128), 9 * channels * 128) for channels in (64, 128)],
    ("POOL2", (56, 56, 128), 0),
    *[("CONV3-256", (56, 56, 256), 9 * channels * 256) for channels in (128, 256, 256)],
    ("POOL2", (28, 28, 256), 0),
    *[("CONV3-512", (28, 28, 512), 9 * channels * 512) for channels in (256, 512, 512)],
    ("POOL2", (14, 14, 512), 0),
    *[("CONV3-512", (14, 14, 512), 9 * 512 * 512)] * 3,
    ("POOL2", (7, 7, 512), 0),
    ("FC-4096", (4096,), 7 * 7 * 512 * 4096),
    ("FC-4096", (4096,), 4096 * 4096),
    ("FC-1000", (1000,), 4096 * 1000),
]


def on_meta(name, **options):
    with torch.device("meta"):
        return getattr(torchvision.models, name)(**options)


def test_vgg16_prints_as_the_lecture_does():
    table = summary(on_meta("vgg16"), (3, 224, 224))
    rows = [row for row in table.rows if row.activations]
    assert [(row.layer, (*row.output[1:], row.output[0]), row.weights) for row in rows] == VGG16
    assert [row.activations for row in rows] == [prod(output) for _, output, _ in VGG16]
    assert table.activations == 15_237_608
    assert (table.weights, table.params) == (138_344_128, 138_357_544)
    text = table.to_text()
    assert "15,237,608 activations" in text
    assert "138,357,544 parameters (527.8 MiB), 138,344,128 without" in text


@pytest.mark.parametrize(
    ("name", "giga"),
    [("vgg16", 15.47026), ("resnet18", 1.81407), ("resnet50", 4.08918), ("googlenet", 1.49838)],
)
def test_multiply_adds_are_the_published_ones(name, giga):
    options = {"init_weights": False} if name == "googlenet" else {}
    assert round(macs(on_meta(name, **options), (3, 224, 224)) / 1e9, 5) == giga


def test_a_transposed_convolution_is_charged_at_its_input():
    assert macs(nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2), (8, 10, 12)) == 10 * 12 * 8 * 2 * 9


def test_a_grouped_convolution_and_a_linear_layer_over_positions_are_charged_once_a_weight_and_position():
    assert macs(nn.Conv2d(8, 16, 3, groups=4), (8, 12, 12)) == 10 * 10 * 16 * 2 * 9
    assert macs(nn.Linear(8, 5), (3, 7, 8)) == 3 * 7 * 8 * 5
    assert macs(nn.Linear(8, 5, bias=False), (3, 7, 8)) == 3 * 7 * 8 * 5


class Product(nn.Module):
    """Weights of (8, 5, 3) by the image's rows as eight matrices of (3, 4), or the image by itself."""

    def __init__(self, function):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 5, 3))
        self.function = function

    def forward(self, image):
        return self.function(self.weight, image[0].permute(1, 0, 2))


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (torch.bmm, 8 * 5 * 3 * 4),
        (lambda weight, x: torch.bmm(x.mT, weight.mT), 8 * 5 * 3 * 4),
        (lambda weight, x: torch.baddbmm(x.new_zeros(8, 5, 4), weight, x), 8 * 5 * 3 * 4),
        (lambda weight, x: torch.einsum("loc,lcw->low", weight, x), 8 * 5 * 3 * 4),
        (lambda weight, x: weight[0] @ x[0], 5 * 3 * 4),
        (lambda weight, x: weight[0] @ x[0, :, 0], 5 * 3),
        (lambda weight, x: x.mT @ x, 0),
        (lambda weight, x: x[0].mT @ x[0], 0),
    ],
    ids=["batched", "image first", "added to", "einsum", "matrix", "vector", "two maps", "two rows"],
)
def test_products_with_weights_are_charged_and_those_of_two_maps_are_not(function, count):
    assert macs(Product(function), (3, 8, 4)) == count


def test_a_locally_connected_layer_costs_what_the_convolution_would():
    table = summary(nn.Sequential(LocallyConnected(8, 4, (10, 12), 3)), (8, 10, 12))
    assert table.macs == macs(nn.Conv2d(8, 4, 3), (8, 10, 12)) == 80 * 4 * 8 * 9
    assert (table.rows[1].weights, table.rows[1].params) == (80 * 4 * 8 * 9, 80 * 4 * (8 * 9 + 1))
    assert "no receptive field by formula: there is no rule for aten.im2col" in table.to_text()


def test_convolutions_done_by_functions_are_charged_to_the_module_that_does_them():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, 1, 1))
            self.inner = nn.Conv2d(4, 4, 1)

        def forward(self, image):
            return self.inner(nn.functional.conv2d(image, self.weight))

    table = summary(nn.Sequential(Functional()), (3, 5, 5))
    assert {row.name: row.macs for row in table.rows} == {"": 0, "0.inner": 400, "0": 300}
    assert table.params == sum(row.params for row in table.rows) == 32


def test_a_layer_used_twice_has_two_rows_and_is_counted_once():
    layer = nn.Conv2d(3, 3, 1)
    table = summary(nn.Sequential(layer, layer), (3, 4, 4))
    assert [(row.params, row.macs, row.activations) for row in table.rows[1:]] == [(12, 144, 48), (0, 144, 48)]
    assert table.macs == 288


def test_layers_that_work_in_place_keep_no_values():
    model = nn.Sequential(nn.ReLU(), nn.Dropout(), nn.Identity(), nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten())
    assert summary(model, (3, 4, 4)).activations == 48


def test_the_places_that_a_pooling_remembers_are_no_activations():
    table = summary(nn.Sequential(nn.MaxPool2d(2, return_indices=True)), (3, 4, 4))
    assert table.rows[1].activations == 12


def test_multiply_adds_and_values_of_adaptive_pooling():
    table = summary(nn.Sequential(nn.AdaptiveAvgPool2d((2, 2))), (3, 4, 4))
    assert (table.rows[1].activations, table.macs) == (12, 0)


def test_a_batch_norm_keeps_values():
    assert summary(nn.Sequential(nn.BatchNorm2d(3)), (3, 4, 4)).activations == 2 * 48


def test_parameters_that_the_input_did_not_use_are_told():
    table = summary(on_meta("googlenet", init_weights=False), (3, 224, 224))
    assert table.unused == 3_188_840 + 3_190_888 + 2 * 128  # both auxiliary heads, with batch norm
    assert "6,379,984 of the parameters were not used" in table.to_text()


def test_frozen_parameters_are_told():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    model[0].requires_grad_(requires_grad=False)
    assert "10 of the parameters are trained" in summary(model, (3, 4, 4)).to_text()


def test_a_network_that_reads_values_in_its_forward_still_has_a_summary():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image):
            return self.conv(image) if image.sum().item() == 0 else image

    table = summary(Reads(), (3, 8, 8))
    assert (table.rows[1].output, table.rows[1].field_size) == ((4, 6, 6), (3, 3))


def test_summary_leaves_mode_weights_and_statistics_as_found():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summary(model, (3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_wrong_input_shape_fails_as_the_network_does():
    with pytest.raises(RuntimeError, match="channels"):
        summary(nn.Conv2d(3, 4, 3), (5, 8, 8))


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, image, depth, *rest, scale=1.0):
        return self.a(image) + scale * self.b(depth)


def test_network_of_two_inputs_is_counted_with_both():
    table = summary(Two(), [(3, 8, 8), (1, 8, 8)])
    assert [(row.layer, row.output) for row in table.rows[:2]] == [("INPUT", (3, 8, 8)), ("INPUT", (1, 8, 8))]
    assert {row.name: row.macs for row in table.rows if row.macs} == {"a": 36 * 4 * 27, "b": 36 * 4 * 9}
    assert table.activations == 192 + 64 + 2 * 144
    assert table.parts[""].field_size == (3, 3)
    assert table.to_text().startswith("Two on 3x8x8 and 1x8x8\n")


def test_missing_and_surplus_inputs_are_refused_with_the_names_of_those_needed():
    with pytest.raises(ValueError, match=r"Two takes 2 inputs \(image, depth\) and 1 shape is given"):
        summary(Two(), (3, 8, 8))
    with pytest.raises(ValueError, match="Conv2d takes at most 1 inputs and 2 shapes are given"):
        summary(nn.Conv2d(3, 4, 3), [(3, 8, 8), (1, 8, 8)])
    with pytest.raises(ValueError, match=r"the shape of an input is \(3, 8.5, 8\)"):
        summary(nn.Conv2d(3, 4, 3), [(3, 8.5, 8)])


def test_second_input_of_another_size_has_no_field_in_pixels_of_the_first():
    class Joined(nn.Module):
        def forward(self, image, small):
            return image + nn.functional.interpolate(small, scale_factor=2.0)

    table = summary(nn.ModuleList([Joined()])[0], [(3, 8, 8), (3, 4, 4)])
    assert "it depends on input 2, which has another size than the first" in table.to_text()


def test_examples_give_a_network_the_kind_of_number_that_it_needs():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.scores = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, tokens, image):
            return self.scores(self.words(tokens)) + image.mean()

    table = summary(Words(), [torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 3, 8, 8)])
    assert (table.inputs, table.macs) == (((5,), (3, 8, 8)), 5 * 4 * 9)


def test_seven_by_seven_against_three_three_by_three_is_the_lectures_table():
    depth, height, width = 8, 12, 16
    one = summary(nn.Conv2d(depth, depth, 7, padding=3, bias=False), (depth, height, width))
    stack = [nn.Conv2d(depth, depth, 3, padding=1, bias=False) for _ in range(3)]
    three = summary(nn.Sequential(*stack), (depth, height, width))
    assert (one.weights, one.macs) == (49 * depth**2, 49 * width * height * depth**2)
    assert (three.weights, three.macs) == (27 * depth**2, 27 * width * height * depth**2)
    assert one.rows[-1].field_size == three.rows[-1].field_size == (7, 7)


# part: output, parameters, 1e6 multiply-adds; the three rows that the paper misprints are as counted (2.7K and 34M of
# conv1, 463K of 4c, 1072K and 54M of 5a in Szegedy et al. 2015, table 1)
GOOGLENET = {
    "backbone.stages.2.3a": ((256, 28, 28), 163_696, 128.0),
    "backbone.stages.2.3b": ((480, 28, 28), 388_736, 304.3),
    "backbone.stages.3.4a": ((512, 14, 14), 376_176, 73.6),
    "backbone.stages.3.4b": ((512, 14, 14), 449_160, 87.9),
    "backbone.stages.3.4c": ((512, 14, 14), 510_104, 99.9),
    "backbone.stages.3.4d": ((528, 14, 14), 605_376, 118.5),
    "backbone.stages.3.4e": ((832, 14, 14), 868_352, 170.0),
    "backbone.stages.4.5a": ((832, 7, 7), 1_043_456, 51.1),
    "backbone.stages.4.5b": ((1024, 7, 7), 1_444_080, 70.7),
    "head.linear": ((1000,), 1_025_000, 1.0),
}


def test_googlenet_by_modules_prints_as_the_lecture_does():
    rows = {row.name: row for row in summary("googlenet").at_depth(4).rows}
    found = {name: (rows[name].output, rows[name].params, round(rows[name].macs / 1e6, 1)) for name in GOOGLENET}
    assert found == GOOGLENET
    rows = {row.name: row for row in summary("googlenet").at_depth(3).rows}
    beginning = [row for name, row in rows.items() if name.startswith(("backbone.stages.0", "backbone.stages.1"))]
    assert [(row.output, row.params) for row in beginning] == [((64, 112, 112), 9_472), ((192, 56, 56), 114_944)]
    assert [round(row.macs / 1e6, 1) for row in beginning] == [118.0, 359.7]


class Attention(nn.Module):
    """Softmax of queries and keys, times values, in two ways."""

    def __init__(self, *, is_fused):
        super().__init__()
        self.is_fused = is_fused

    def forward(self, x):
        if self.is_fused and x.sum().item() == 0:  # so that it runs with values, where torch has one operation for it
            return nn.functional.scaled_dot_product_attention(x, x, x)
        return torch.softmax(x @ x.mT, -1) @ x


@pytest.mark.parametrize("is_fused", [False, True])
def test_products_of_two_maps_are_named_with_what_torchs_counter_says(is_fused):
    model, shape = Attention(is_fused=is_fused), (2, 7, 5)
    table = summary(model, shape)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape))
    left_out = sum(one.macs for one in table.uncounted)
    assert (table.macs, left_out) == (0, 2 * 2 * 7 * 7 * 5)
    assert 2 * left_out == counter.get_total_flops()
    assert f"not counted: {left_out:,} multiply-adds in" in table.to_text()


def test_attention_of_torchs_layer_is_seen_operation_by_operation_and_its_fast_path_restored():
    class Encoder(nn.TransformerEncoderLayer):
        def forward(self, tokens):
            return super().forward(tokens) + tokens.sum().item()  # so that it runs with values

    layer = Encoder(8, 2, dim_feedforward=16, batch_first=True)
    table = summary(layer, torch.zeros(1, 5, 8))
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, 5, 8))
    assert 2 * (table.macs + sum(one.macs for one in table.uncounted)) == counter.get_total_flops()
    assert torch.backends.mha.get_fastpath_enabled()


def test_operation_without_a_rule_is_named_and_not_zero_in_silence():
    class Bent(nn.Module):
        def __init__(self):
            super().__init__()
            self.bent = DeformConv2d(3, 4, 3)

        def forward(self, image):
            return self.bent(image, image.new_zeros(1, 18, 6, 6))

    table = summary(Bent(), (3, 8, 8))
    assert [(one.operation, one.macs) for one in table.uncounted] == [("torchvision.deform_conv2d", None)]
    assert "not counted: the multiply-adds of 1 call of torchvision.deform_conv2d, which has no rule" in table.to_text()


def test_further_inputs_with_defaults_are_none():
    class Scaled(nn.Conv2d):
        def forward(self, image, scale=2.0, *rest, **more):
            return super().forward(image) * scale

    assert summary(Scaled(3, 4, 3), (3, 8, 8)).params == 112


def test_json_holds_the_rows_and_sums_of_the_text():
    table = summary(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (3, 8, 8))
    values = json.loads(json.dumps(table.to_json()))
    assert [row["layer"] for row in values["rows"]] == ["INPUT", "CONV3-4", "ReLU"]
    assert (values["macs"], values["params"], values["activations"]) == (3 * 4 * 9 * 36, 112, 192 + 144)
    assert values["rows"][1]["memory_mib"] == 144 * 4 / 2**20


def test_csv_has_plain_numbers_and_markdown_the_table_and_its_sums():
    table = summary(nn.Sequential(nn.Conv2d(3, 4, (3, 1), stride=2), nn.Unfold(2)), (3, 9, 9))
    heads, _, conv, unfold = csv.reader(table.to_csv().splitlines())
    assert dict(zip(heads, conv, strict=True)) == {
        **{"name": "0", "layer": "CONV3x1-4", "kind": "Conv2d", "output": "4x4x5", "activations": "80"},
        **{"weights": "36", "params": "40", "macs": "720", "field_size": "3x1", "field_stride": "2x2"},
    }
    assert unfold[heads.index("field_size")] == ""
    text = table.to_markdown()
    assert "| 0 | CONV3x1-4 | 4x4x5 | 80 | 36 | 40 | 720 | 3x1 | 2 |" in text.splitlines()
    assert "- 720 multiply-adds (0.00 G)" in text.splitlines()


def test_a_field_without_a_formula_prints_a_question_mark_and_the_reason():
    table = summary(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unfold(2)), (3, 8, 8))
    assert table.rows[1].field_size == (3, 3)
    assert table.rows[2].field_size is None
    assert "'?': no receptive field by formula: there is no rule for aten.im2col (in 1)" in table.to_text()


def test_text_table_of_a_small_network():
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 1), stride=(2, 1)), nn.ReLU(), nn.Linear(5, 3))
    lines = summary(model, (1, 9, 5)).to_text().splitlines()
    assert lines == [
        "Sequential on 1x9x5",
        "name  layer      output  activations  weights  params  MACs  field  stride",
        "--------------------------------------------------------------------------",
        "      INPUT      1x9x5            45        -       -     -      1       1",
        "0     CONV3x1-2  2x4x5            40        6       8   120    3x1     2x1",
        "1     ReLU       2x4x5             -        -       -     -    3x1     2x1",
        "2     FC-3       2x4x3            24       15      18   120    3x5     2x1",
        "--------------------------------------------------------------------------",
        "109 activations (0.0 MiB an image in float32, forward)",
        "26 parameters (0.0 MiB), 21 without biases and scales",
        "240 multiply-adds (0.00 G)",
    ]
