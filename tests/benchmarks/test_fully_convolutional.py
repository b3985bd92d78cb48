"""Promises of the comparison of a classifier that slides with the same made convolutional."""

import json

import torch
from torch import nn

from benchmarks import fully_convolutional as benchmark
from unpool import models
from unpool.convert import fully_convolutional


def test_unpadded_network_is_compared_everywhere_and_timed(tmp_path):
    path = tmp_path / "a.json"
    assert benchmark.main(["--networks", "lenet5", "--sizes", "48", "--json", str(path)]) == 0
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["details"]["lenet5"]["differences"]["compared"] == 9
    assert result["details"]["lenet5"]["speeds"][0]["scores"] == 25
    assert [row["what"].split(",")[0] for row in result["rows"]] == ["LeNet-5"] * 3


def test_border_differs_and_inside_does_not():
    torch.manual_seed(0)
    classifier = benchmark.randomised(models.build("vgg11", width=2))
    network = fully_convolutional(classifier, image=torch.zeros(1, 3, 224, 224))
    found = benchmark.differences(classifier, network)
    assert found.inside < 1e-5 < found.at_border
    assert (found.border, found.compared) == ((2, 2), 6)


def test_error_inside_is_seen():
    classifier = benchmark.randomised(models.build("lenet5", width=2))
    network = fully_convolutional(classifier, image=torch.zeros(1, 1, 32, 32))
    nn.init.zeros_(network.get_submodule("head.fc5").bias)
    assert benchmark.differences(classifier, network).inside > 1e-3
