"""The benchmark of summaries: a few of its networks, and what it calls different."""

import json

import pytest
from torch import nn

from benchmarks import summaries


@pytest.mark.parametrize(
    "name", ["torchvision/mobilenet_v3_small", "torchvision/swin_t", "timm/deit_tiny_patch16_224", "timm/ghostnet_100"]
)
def test_counts_are_those_of_torchinfo_and_torchs_flop_counter(name):
    (case,) = (case for case in summaries.cases() if case.name == name)
    measured = summaries.measure(case)
    assert measured.problem == ""
    assert measured.params == measured.torchinfo > 1e6
    assert measured.macs + measured.left_out == pytest.approx(measured.flops, rel=0.01)
    assert bool(measured.left_out) == (name in ("torchvision/swin_t", "timm/deit_tiny_patch16_224"))
    assert measured.has_memory


def test_all_of_torchvisions_and_thirty_of_timms_networks_are_counted():
    names = [case.name for case in summaries.cases()]
    assert len(set(summaries.TIMM)) == 30
    assert sum(name.startswith("torchvision/") for name in names) >= 98
    assert {"torchvision/fcn_resnet50", "torchvision/ssd300_vgg16", "torchvision/vit_b_16"} <= set(names)


def test_network_with_a_wrong_count_is_named_and_ends_with_1(tmp_path, monkeypatch, capsys):
    class Twice(nn.Conv2d):
        def forward(self, image):
            return super().forward(image) + super().forward(image)

    monkeypatch.setattr(summaries, "cases", lambda: [summaries.Case("twice", lambda: Twice(3, 4, 3), (3, 8, 8))])
    assert summaries.main(["--json", str(tmp_path / "right.json")]) == 0
    monkeypatch.setattr("unpool.inspection.traced.multiply_adds", lambda *_, **__: 5)
    assert summaries.main(["--json", str(tmp_path / "wrong.json")]) == 1
    assert "twice" in (printed := capsys.readouterr().out)
    assert "multiply-adds" in printed
    figures = [row["figure"] for row in json.loads((tmp_path / "wrong.json").read_text())["rows"]]
    assert figures[:3] == ["1", "1 of 1", "0 of 1"]
