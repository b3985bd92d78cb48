"""The catalogue is counted as its rows state, and printed figures known to be wrong are indeed wrong."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from unpool.inspection.catalogue import count
from unpool.inspection.cost import macs
from unpool.inspection.layer_table import summary
from unpool.inspection.misprints import MISPRINTS, find_misprints
from unpool.inspection.shapes import run_operation, without_drawing
from unpool.layers.local import LocallyConnected
from unpool.models import MODELS, build
from unpool.models.pose.deeppose import DeepPose


def on_meta(name):
    with without_drawing():
        return build(name)


def size(module):
    return sum(p.numel() for p in module.parameters())


def told(about, *figures):
    """The rows about a network hold these figures, as printed with commas."""
    text = " ".join(f"{row.claim} {row.truth}" for row in MISPRINTS if row.about == about)
    assert all(f"{figure:,}" in text for figure in figures), (about, figures)


def test_count_agrees_with_the_row_and_says_what_does_not():
    counted = count("resnet18")
    assert counted.wrong == ()
    assert (counted.params, counted.macs, counted.outputs) == (11_689_512, 1_814_073_344, ((1000,),))
    assert replace(counted, params=11_689_513).wrong == ("parameters",)
    assert replace(counted, outputs=((999,),)).wrong == ("output",)
    assert replace(counted, macs=1_815_000_000).wrong == ("GMACs",)


def test_network_of_several_outputs_is_counted_with_all_of_them():
    assert count("googlenet_aux").cells()[3:] == ("3 x 1000", "1.591", "1.591", "agrees")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_summary_of_every_network_adds_up_to_its_row(name):
    row, table = MODELS[name], summary(on_meta(name), MODELS[name].input)
    assert (table.params, table.unused) == (row.params, 0)
    assert sum(line.params for line in table.rows) == row.params
    assert not count(name).wrong
    assert table.macs == count(name).macs
    assert table.to_json()["rows"][-1]["macs"] == table.rows[-1].macs
    assert len(table.to_text().splitlines()) > len(table.rows)


def test_network_without_values_is_built_and_counted_without_torchs_compiler():
    program = (
        "import sys, torch\n"
        "from unpool.inspection.catalogue import count\n"
        "before = torch.random.get_rng_state()\n"
        "assert not count('cifar_resnet20').wrong\n"
        "assert torch.equal(before, torch.random.get_rng_state())\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_norms_and_sums_without_values_keep_their_shapes():
    network = on_meta("cifar_resnet20")
    table = summary(network, (3, 33, 47))
    with torch.device("cpu"):
        real = summary(build("cifar_resnet20"), (3, 33, 47))
    assert table == real
    with torch.no_grad():
        assert network.eval()(torch.empty(1, 3, 33, 47, device="meta")).shape[1:] == table.rows[-1].output


@pytest.mark.parametrize("keep", [False, True])
def test_mean_without_values_has_the_shape_of_torchs(keep):
    for dims in ([-1, -2], [1], [0, 3]):
        empty = torch.empty(2, 3, 4, 5, device="meta")
        found = run_operation(torch.ops.aten.mean.dim, (empty, dims, keep), {})
        assert found.shape == torch.empty(2, 3, 4, 5).mean(dims, keepdim=keep).shape


def test_misprints_of_vgg_are_wrong_by_count():
    table = summary(on_meta("vgg16"), (3, 224, 224))
    assert (table.activations, table.weights, table.params) == (15_237_608, 138_344_128, 138_357_544)
    assert round(table.activations * 4 / 1e6, 1) == 61.0
    told("vgg16", table.activations, table.weights, table.params)
    told("vgg19", size(on_meta("vgg19")))


def test_misprints_of_googlenet_are_wrong_by_count():
    rows = {}
    for row in summary(on_meta("googlenet"), (3, 224, 224)).rows:
        for part in ("stem", "3a", "4c", "5a"):
            if f".{part}." in f".{row.name}.":
                params, cost = rows.get(part, (0, 0))
                rows[part] = (params + row.params, cost + row.macs)
    told("googlenet", rows["3a"][0], rows["4c"][0], rows["5a"][0])
    assert (round(rows["4c"][0] / 1024, 1), round(rows["5a"][0] / 1024, 1)) == (498.1, 1019.0)
    assert round(rows["5a"][1] / 1e6, 1) == 51.1
    first = next(row for row in summary(on_meta("googlenet"), (3, 224, 224)).rows if row.params)
    assert (first.params, round(first.macs / 1e6)) == (9472, 118)
    fewer = size(on_meta("googlenet_bn")) - size(on_meta("googlenet_torchvision"))
    told("googlenet_torchvision", fewer)


def test_misprints_of_whole_networks_are_wrong_by_count():
    assert (224 - 11) % 4 != 0 == (227 - 11) % 4
    told("alexnet_torchvision", *(size(on_meta(n)) for n in ("alexnet_torchvision", "alexnet_grouped", "alexnet")))
    told("preresnet1001", size(on_meta("preresnet1001")))
    told("segnet_basic", size(on_meta("segnet_basic")))
    told("hourglass*", size(on_meta("hourglass8")))
    assert round(macs(on_meta("simple_baselines"), (3, 256, 192)) / 1e9, 2) == 5.43


def test_misprint_of_deeppose_is_wrong_by_count():
    with without_drawing():
        network = DeepPose(1)
    side = (((220 - 11) // 4 + 1 - 3) // 2 + 1 - 3) // 2 + 1  # before the last pooling
    literal = ((side - 3) // 2 + 1) ** 2 * 256
    fc6 = network.head.fc6
    told("deeppose", size(network), size(network) - fc6.weight.numel() + literal * fc6.out_features)


def test_misprint_of_deepface_is_wrong_by_count():
    with torch.device("meta"):
        layers = [
            torch.nn.Conv2d(3, 32, 11),
            torch.nn.Conv2d(32, 16, 9),
            LocallyConnected(16, 16, (63, 63), 9),
            LocallyConnected(16, 16, (55, 55), 7, stride=2),
            LocallyConnected(16, 16, (25, 25), 5),
            torch.nn.Linear(16 * 21 * 21, 4096),
            torch.nn.Linear(4096, 4030),
        ]
    told("DeepFace", sum(map(size, layers)))


def test_dropout_keeps_the_expectation_by_the_share_kept():
    torch.manual_seed(0)
    kept, x = 0.8, torch.ones(100_000)
    assert float((torch.rand_like(x) < kept).float().mean()) == pytest.approx(kept, abs=0.01)
    assert float(torch.nn.functional.dropout(x, 1 - kept).mean()) == pytest.approx(1, abs=0.01)


def test_misprints_are_about_networks_that_there_are_and_found_by_part():
    others = {"DeepFace", "dropout", "convolution as a matrix"}
    assert all(row.about.rstrip("*") in " ".join(MODELS) for row in MISPRINTS if row.about not in others)
    assert {row.about for row in find_misprints("googlenet")} == {"googlenet", "googlenet_torchvision"}
    assert [row.about for row in find_misprints("hourglass8")] == ["hourglass*"]
    assert find_misprints() == list(MISPRINTS)
